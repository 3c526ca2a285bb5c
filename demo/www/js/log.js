/*
 * The list of messages.  What has a seq stands in the order of seq, each once;
 * the viewer's own messages that are still on their way stand at the end.
 * A moderator has a menu at each message of somebody else.  Text from the
 * network becomes text nodes only.
 */

import { t, has, lang } from "./i18n.js";

const MAX_ROWS = 500;
const NEAR_END = 48;

export function element(tag, className, text) {
    const el = document.createElement(tag);

    if (className) {
        el.className = className;
    }

    if (text !== undefined) {
        el.textContent = text;
    }

    return el;
}

/* FNV-1a, then a mixer: its low bits alone give like names like colors */

export function hue(name) {
    let h = 2166136261;

    for (const c of name) {
        h = Math.imul(h ^ c.codePointAt(0), 16777619);
    }

    h = Math.imul(h ^ h >>> 16, 0x85ebca6b);
    h = Math.imul(h ^ h >>> 13, 0xc2b2ae35);

    return ((h ^ h >>> 16) >>> 0) % 360;
}

export function paintAvatar(el, name) {
    el.textContent = ([...name][0] || "?").toUpperCase();
    el.style.setProperty("--hue", hue(name));
}

function clock(at) {
    const date = at ? new Date(at) : new Date();

    return isNaN(date) ? "" : date.toLocaleTimeString(lang,
        { hour: "2-digit", minute: "2-digit" });
}

export class Log {

    /* moderate(action, message) is what a moderator has chosen */

    constructor({ list, scroller, empty, newer, moderate }) {
        this.list = list;
        this.scroller = scroller;
        this.empty = empty;
        this.newer = newer;
        this.bySeq = new Map();
        this.byCid = new Map();
        this.seqOf = new WeakMap();
        this.trimmed = 0;
        this.stuck = true;
        this.top = 0;
        this.unseen = 0;
        this.me = null;
        this.moderate = moderate;
        this.moderator = false;
        this.gone = new Set();

        scroller.addEventListener("scroll", () => this.#scrolled(),
                                  { passive: true });
        new ResizeObserver(() => this.#follow()).observe(scroller);
        newer.addEventListener("click", () => this.toEnd());
    }

    /* an event of the room; one that is there already changes nothing */

    add(m) {
        if (m.seq && (this.bySeq.has(m.seq) || m.seq <= this.trimmed)) {
            this.#known(this.bySeq.get(m.seq), m);
            return;
        }

        const row = m.type === "message" ? this.#message(m)
                                         : this.#notice(m);

        if (this.gone.has(m.seq)) {
            this.#erase(row);
        }

        if (m.seq) {
            this.bySeq.set(m.seq, row);
            this.seqOf.set(row, m.seq);
        }

        this.#insert(row, m.seq);
    }

    /* our own message, which had no number yet when its row was made */

    #known(row, m) {
        if (row?.matches(".msg:not(.deleted)") && !row.querySelector(".acts")) {
            row.append(this.#acts(m));
        }
    }

    /* its text is no more, here as anywhere else */

    deleted(seq) {
        const row = this.bySeq.get(seq);

        this.gone.add(seq);

        if (row) {
            this.#erase(row);
        }
    }

    #erase(row) {
        const text = row.querySelector(".text");

        row.classList.add("deleted");
        row.querySelector(".acts")?.remove();

        if (text) {
            text.textContent = t("deleted");
        }
    }

    /* the menus are there for whoever may use them */

    allowModeration(allowed) {
        this.moderator = allowed;
        this.list.classList.toggle("moderated", allowed);
    }

    divider(text) {
        this.#insert(element("li", "note gap", text));
    }

    /* the viewer's own message, before anybody has confirmed it */

