/*
 * The watch page: ties the connection, the two protocols and the views
 * together.  Query: ?room=stream_1, ?user=NAME, ?old=1 (the old protocol),
 * ?lang=ja|en.
 */

import { t, has, lang, translate } from "./i18n.js";
import { wires } from "./wire.js";
import { Connection } from "./connection.js";
import { Outbox, newCid } from "./outbox.js";
import { Log, paintAvatar } from "./log.js";
import { Floats } from "./floats.js";
import { Users } from "./users.js";
import { Compose } from "./compose.js";
import { startPlayer } from "./player.js";
import { Rules } from "./rules.js";
import { Bans } from "./bans.js";

const $ = id => document.getElementById(id);
const query = new URLSearchParams(location.search);
const room = query.get("room") || "stream_1";
const wire = query.has("old") ? wires.old : wires.v1;

const stamps = ["smile", "surprise", "cry", "love", "scream", "angry"].map(
    (name, i) => ({
        id: i + 1,
        name: ":" + name + ":",
        image: "/media/stamps/0" + (i + 1) + "_" + name + ".svg"
    }));

const NOTICE_TIME = 6000;
const BACKLOG = 50;           /* messages shown to who comes in */
const TIMEOUT = 300;          /* seconds that a moderator's timeout lasts */

const users = new Users();
const floats = new Floats($("floats"));
const log = new Log({
    list: $("messages"), scroller: $("scroller"), empty: $("empty"),
    newer: $("newer"), moderate
});

const rules = new Rules({
    pins: $("pins"), slow: $("slow"), pace: $("pace"),
    unpin: pin => command("unpin", { id: pin.id }),
    setSlow: seconds => command("slow", { seconds })
});

const bans = new Bans({
    button: $("bans-open"), dialog: $("bans"), list: $("bans-list"),
    note: $("bans-note"), more: $("bans-more"), close: $("bans-close"),
    load: loadBans,
    unban: (who, scope) => command("unban", { ...who, scope })
});

/* where we are in the room's log, to be resumed from there */
const position = { epoch: null, seq: 0 };

let ready = false;
let unechoed = "";

const connection = new Connection({
    url: socketUrl,
    protocols: wire.protocols,
    prepare: () => users.prepare()
});

const outbox = new Outbox((text, cid) =>
    ready && connection.send(wire.message(text, cid)));

const compose = new Compose({
    form: $("compose"), text: $("text"), count: $("count"),
    button: $("send"), send
});

function socketUrl() {
    const url = new URL("/ws/chat/" + encodeURIComponent(room) + "/",
                        location.href);

    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";

    if (wire.numbered && position.epoch !== null) {
        url.search = "?since=" + encodeURIComponent(position.epoch) + ":"
                     + position.seq;
    }

    return url.href;
}

/* what the viewer does */

function send(text) {
    if (!ready) {
        offline();
        return false;
    }

    if (!wire.numbered) {
        unechoed = text;
        return connection.send(wire.message(text));
    }

    const cid = outbox.add(text);

    if (cid === null) {
        offline();
        return false;
    }

    log.pending(cid, text);
    return true;
}

function react(stamp) {
    if (!ready || !connection.send(wire.reaction(stamp))) {
        offline();
    }
}

/* what a moderator does: whether it may is the server's to say */

function command(action, fields) {
    if (!ready || !connection.send(wire.moderate(action, fields, newCid()))) {
        offline();
    }
}

function moderate(action, m) {
    if (action === "delete" || action === "pin") {
        command(action, { seq: m.seq });

    } else if (action === "timeout") {
        command(action, { user_id: m.userId, seconds: TIMEOUT });

    } else if (confirm(t("sure_ban", { name: m.name }))) {
        command(action, { user_id: m.userId });
    }
}

/* as this window's user, whose cookie the others have to leave alone meanwhile;
 * those of all rooms are not for a moderator of one */

async function loadBans(query) {
    const release = await users.prepare();

    try {
        const answer = await fetch("/api/chat/" + encodeURIComponent(room)
                                   + "/bans" + query, { cache: "no-store" });

        if (!answer.ok && answer.status !== 403) {
            throw new Error("bans: " + answer.status);
        }

        return answer.ok ? await answer.json() : null;

    } finally {
        release();
    }
}

