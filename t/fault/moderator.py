"""A moderator: one thing after the other, each until it is acknowledged, and
what it did is undone before long and before the end.

Of one that moderates "messages" nobody else takes notice but as a reader.  One
that moderates "all" gives speakers a rest, makes the room slow, and bans those
who are there for it.  It asks for pages of the room's history, too.

It lets be what has an odd number from its speaker, so that a test may know of
messages that nobody deletes.
"""

import random

import client


class Moderator(client.Client):
    def __init__(self, run, o):
        super().__init__(run, o)
        self.all = o["moderates"] == "all"
        self.asked = {}                 # cid -> what
        self.undo = []                  # [(what of draw's, what, when)]
        self.deleted = set()
        self.hidden = set()
        self.page = None                # the number below which it has asked
        self.pages = []                 # (epoch, what it had, [Event], whole)

    def text(self, cid):
        return "%s|%s|%s|" % (self.room, self.user, cid)

    def put(self, cid, t):
        self.waiting[cid] = [t + client.ACK_WAIT, False]
        self.say({**self.asked[cid], "reason": self.text(cid), "cid": cid})

    def end_turn(self):
        super().end_turn()
        self.page = None

    def message(self, kind, m, event, t):
        if kind == "history":
            self.came(m)
        else:
            super().message(kind, m, event, t)
        if kind == "reset":
            self.page = None

    def error(self, m, t):
        cid = m.get("cid")
        if cid is None:
            self.page = None
        if m["code"] == "not_found" and cid in self.waiting:
            # others delete, too
            del self.waiting[cid]
            return
        super().error(m, t)

    def turn_to(self, t):
        self.remind(t)
        if self.waiting:
            return
        talking = self.run.talking
        for done in self.undo:
            if not talking or done[2](t):
                self.undo.remove(done)
                self.ask(done[1], t)
                return
        if talking and self.page is None and random.random() < 0.2:
            self.page = self.seq + 1
            self.say({"type": "history", "before": self.page, "limit": 100})
        elif talking:
            what = self.draw(t)
            if what:
                self.ask(what, t)

    def ask(self, what, t):
        cid = self.fresh(t)
        self.asked[cid] = what
        self.put(cid, t)

    def draw(self, t):
        some = [event for epoch, event, *_ in self.log[-60:]
                if epoch == self.epoch and event.kind == "message"
                and event.id not in self.deleted
                and event.text.rstrip(".")[-2:-1] in set("02468")]
        if not some:
            return None
        event = random.choice(some)
        kinds = ["delete", "delete", "pin"]
        if self.all:
            kinds += ["timeout", "ban"] + ["slow"] * (random.random() < 0.2)
        kind = random.choice(kinds)
        if any(kind == what for what, *_ in self.undo):
            kind = "delete"
        return getattr(self, "draw_" + kind)(event, t)

    def hide(self, event):
        self.deleted.add(event.id)
        self.hidden.add(event.text)

    def draw_delete(self, event, t):
        self.hide(event)
        return {"type": "delete", "id": event.id} if random.random() < 0.5 \
            else {"type": "delete", "seq": event.seq}

    def draw_pin(self, event, t):
        if random.random() < 0.5:
            self.hide(event)
            end = {"type": "delete", "id": event.id}
        else:
            end = {"type": "unpin", "id": event.id}
        self.undo.append(("pin", end, lambda now: now > t + 0.5))
        return {"type": "pin", "id": event.id, "seconds": 600}

    def draw_timeout(self, event, t):
        who = random.choice([c for c in self.run.clients if not c.victim
                             and c.rate and c.room == self.room
                             and not isinstance(c, Moderator)])
        return {"type": "timeout", "username": who.user, "seconds": 1}

    def draw_slow(self, event, t):
        self.undo.append(("slow", {"type": "slow", "seconds": 0},
                          lambda now: now > t + 0.5))
        return {"type": "slow", "seconds": 1}

    def draw_ban(self, event, t):
        victims = [c for c in self.run.clients
                   if c.victim and c.room == self.room]
        if not victims:
            return self.draw_delete(event, t)
        who = random.choice(victims)

        # who is to be out by then, is not let in again before

        self.undo.append(("ban", {"type": "unban", "username": who.user},
                          lambda now: now > t + 4 or
                          now > t + 0.3 and not who.ready))
        return {"type": "ban", "username": who.user, "seconds": 600}

    def came(self, m):
        """A page of what came before a number, all of it deleted that it
        knew to be when it asked."""
        before, self.page = self.page, None
        if before is None:
            return
        try:
            events = [client.event_of(e) for e in m["messages"]]
        except (KeyError, TypeError, AttributeError):
            self.note("broken")
            return
        seqs = [e.seq for e in events]
        whole = m["before"] == before and (seqs or before == 1) and \
            seqs == list(range(before - len(seqs), before))
        self.pages.append((self.epoch, before - 1, events, whole))
