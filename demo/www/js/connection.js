/*
 * One WebSocket that stays connected.
 *
 *   idle -> connecting -> open -> waiting -> connecting ...
 *                             \-> closed (the server said: do not reconnect)
 *
 * Every attempt has a generation; what arrives from an older one is dropped.
 * "open" is the socket's own state: that the chat has welcomed us is known to
 * the caller only, who then says settled().
 */

const FIRST_DELAY = 500;
const LAST_DELAY = 30000;
const OPEN_TIMEOUT = 10000;
const STABLE = 5000;

/* the server is going away, but another is there at once */
const QUICK = new Set([1001, 1012, 4001]);

const OVERLOADED = 4013;

export class Connection extends EventTarget {

    /*
     * url() and prepare() are called for each attempt; prepare() resolves to
     * a function that is called when the handshake is over.
     */

    constructor({ url, protocols, prepare }) {
        super();
        this.url = url;
        this.protocols = protocols;
        this.prepare = prepare;
        this.state = "idle";
        this.generation = 0;
        this.failures = 0;
        this.socket = null;
        this.retryAt = 0;

        /* the reason to wait may be over */

        addEventListener("online", () => this.#hurry());
        document.addEventListener("visibilitychange", () => {
            if (!document.hidden) {
                this.#hurry();
            }
        });
    }

    async start() {
        const generation = ++this.generation;

        clearTimeout(this.timer);
        this.socket?.close(1000);
        this.socket = null;
        this.#setState("connecting");

        const done = await this.prepare();

        if (generation !== this.generation) {
            done();
            return;
        }

        this.#open(generation, done);
    }

    send(text) {
        if (this.socket?.readyState !== WebSocket.OPEN) {
            return false;
        }

        this.socket.send(text);
        return true;
    }

    /* the chat works: the next failure is a first one, if this one lasts */

    settled() {
        const generation = this.generation;

        this.settledAt = performance.now();

        setTimeout(() => {
            if (generation === this.generation) {
                this.failures = 0;
            }
        }, STABLE);
    }

    #open(generation, done) {
        const socket = new WebSocket(this.url(), this.protocols);
        const mine = () => generation === this.generation;

        this.socket = socket;
        this.settledAt = 0;
        this.timer = setTimeout(() => {
            socket.close();
            done();
            this.#closed(generation, 1006);
        }, OPEN_TIMEOUT);

        socket.onopen = () => {
            done();

            if (mine()) {
                clearTimeout(this.timer);
                this.#setState("open");
            }
        };

        socket.onmessage = e => {
            if (mine() && typeof e.data === "string") {
                this.dispatchEvent(new CustomEvent("frame",
                                                   { detail: e.data }));
            }
        };

        socket.onclose = e => {
            done();
            this.#closed(generation, e.code);
        };
    }

    #closed(generation, code) {
        if (generation !== this.generation) {
            return;
        }

        clearTimeout(this.timer);
        this.generation++;
        this.socket = null;
        this.code = code;

        if (code >= 4400 && code <= 4499) {
            this.#setState("closed");
            return;
        }

        const delay = this.#delay(code);

        this.failures++;
        this.retryAt = performance.now() + delay;
        this.timer = setTimeout(() => this.start(), delay);
        this.#setState("waiting");
    }

    /* jitter keeps the viewers of a restarted server from coming as one */

    #delay(code) {
        const lasted = this.settledAt
                       && performance.now() - this.settledAt > STABLE;

        if (QUICK.has(code) && (lasted || this.failures === 0)) {
            return 50 + Math.random() * 450;
        }

        let delay = Math.min(LAST_DELAY, FIRST_DELAY * 2 ** this.failures);

        if (code === OVERLOADED) {
            delay = Math.max(delay, 5000);
        }

        return delay * (0.5 + Math.random() / 2);
    }

    #hurry() {
        if (this.state === "waiting") {
            this.start();
        }
    }

    #setState(state) {
        this.state = state;
        this.dispatchEvent(new Event("state"));
    }
}