function refused(cid) {
    const text = outbox.refuse(cid);

    if (text === undefined) {
        return;
    }

    if (compose.restore(text)) {
        outbox.take(cid);
        log.discard(cid);
        return;
    }

    log.failed(cid, {
        retry: () => {
            if (ready && outbox.retry(cid)) {
                log.sendingAgain(cid);
            }
        },
        discard: () => {
            outbox.take(cid);
            log.discard(cid);
        }
    });
}

/* a message that was deleted since has a number and nothing to show */

function show(m) {
    if (m.kind === "moderation") {
        showModeration(m);

    } else if (m.type !== "deleted") {
        log.add(m);
    }
}

function showModeration(m) {
    const key = "mod_" + m.action;
    const seconds = m.until ? Math.round((m.until - Date.parse(m.at)) / 1000)
                            : 0;

    if (m.action === "delete") {
        log.deleted(m.target.seq);
    }

    if (!has(key)) {
        return;
    }

    log.add({
        type: "moderation", seq: m.seq, name: m.by,
        text: t(key, { name: m.target.user?.username ?? "",
                       s: m.modes?.slow ?? 0 })
              + (seconds > 0 ? " " + t("for_time", { s: seconds }) : "")
              + (m.reason ? " (" + m.reason + ")" : "")
    });
}

/* what the server says */

const handlers = {
    welcome(m) {
        const resumed = position.epoch === m.epoch;

        if (!resumed) {
            log.forgetNumbers();
            position.epoch = m.epoch;
            position.seq = m.head;

            if (m.head > 0) {
                connection.send(wire.history(BACKLOG));
            }
        }

        log.me = m.you;
        compose.allow(m.you?.role !== "guest");
        log.allowModeration(["moderator", "owner"].includes(m.you?.role));
        showViewers(m.viewers);
        rules.welcome(m, log.moderator);
        bans.allow(log.moderator);
        nowReady();
    },

    message(m) {
        passed(m.seq);

        if (!wire.numbered && m.name === users.name && m.text === unechoed) {
            unechoed = "";
        }

        show(m);
    },

    moderation(m) {
        passed(m.seq);
        rules.event(m);
        bans.changed();
        show(m);
    },

    history(m) {
        m.messages.forEach(show);
    },

    unknown(m) {
        if (Number.isInteger(m.seq)) {
            position.seq = Math.max(position.seq, m.seq);
        }
    },

    ack(m) {
        outbox.take(m.cid);
        log.acked(m.cid, m.seq);
        bans.changed();
    },

    error(m) {
        refusal(m);
        bans.changed();

        if (m.cid) {
            refused(m.cid);

        } else if (!wire.numbered && unechoed && compose.restore(unechoed)) {
            unechoed = "";
        }
    },

    reactions(m) {
        for (const [id, n] of m.counts) {
            const stamp = stamps.find(s => s.id === id);

            if (stamp) {
                floats.add(stamp, n);
            }
        }
    },

    viewers(m) {
        showViewers(m.count);
    },

    reset(m) {
        if (m.epoch !== position.epoch) {
            log.forgetNumbers();
        }

        log.divider(t("gap"));
        position.epoch = m.epoch;
        position.seq = m.head;
    }
};

/* the next number of the room's log */

function passed(seq) {
    if (!seq) {
        return;
    }

    if (seq > position.seq + 1) {
        log.divider(t("gap"));
    }

    position.seq = Math.max(position.seq, seq);
}

function nowReady() {
    ready = true;
    connection.settled();
    hideNotice();
    showState();

    for (const cid of outbox.resend()) {
        refused(cid);
    }
}

connection.addEventListener("frame", e => {
    const m = wire.decode(e.detail);

    if (m) {
        handlers[m.kind](m);
    }
});

connection.addEventListener("state", () => {
    ready = false;

    if (connection.state === "open" && !wire.numbered) {
        log.me = users.name ? { username: users.name } : null;
        nowReady();
    }

    if (connection.state === "closed") {
        offline();
    }

    showState();
});

/* views */

/* a notice that says how long to wait counts down, and goes when it is over */

