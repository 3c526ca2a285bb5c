/*
 * The placeholder player: a scene with moving lights, a clock, pause and full
 * screen.  There is no video behind it.
 */

import { t } from "./i18n.js";

const BARS = 64;

export function startPlayer(room) {
    const $ = id => document.getElementById(id);
    const player = $("player");
    const started = performance.now();

    player.classList.toggle("second", room === "stream_2");

    for (let i = 0; i < BARS; i++) {
        const bar = document.createElement("i");

        bar.style.setProperty("--beat", (0.7 + (i * 37 % 11) / 10) + "s");
        bar.style.setProperty("--shift", -(i * 53 % 17) / 7 + "s");
        $("bars").append(bar);
    }

    const pause = paused => {
        player.classList.toggle("paused", paused);
        $("pause").setAttribute("aria-pressed", String(paused));
        $("pause").setAttribute("aria-label", t(paused ? "play" : "pause"));
    };

    pause(false);
    $("pause").addEventListener("click", () =>
        pause(!player.classList.contains("paused")));

    $("fullscreen").hidden = !document.fullscreenEnabled;
    $("fullscreen").addEventListener("click", () => {
        if (document.fullscreenElement) {
            document.exitFullscreen();

        } else {
            $("stage").requestFullscreen().catch(() => {});
        }
    });

    setInterval(() => {
        const s = Math.floor((performance.now() - started) / 1000);
        const two = n => String(n).padStart(2, "0");
        const minutes = Math.floor(s / 60);

        $("clock").textContent = minutes < 60
            ? minutes + ":" + two(s % 60)
            : Math.floor(minutes / 60) + ":" + two(minutes % 60) + ":"
              + two(s % 60);
    }, 1000);
}
