/*
 * The watch page: ties the connection, the two protocols and the views
 * together.  Query: ?room=stream_1, ?user=NAME, ?old=1 (the old protocol),
 * ?lang=ja|en.
 */

import { t, has, lang, translate } from "./i18n.js";
import { wires } from "./wire.js";
import { Connection } from "./connection.js";
import { Outbox } from "./outbox.js";
import { Log, paintAvatar } from "./log.js";
import { Floats } from "./floats.js";
import { Users } from "./users.js";
import { Compose } from "./compose.js";
import { startPlayer } from "./player.js";

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

const users = new Users();
const floats = new Floats($("floats"));
const log = new Log({
    list: $("messages"), scroller: $("scroller"), empty: $("empty"),
    newer: $("newer")
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
    if (m.type !== "deleted") {
        log.add(m);
    }
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
        showViewers(m.viewers);
        showPins(m.pins);
        nowReady();
    },

    message(m) {
        if (m.seq) {
            if (m.seq > position.seq + 1) {
                log.divider(t("gap"));
            }

            position.seq = Math.max(position.seq, m.seq);
        }

        if (!wire.numbered && m.name === users.name && m.text === unechoed) {
            unechoed = "";
        }

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
    },

    error(m) {
        notice(errorText(m));

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

function errorText(m) {
    const key = "err_" + m.code;

    if (m.retryAfter > 0 && has(key + "_wait")) {
        return t(key + "_wait",
                 { s: Math.max(0.1, m.retryAfter / 1000).toFixed(1) });
    }

    return has(key) ? t(key) : t("error", { text: m.text || m.code });
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

function showPins(pins) {
    const last = pins.at(-1);

    $("pins").hidden = !last;
    $("pins").replaceChildren();

    if (last) {
        const label = document.createElement("b");

        label.textContent = t("pinned");
        $("pins").append(label, " " + last.text);
    }
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