    pending(cid, text) {
        const row = this.#message({ name: this.me?.username || "", text,
                                    role: this.me?.role });

        row.classList.add("pending");
        row.append(element("span", "fate", t("pending")));
        this.byCid.set(cid, row);
        this.list.append(row);
        this.stuck = true;
        this.#grown(true);
    }

    acked(cid, seq) {
        const row = this.byCid.get(cid);

        this.byCid.delete(cid);

        if (!row) {
            return;
        }

        row.remove();

        if (seq && this.bySeq.has(seq)) {
            return;
        }

        row.classList.remove("pending", "failed");
        row.querySelector(".fate")?.remove();

        if (seq) {
            this.bySeq.set(seq, row);
            this.seqOf.set(row, seq);
        }

        this.#insert(row, seq, true);
    }

    failed(cid, { retry, discard }) {
        const row = this.byCid.get(cid);
        const fate = row?.querySelector(".fate");

        if (!fate) {
            return;
        }

        const button = (label, action) => {
            const b = element("button", "link", label);

            b.type = "button";
            b.addEventListener("click", action);
            return b;
        };

        row.classList.add("failed");
        fate.replaceChildren(t("failed"), button(t("retry"), retry),
                             button(t("discard"), discard));
    }

    sendingAgain(cid) {
        const row = this.byCid.get(cid);

        row?.classList.remove("failed");
        row?.querySelector(".fate")?.replaceChildren(t("pending"));
    }

    discard(cid) {
        this.byCid.get(cid)?.remove();
        this.byCid.delete(cid);
        this.#grown(true);
    }

    /* numbers of another epoch mean nothing to the one that follows */

    forgetNumbers() {
        this.bySeq.clear();
        this.gone.clear();
        this.seqOf = new WeakMap();
        this.trimmed = 0;
    }

    toEnd() {
        this.stuck = true;
        this.#follow();
    }

    #message(m) {
        const row = element("li", "msg");
        const avatar = element("span", "avatar");
        const body = element("div", "body");
        const head = element("div", "head");
        const name = element("bdi", "name", m.name);
        const text = element("p", "text", m.text);

        paintAvatar(avatar, m.name);
        avatar.setAttribute("aria-hidden", "true");
        name.style.setProperty("--hue", hue(m.name));
        text.dir = "auto";
        head.append(name);

        if (has("role_" + m.role)) {
            head.append(element("span", "badge " + m.role,
                                t("role_" + m.role)));
        }

        head.append(element("time", "", clock(m.at)));
        body.append(head, text);
        row.append(avatar, body);

        if (this.me && m.name === this.me.username) {
            row.classList.add("own");
        }

        if (m.seq && m.userId !== undefined) {
            row.append(this.#acts(m));
        }

        return row;
    }

    #acts(m) {
        const menu = element("details", "acts");
        const summary = element("summary", "", "⋯");
        const list = element("div", "menu");
        const own = this.me && m.userId === this.me.id;
        const actions = own ? ["pin", "delete"]
                            : ["pin", "delete", "timeout", "ban"];

        summary.setAttribute("aria-label", t("moderate", { name: m.name }));

        for (const action of actions) {
            const b = element("button", "", t("act_" + action));

            b.type = "button";
            b.dataset.act = action;
            b.addEventListener("click", () => {
                menu.open = false;
                this.moderate(action, m);
            });
            list.append(b);
        }

        menu.append(summary, list);
        return menu;
    }

    #notice(m) {
        const row = element("li", "note " + (/^\w+$/.test(m.type) ? m.type
                                                                  : ""));
        const text = element("span", "text", m.text);

        text.dir = "auto";

        if ((m.type === "join" || m.type === "leave") && !m.text) {
            text.textContent = t("presence_" + m.type, { name: m.name });

        } else if (m.name) {
            row.append(element("bdi", "name", m.name), " ");
        }

        row.append(text);
        return row;
    }

    #insert(row, seq, own = false) {
        let after = this.list.lastElementChild;

        while (after
               && (after.classList.contains("pending")
                   || (seq && this.seqOf.get(after) > seq)))
        {
            after = after.previousElementSibling;
        }

        if (after) {
            after.after(row);

        } else {
            this.list.prepend(row);
        }

        while (this.list.childElementCount > MAX_ROWS) {
            this.#trim(this.list.firstElementChild);
        }

        this.#grown(own);
    }

    #trim(row) {
        const seq = this.seqOf.get(row);

        if (seq) {
            this.bySeq.delete(seq);
            this.trimmed = Math.max(this.trimmed, seq);
        }

        row.remove();
    }

    #grown(own) {
        this.empty.hidden = this.list.childElementCount > 0;

        if (!this.stuck && !own) {
            this.unseen++;
            this.newer.textContent = t("newer", { n: this.unseen });
            this.newer.hidden = false;
        }

        this.#follow();
    }

    /* once per frame, however many messages came: reading the height of the
     * list makes the browser lay it out */

    #follow() {
        if (!this.stuck || this.frame) {
            return;
        }

        this.frame = requestAnimationFrame(() => {
            this.frame = 0;

            if (this.stuck) {
                this.scroller.scrollTop = this.scroller.scrollHeight;
                this.top = this.scroller.scrollTop;
                this.#seen();
            }
        });
    }

    /* only the way up is the viewer's: the end runs away by itself when
     * messages come between our scrolling and the event it causes */

    #scrolled() {
        const s = this.scroller;

        if (s.scrollHeight - s.scrollTop - s.clientHeight < NEAR_END) {
            this.stuck = true;
            this.#seen();

        } else if (s.scrollTop < this.top) {
            this.stuck = false;
        }

        this.top = s.scrollTop;
        s.classList.toggle("stuck", this.stuck);
    }

    #seen() {
        this.unseen = 0;
        this.newer.hidden = true;
    }
}
