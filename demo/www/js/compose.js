/*
 * The input: grows with its text, counts code points as the server does, and
 * sends on Enter, but not on the Enter that ends an input method's word.
 */

import { t } from "./i18n.js";

const MAX_LENGTH = 500;
const NEAR_MAX = 450;

export class Compose {

    /* send(text) returns true when the text has left the input's care */

    constructor({ form, text, count, button, send }) {
        this.text = text;
        this.count = count;
        this.button = button;
        this.allowed = true;

        text.addEventListener("input", () => this.update());
        text.addEventListener("keydown", e => {

            /* 229: Safari ends the composition before it tells of the key */

            if (e.key === "Enter" && !e.shiftKey && !e.isComposing
                && e.keyCode !== 229)
            {
                e.preventDefault();
                form.requestSubmit();
            }
        });

        form.addEventListener("submit", e => {
            e.preventDefault();

            if (this.#sendable() && send(text.value.trim())) {
                text.value = "";
                this.update();
            }

            text.focus();
        });

        this.update();
    }

    /* a message came back: only an empty input takes it */

    restore(text) {
        if (this.text.value !== "") {
            return false;
        }

        this.text.value = text;
        this.update();
        return true;
    }

    allow(allowed) {
        this.allowed = allowed;
        this.text.disabled = !allowed;
        this.text.placeholder = t(allowed ? "write" : "guest");
        this.update();
    }

    update() {
        const n = [...this.text.value].length;

        this.count.textContent = t("count", { n, max: MAX_LENGTH });
        this.count.classList.toggle("over", n > MAX_LENGTH);
        this.count.hidden = n === 0;
        this.count.setAttribute("aria-live", n > NEAR_MAX ? "polite" : "off");
        this.text.setAttribute("aria-invalid", String(n > MAX_LENGTH));
        this.button.disabled = !this.#sendable();

        this.text.style.height = "auto";
        this.text.style.height = this.text.scrollHeight + "px";
    }

    #sendable() {
        const n = [...this.text.value].length;

        return this.allowed && n <= MAX_LENGTH && this.text.value.trim() !== "";
    }
}