function refusal(m) {
    const key = "err_" + m.code;

    if (!(m.retryAfter > 0 && has(key + "_wait"))) {
        notice(has(key) ? t(key) : t("error", { text: m.text || m.code }));
        return;
    }

    const end = performance.now() + m.retryAfter;

    const tell = () => {
        const left = (end - performance.now()) / 1000;

        if (left <= 0) {
            hideNotice();
            return;
        }

        $("notice-text").textContent = t(key + "_wait", {
            s: left < 10 ? left.toFixed(1) : Math.ceil(left)
        });
        noticeTimer = setTimeout(tell, left < 10 ? 100 : 1000);
    };

    notice("");
    clearTimeout(noticeTimer);
    tell();
}

function offline() {
    if (connection.state !== "closed") {
        notice(t("offline"));
        return;
    }

    const code = connection.code;
    const key = "close_" + code;

    notice(has(key) ? t(key) : t("close_other", { code }),
           { label: t("reconnect"), run: () => connection.start() });
}

let noticeTimer;

function notice(text, action) {
    $("notice").hidden = false;
    $("notice-text").textContent = text;
    $("notice-action").hidden = !action;
    clearTimeout(noticeTimer);

    if (action) {
        $("notice-action").textContent = action.label;
        $("notice-action").onclick = () => {
            hideNotice();
            action.run();
        };

    } else {
        noticeTimer = setTimeout(hideNotice, NOTICE_TIME);
    }
}

function hideNotice() {
    clearTimeout(noticeTimer);
    $("notice").hidden = true;
    $("notice-text").textContent = "";
}

let countdown;

function showState() {
    const state = ready ? "online"
        : connection.state === "open" ? "connecting" : connection.state;
    const text = () => {
        const left = (connection.retryAt - performance.now()) / 1000;

        $("state-text").textContent = t("state_" + state,
                                        { s: Math.max(0, Math.ceil(left)) });
    };

    clearInterval(countdown);
    document.body.dataset.state = state;
    text();

    /* a screen reader is told the state once, not each second */

    $("state-said").textContent = t(state === "waiting" ? "said_waiting"
                                                        : "state_" + state);

    if (state === "waiting") {
        countdown = setInterval(text, 1000);
    }
}

function showViewers(count) {
    $("viewers-pill").hidden = !Number.isFinite(count);
    $("viewers").textContent = new Intl.NumberFormat(lang).format(count);
}

function showStamps() {
    for (const stamp of stamps) {
        const button = document.createElement("button");
        const img = document.createElement("img");
        const label = t("stamp_" + stamp.id);

        img.src = stamp.image;
        img.alt = "";
        img.width = img.height = 34;
        button.type = "button";
        button.title = label;
        button.setAttribute("aria-label", label);
        button.dataset.stamp = stamp.id;
        button.append(img);
        button.addEventListener("click", () => react(stamp));
        $("stamps").append(button);
    }
}

function linkTo(changes) {
    const to = new URLSearchParams(query);

    for (const [key, value] of Object.entries(changes)) {
        if (value === null) {
            to.delete(key);

        } else {
            to.set(key, value);
        }
    }

    return "?" + to;
}

function showAccount() {
    paintAvatar($("account-avatar"), users.name);
    $("second").href = linkTo({ user: users.other });
}

function showUsers() {
    if (!users.name) {
        return;
    }

    for (const name of users.names) {
        $("user").append(new Option(name, name, false, name === users.name));
    }

    $("user").addEventListener("change", () => {

        /* a load, so that nothing of the one user is left to the other */

        users.choose($("user").value);
        location.search = linkTo({ user: users.name });
    });

    showAccount();
    $("account").hidden = false;
}

async function start() {
    translate(document);
    document.title = t("title") + " | fcchat live";
    startPlayer(room);
    showStamps();
    $("wire").textContent = t("wire_" + wire.name);
    $("other-wire").textContent = t(wire.numbered ? "to_old" : "to_v1");
    $("other-wire").href = linkTo({ old: wire.numbered ? "1" : null });

    for (const link of document.querySelectorAll("[data-room]")) {
        link.href = linkTo({ room: link.dataset.room });

        if (link.dataset.room === room) {
            link.setAttribute("aria-current", "page");
        }
    }

    compose.update();
    await users.load();
    showUsers();
    connection.start();
}

start();
