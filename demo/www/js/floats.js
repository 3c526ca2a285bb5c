/*
 * Stamps that rise over the page for three seconds.  However many the viewers
 * send, only a sane number is drawn; the rest shows as a multiplier.
 */

const MAX_DRAWN = 60;
const MAX_AT_ONCE = 6;
const LIFE = 3000;

export class Floats {

    constructor(layer) {
        this.layer = layer;
    }

    add(stamp, count) {
        if (document.hidden || !(count > 0)) {
            return;
        }

        const room = MAX_DRAWN - this.layer.childElementCount;
        const drawn = Math.min(count, MAX_AT_ONCE, room);

        for (let i = 0; i < drawn; i++) {
            const rest = i === drawn - 1 ? count - drawn : 0;

            this.#draw(stamp, rest, i * 70);
        }
    }

    #draw(stamp, rest, delay) {
        const el = document.createElement("span");
        const img = document.createElement("img");

        img.src = stamp.image;
        img.alt = "";
        el.className = "float";
        el.dataset.stamp = stamp.id;
        el.append(img);

        if (rest > 0) {
            const times = document.createElement("b");

            times.textContent = "×" + (rest + 1);
            el.append(times);
        }

        el.style.setProperty("--x", Math.random().toFixed(3));
        el.style.setProperty("--sway", (Math.random() * 2 - 1).toFixed(3));
        el.style.setProperty("--size", (0.85 + Math.random() * 0.4)
                                       .toFixed(3));
        el.style.setProperty("--delay", delay + "ms");
        this.layer.append(el);
        setTimeout(() => el.remove(), LIFE + delay);
    }
}
