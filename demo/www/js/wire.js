/*
 * The two protocols on the wire, told to the page in one form: an encoder for
 * what the viewer does, and a decoder into events {kind: ...}.
 */

const entities = {
    "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": "\"", "&#x27;": "'"
};

/* One pass, so that "&amp;lt;" stays the text "&lt;". */

export function decodeEntities(text) {
    return text.replace(/&(?:amp|lt|gt|quot|#x27);/g, e => entities[e]);
}

function parse(data) {
    try {
        const value = JSON.parse(data);

        return value !== null && typeof value === "object" ? value : null;

    } catch {
        return null;
    }
}

/* the seed's pages: no numbers, no acks, text escaped for HTML */

const old = {
    name: "old",
    protocols: [],
    numbered: false,

    message(text) {
        return JSON.stringify({ message: text });
    },

    reaction(stamp) {
        return JSON.stringify({
            type: "reaction", stamp_id: stamp.id,
            stamp_name: stamp.name, stamp_image_url: stamp.image
        });
    },

    decode(data) {
        const m = parse(data);

        if (!m) {
            return null;
        }

        if (m.type === "reaction") {
            return { kind: "reactions", counts: [[m.stamp_id, 1]] };
        }

        if (typeof m.message !== "string") {
            return null;
        }

        const text = decodeEntities(m.message);

        if (m.code) {
            return {
                kind: "error", code: m.code, text,
                retryAfter: m.retry_after_ms
            };
        }

        return {
            kind: "message", type: m.message_type || "message", text,
            name: decodeEntities(m.username || ""), role: "member",
            at: m.timestamp
        };
    }
};

function v1Message(m) {
    return {
        kind: "message", seq: m.seq, id: m.id, at: m.at,
        type: m.message_type || "message", text: String(m.text ?? ""),
        name: m.user ? m.user.username : "",
        role: m.user ? m.user.role : "member",
        userId: m.user ? m.user.id : null
    };
}

function v1Pin(m) {
    return { ...v1Message(m), until: m.until };
}

/* who came and who went has no number, and is not kept */

function v1Presence(m) {
    return { kind: "message", type: m.type, text: "", role: "member",
             name: m.user ? m.user.username : "" };
}

const decoders = {
    message: v1Message,
    join: v1Presence,
    leave: v1Presence,

    moderation: m => ({
        kind: "moderation", seq: m.seq, action: m.action, at: m.at,
        by: m.by ? m.by.username : "", target: m.target || {},
        until: m.until, reason: m.reason, modes: m.modes
    }),

    welcome: m => ({
        kind: "welcome", epoch: m.epoch, head: m.head, you: m.you,
        viewers: m.viewers, pins: (m.pins || []).map(v1Pin),
        modes: m.modes || {}, time: m.server_time
    }),

    ack: m => ({ kind: "ack", cid: m.cid, seq: m.seq }),

    history: m => ({
        kind: "history", messages: (m.messages || []).map(e =>
            e.type === "moderation" ? decoders.moderation(e) : v1Message(e))
    }),

    error: m => ({
        kind: "error", code: m.code, text: m.message, cid: m.cid,
        retryAfter: m.retry_after_ms
    }),

    viewers: m => ({ kind: "viewers", count: m.count }),

    reactions: m => ({
        kind: "reactions",
        counts: Object.entries(m.counts || {}).map(([id, n]) =>
            [Number(id), n])
    }),

    reset: m => ({ kind: "reset", epoch: m.epoch, head: m.head })
};

/* fcchat.v1: numbered, acknowledged, resumable */

const v1 = {
    name: "v1",
    protocols: ["fcchat.v1"],
    numbered: true,

    message(text, cid) {
        return JSON.stringify({ type: "message", text, cid });
    },

    reaction(stamp) {
        return JSON.stringify({ type: "reaction", stamp_id: stamp.id });
    },

    moderate(action, fields, cid) {
        return JSON.stringify({ ...fields, type: action, cid });
    },

    history(limit) {
        return JSON.stringify({ type: "history", limit });
    },

    decode(data) {
        const m = parse(data);

        if (!m) {
            return null;
        }

        if (Object.hasOwn(decoders, m.type)) {
            return decoders[m.type](m);
        }

        /* a later version's event: not shown, but its number counts */

        return { kind: "unknown", seq: m.seq };
    }
};

export const wires = { old, v1 };
