/*
 * The demo's users.  Their session cookie is shared by all windows of the
 * browser, but it is read at the handshake only: a window puts its own cookie
 * there right before it connects, and keeps the others out until it has.
 */

const CHOSEN = "fcchat.user";
const NEXT = "fcchat.next";
const LOCK = "fcchat.cookie";

function storage(kind) {
    try {
        return window[kind];

    } catch {
        return null;
    }
}

/* document.cookie may return before the cookie is there, and a handshake that
 * follows at once would still bear the old one: wait until it can be seen,
 * where the browser has a way to look that does not answer by heart */

async function setCookie(value) {
    document.cookie = "sessionid=" + value + "; path=/; SameSite=Lax";

    for (let i = 0; window.cookieStore && i < 50; i++) {
        const cookie = await cookieStore.get("sessionid").catch(() => null);

        if (cookie?.value === value) {
            return;
        }

        await new Promise(done => setTimeout(done, 10));
    }
}

export class Users {

    async load() {
        try {
            const answer = await fetch("/demo/users.json",
                                       { cache: "no-store" });

            this.list = answer.ok ? await answer.json() : [];

        } catch {
            this.list = [];
        }

        this.#chooseFirst();
    }

    get names() {
        return this.list.map(user => user.username);
    }

    /* whom another window may take */

    get other() {
        const i = this.names.indexOf(this.name);

        return this.names[(i + 1) % this.names.length];
    }

    choose(name) {
        this.name = name;
        storage("sessionStorage")?.setItem(CHOSEN, name);
    }

    /* ?user=, then this window's last choice, then the next of the list: so
     * two windows that are merely opened are two users */

    #chooseFirst() {
        if (this.list.length === 0) {
            return;
        }

        const asked = new URLSearchParams(location.search).get("user");
        const last = storage("sessionStorage")?.getItem(CHOSEN);
        let name = [asked, last].find(n => this.names.includes(n));

        if (!name) {
            const shared = storage("localStorage");
            const next = Number(shared?.getItem(NEXT)) || 0;

            name = this.names[next % this.names.length];
            shared?.setItem(NEXT, String(next + 1));
        }

        this.choose(name);
    }

    /* sets the cookie; the function it gives lets the next window do so */

    async prepare() {
        const user = this.list.find(u => u.username === this.name);

        if (!user) {
            return () => {};
        }

        let release = () => {};

        if (navigator.locks) {
            await new Promise(entered => {
                navigator.locks.request(LOCK, () => new Promise(leave => {
                    release = leave;
                    entered();
                })).catch(entered);
            });
        }

        await setCookie(user.cookie);
        return release;
    }
}
