/*
 * Messages on their way: each keeps its cid until the server acknowledges or
 * refuses it, so that it may be sent again and still be one message.
 */

const MAX_ATTEMPTS = 5;

export function newCid() {
    const bytes = crypto.getRandomValues(new Uint8Array(12));

    return Array.from(bytes, b => b.toString(16).padStart(2, "0")).join("");
}

export class Outbox {

    /* send(text, cid) returns false when there is no connection */

    constructor(send) {
        this.send = send;
        this.waiting = new Map();
    }

    /* returns the cid, or null when the message could not be sent */

    add(text) {
        const cid = newCid();

        if (!this.send(text, cid)) {
            return null;
        }

        this.waiting.set(cid, { text, attempts: 1 });
        return cid;
    }

    /* again after an error: the same cid, counted anew */

    retry(cid) {
        const message = this.waiting.get(cid);

        if (!message || !this.send(message.text, cid)) {
            return false;
        }

        message.attempts = 1;
        message.refused = false;
        return true;
    }

    /* after a reconnect; returns the cids that are given up */

    resend() {
        const given = [];

        for (const [cid, message] of this.waiting) {
            if (message.refused) {
                continue;
            }

            if (message.attempts >= MAX_ATTEMPTS) {
                message.refused = true;
                given.push(cid);
                continue;
            }

            if (!this.send(message.text, cid)) {
                break;
            }

            message.attempts++;
        }

        return given;
    }

    refuse(cid) {
        const message = this.waiting.get(cid);

        if (message) {
            message.refused = true;
        }

        return message?.text;
    }

    /* returns the text, undefined when the cid is not (or no longer) ours */

    take(cid) {
        const message = this.waiting.get(cid);

        this.waiting.delete(cid);
        return message?.text;
    }
}
