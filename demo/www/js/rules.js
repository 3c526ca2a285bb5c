/*
 * What moderators have settled for the room: its pinned messages and its slow
 * mode.  Pins end by the server's clock.
 */

import { t } from "./i18n.js";

const PACES = [0, 5, 10, 30, 60, 300];

export class Rules {

    constructor({ pins, slow, pace, unpin, setSlow }) {
        this.pins = [];
        this.view = pins;
        this.slow = slow;
        this.pace = pace;
        this.unpin = unpin;
        this.skew = 0;
        this.moderator = false;

        pace.addEventListener("change", () => setSlow(Number(pace.value)));
    }

    welcome(m, moderator) {
        this.skew = m.time ? m.time - Date.now() : 0;
        this.moderator = moderator;
        this.pins = m.pins;
        this.pace.hidden = !moderator;
        this.pace.setAttribute("aria-label", t("slow_choose"));
        this.#showPins();
        this.#showSlow(m.modes.slow ?? 0);
    }

    event(m) {
        const id = m.target.id;

        if (m.action === "slow") {
            this.#showSlow(m.modes?.slow ?? 0);
            return;
        }

        if (["pin", "unpin", "delete"].includes(m.action)) {
            this.pins = this.pins.filter(p => p.id !== id);
        }

        if (m.action === "pin") {
            this.pins.push({
                id, seq: m.target.seq, text: String(m.target.text ?? ""),
                name: m.target.user?.username ?? "", until: m.until
            });
        }

        this.#showPins();
    }

    #now() {
        return Date.now() + this.skew;
    }

    #showPins() {
        clearTimeout(this.timer);

        /* null: until it is undone */

        this.pins = this.pins.filter(p => !p.until || p.until > this.#now());

        const last = this.pins.at(-1);
        const ends = this.pins.filter(p => p.until).map(p => p.until);

        this.view.hidden = !last;
        this.view.replaceChildren();

        if (last) {
            this.view.append(this.#pin(last));
        }

        if (ends.length) {
            this.timer = setTimeout(() => this.#showPins(),
                Math.min(Math.max(0, Math.min(...ends) - this.#now()), 60000));
        }
    }

    #pin(pin) {
        const row = document.createElement("p");
        const label = document.createElement("b");
        const name = document.createElement("bdi");
        const text = document.createElement("span");
        const rest = this.pins.length - 1;

        label.textContent = t("pinned") + (rest > 0 ? " +" + rest : "");
        name.className = "name";
        name.textContent = pin.name;
        text.className = "text";
        text.textContent = pin.text;
        text.dir = "auto";
        row.append(label, " ", name, " ", text);

        if (this.moderator) {
            const button = document.createElement("button");

            button.type = "button";
            button.className = "link";
            button.textContent = t("act_unpin");
            button.addEventListener("click", () => this.unpin(pin));
            row.append(" ", button);
        }

        return row;
    }

    #showSlow(seconds) {
        this.slow.hidden = seconds === 0;
        this.slow.textContent = t("slow_is", { s: seconds });

        this.pace.replaceChildren();

        for (const s of new Set([...PACES, seconds])) {
            this.pace.append(new Option(
                s === 0 ? t("slow_off") : t("slow_is", { s }), s, false,
                s === seconds));
        }
    }
}
