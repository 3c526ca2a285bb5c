"""Many clients that write down what they see, and the judgement of it against
PostgreSQL's ledger.  One process; a line of JSON on standard input is a command
and is answered by a line.  See Checker.pm for the commands and the report,
client.py and moderator.py for who takes part, judge.py for what is wrong.
"""

import asyncio
import collections
import json
import os
import sys
import time

from client import BANNED, MODERATED, Client, Page
from judge import Judge, Ledger
from moderator import Moderator

now = time.time


class Run:
    def __init__(self):
        self.clients = []
        self.tasks = []
        self.talking = True
        self.moderated = False          # speakers are told to wait
        self.size = 0
        self.acked = self.delivered = self.echoed = 0
        self.heads = {}
        self.ack_times = []
        self.away = []                  # (from, to)
        self.mark = 0.0                 # what is measured, is from here on
        self.lag = 0.0

    # -- commands

    def do_clients(self, o):
        """Adds clients; returns at once, `wait` says when they are in."""
        self.size = o.get("size", self.size)
        loop = asyncio.get_running_loop()
        for c in o["clients"]:
            kind = Page if c.get("old") else \
                Moderator if c.get("moderates") else Client
            client = kind(self, c)
            self.clients.append(client)
            self.moderated |= c.get("moderates") == "all"
            self.tasks.append(loop.create_task(client.live()))
            if client.rate:
                self.tasks.append(loop.create_task(client.talk()))
        return {}

    def v1(self):
        return [c for c in self.clients if not c.old and not c.gone]

    async def do_wait(self, o):
        """for: ready, fence, acks (n more), heads (of the rooms), idle,
        tails (the rooms' last texts, and how often moderators did something
        after them, for old readers)"""
        what, start = o["for"], now()
        if what == "fence":
            heads = dict(self.heads)
        elif what == "heads":
            heads = {(r, e): n for r, (e, n) in o["heads"].items()}
        elif what == "acks":
            want = self.acked + o.get("n", 1)
        conditions = {
            "ready": lambda: all(c.ready for c in self.clients
                                 if not c.gone and c.ends is None),
            "fence": lambda: all(
                c.seq is not None
                and c.seq >= heads.get((c.room, c.epoch), 0)
                for c in self.v1()),
            "heads": lambda: all(
                (c.room, c.epoch) in heads
                and c.seq >= heads[c.room, c.epoch]
                for c in self.v1()
                if c.ends is None and c.name.startswith(o.get("name", ""))),
            "tails": lambda: all(
                c.has(*o["tails"][c.room])
                for c in self.clients
                if c.old and not c.gone and c.ready and c.room in o["tails"]),
            "acks": lambda: self.acked >= want,
            "idle": lambda: all(c.settled() for c in self.clients),
        }
        while not conditions[what]():
            if now() - start > o.get("seconds", 10):
                return {"ok": False, "took": now() - start}
            await asyncio.sleep(0.005)
        return {"ok": True, "took": now() - start}

    def do_talk(self, o):
        self.talking = o["on"]
        return {}

    def do_mark(self, o):
        """Delays and counts begin anew; what was seen is judged again."""
        self.mark = now()
        self.ack_times = []
        self.lag = 0.0
        for c in self.clients:
            c.unknown = 0
            for counter in c.ended, c.resets, c.errors:
                counter.clear()
        return {"acked": self.acked}

    def do_away(self, o):
        """What came in this time counts from its end."""
        self.away.append((o["from"], o["to"]))
        return {}

    def do_user(self, o):
        """The client of that name is taken for another."""
        for c in self.clients:
            if c.name == o["name"]:
                c.user = o["user"]
        return {}

    async def do_drop(self, o):
        """The connections of so many readers end, all at once."""
        some = [c for c in self.v1() if c.ready and not c.rate][:o["n"]]
        for c in some:
            c.socket.code = "dropped"
            c.drop()
        while any(c.socket and c.socket.code == "dropped" for c in some):
            await asyncio.sleep(0.001)
        return {"n": len(some)}

    def do_reading(self, o):
        """on: false stops the readers of that name from reading."""
        for c in self.clients:
            if c.name.startswith(o["name"]) and c.socket:
                tr = c.socket.transport
                tr.resume_reading() if o["on"] else tr.pause_reading()
        return {}

    def do_stats(self, o):
        ended, resets, errors = (collections.Counter() for _ in range(3))
        for c in self.clients:
            ended.update({k: n for k, n in c.ended.items()
                          if not c.victim or k not in BANNED})
            resets.update(c.resets)
            errors.update({k: n for k, n in c.errors.items()
                           if not self.moderated or k not in MODERATED})
            if isinstance(c, Moderator):

                # nothing that it asks for waits for PostgreSQL

                errors.subtract({"unavailable": c.errors["unavailable"]})
        return {
            "time": now(), "acked": self.acked, "delivered": self.delivered,
            "ready": sum(c.ready for c in self.clients),
            "clients": len(self.clients), "lag": self.lag,
            "ended": ended, "resets": resets, "errors": +errors,
            "unknown": sum(c.unknown for c in self.clients),
            "echoed": self.echoed,
            "moderated": sum(len(c.acks) for c in self.clients
                             if isinstance(c, Moderator)),
            "pages": sum(len(c.pages) for c in self.clients),
            "head": {r + " " + e: n for (r, e), n in self.heads.items()},
            "by": {c.name: {"ended": c.ended, "resets": c.resets,
                            "seq": c.seq, "epoch": c.epoch,
                            "waiting": list(c.waiting)[:3]}
                   for c in self.clients} if o.get("by") else {},
        }

    def do_first_ack(self, o):
        """How long after that time the first ack came."""
        times = [t for t, _ in self.ack_times if t >= o["after"]]
        return {"took": min(times) - o["after"] if times else None}

    async def do_end(self, o):
        for c in self.clients:
            c.gone = True
            c.end_turn()
            if o.get("drop"):
                c.drop()
        await asyncio.sleep(0)
        return {}

    def do_judge(self, o):
        return Judge(self, Ledger(o), o.get("grace", 1.0)).report(
            tuple(o.get("skip", ())))

    # -- the loop

    async def tick(self):
        while True:
            t = now()
            await asyncio.sleep(0.01)
            self.lag = max(self.lag, now() - t - 0.01)

    async def main(self):
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=1 << 24)
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        self.tasks.append(loop.create_task(self.tick()))
        while True:
            line = await reader.readline()
            if not line:
                return
            o = json.loads(line)
            try:
                answer = getattr(self, "do_" + o.pop("command"))(o)
                if asyncio.iscoroutine(answer):
                    answer = await answer
            except Exception as e:
                answer = {"error": "%s: %s" % (type(e).__name__, e)}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(Run().main())
    os._exit(0)
