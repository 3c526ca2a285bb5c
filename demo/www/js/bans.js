/*
 * Who is banned or muted, for moderators: a dialog that reads it over the HTTP
 * API, page by page, those of the room and then those of all rooms.
 */

import { t, lang } from "./i18n.js";
import { element, hue } from "./log.js";

const FIRST = ["?limit=50", "?limit=50&scope=tenant"];

export class Bans {

    /* load(query): a page, null where it is not for us; unban(ban, scope) */

    constructor({ button, dialog, list, note, more, close, load, unban }) {
        this.button = button;
        this.dialog = dialog;
        this.list = list;
        this.note = note;
        this.more = more;
        this.load = load;
        this.unban = unban;
        this.turn = 0;

        button.addEventListener("click", () => {
            dialog.showModal();
            this.#read(FIRST, true);
        });

        more.addEventListener("click", () => this.#read(this.next, false));
        close.addEventListener("click", () => dialog.close());

        /* a click beside it */

        dialog.addEventListener("click", e => {
            if (e.target === dialog) {
                dialog.close();
            }
        });
    }

    allow(allowed) {
        this.button.hidden = !allowed;

        if (!allowed) {
            this.dialog.close();
        }
    }

    /* something was done that may have changed them */

    changed() {
        if (this.dialog.open) {
            this.#read(FIRST, true);
        }
    }

    async #read(queries, anew) {
        const turn = ++this.turn;
        const rows = [];
        const next = [];

        this.more.hidden = true;

        try {
            for (const query of queries) {
                const page = await this.load(query);

                for (const ban of page?.bans ?? []) {
                    rows.push(this.#row(ban, page.scope));
                }

                if (page?.next) {
                    next.push(page.next);
                }
            }

        } catch {
            this.#say(turn, t("bans_failed"));
            return;
        }

        if (turn !== this.turn) {
            return;
        }

        if (anew) {
            this.list.replaceChildren();
        }

        this.list.append(...rows);
        this.next = next;
        this.more.hidden = next.length === 0;
        this.#say(turn, this.list.childElementCount ? "" : t("bans_none"));
    }

    #say(turn, text) {
        if (turn === this.turn) {
            this.note.textContent = text;
            this.note.hidden = text === "";
        }
    }

    #row(ban, scope) {
        const row = element("li", "ban");
        const what = element("div", "what");
        const user = ban.target?.user;
        const name = element("bdi", "name", user?.username
                                            ?? ban.target?.address ?? "");
        const why = element("p", "why", ban.reason ?? "");
        const button = element("button", "button", t("act_unban"));
        const until = ban.until
            ? t("until", { at: new Date(ban.until).toLocaleString(lang,
                { dateStyle: "short", timeStyle: "short" }) })
            : t("for_ever");

        name.style.setProperty("--hue", hue(name.textContent));
        why.dir = "auto";
        button.type = "button";
        button.addEventListener("click", () => {
            button.disabled = true;
            this.unban(user ? { user_id: user.id }
                            : { address: ban.target?.address }, scope);
        });

        what.append(name, element("span", "badge is-" + ban.action,
                                  t("kind_" + ban.action)));

        if (scope === "tenant") {
            what.append(element("span", "badge", t("all_rooms")));
        }

        what.append(element("small", "", until + (ban.by
            ? " · " + t("banned_by", { name: ban.by.username }) : "")), why);
        row.append(what, button);

        return row;
    }
}
