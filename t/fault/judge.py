"""What the clients have written down, against PostgreSQL's ledger."""

import collections

KINDS = (
    # against the ledger
    "lost",             # acknowledged, and not there
    "phantom",          # delivered, and not there
    "wrong_number",     # an ack with another number or id than the row
    "row_twice",        # one cid, two rows
    "row_hole",         # numbers that are not 1, 2, 3... up to the head
    "row_unnumbered",   # a message without a number
    # of one client
    "duplicate",        # the same number or text again
    "hole",             # a number that was skipped, or an end never reached
    "inversion",        # a number below the last, or a sender's order turned
    "stray",            # of another room, or to somebody who was banned
    "broken",           # bytes that are no frame or no message
    "undeleted",        # the text of a message that was known to be deleted
    # between clients
    "divergent",        # the same number, another text
)

Row = collections.namedtuple("Row", "id cid at kind user text")


class Ledger:
    """rows: room, seq, message id, user that is moderated, cid, commit time,
    kind, text (of what a moderator did, the reason)."""

    def __init__(self, o):
        self.heads = {k: tuple(v) for k, v in o["heads"].items()}
        self.unnumbered = o.get("unnumbered", [])
        self.rows = collections.defaultdict(dict)
        self.last = collections.defaultdict(int)
        self.by_text = {}
        self.texts = {}                                 # of messages, by id
        self.deleted = collections.defaultdict(dict)    # id -> number of that
        self.bans = collections.defaultdict(list)       # (room, user) -> times
        with open(o["file"], encoding="utf-8") as f:
            for line in f:
                room, seq, mid, user, cid, at, kind, text = \
                    line.rstrip("\n").split("\t")
                self.add(room, int(seq), Row(int(mid), cid, float(at or 0),
                                             kind, user, text))
        for room in self.rows:
            self.moderation(room)

    def add(self, room, seq, row):
        self.rows[room][seq] = row
        self.last[room] = max(self.last[room], seq)
        if row.kind == "message":
            self.texts[row.id] = row.text
        if row.text:
            self.by_text.setdefault(row.text, []).append((room, seq))

    def moderation(self, room):
        for seq, row in sorted(self.rows[room].items()):
            if row.kind == "delete":
                self.deleted[room].setdefault(row.id, seq)
            elif row.kind == "ban":
                self.bans[room, row.user].append([row.at, float("inf")])
            elif row.kind == "unban" and self.bans[room, row.user]:
                self.bans[room, row.user][-1][1] = row.at

    def judge(self, found):
        found["row_unnumbered"] += len(self.unnumbered)
        for places in self.by_text.values():
            found["row_twice"] += len(places) - 1
        for room, (_, head) in self.heads.items():
            found["row_hole"] += abs(head - self.last[room]) \
                + self.last[room] - len(self.rows[room])


class Judge:
    """grace: seconds after which a ban holds everywhere."""

    def __init__(self, run, ledger, grace):
        self.run = run
        self.ledger = ledger
        self.grace = grace
        self.found = collections.Counter()
        self.by = {}
        self.delays = []

    def report(self, skip):
        """skip: names, or beginnings of them, whose delays don't count."""
        ledger, run = self.ledger, self.run
        ledger.judge(self.found)
        for c in run.clients:
            self.mine = collections.Counter(c.anomalies)
            if c.old:
                self.old(c)
                self.speaker(c)
            else:
                self.v1(c)
                self.sender(c)
            self.found.update(self.mine)
            if +self.mine:
                self.by[c.name] = +self.mine
        self.delays = sorted(d for d in self.delays if d[3] >= run.mark
                             and not d[1].startswith(skip))
        acks = sorted(took for _, took in run.ack_times)
        stats = run.do_stats({})
        return {
            "anomalies": {k: self.found[k] for k in KINDS},
            "total": sum(self.found.values()),
            "by": self.by,
            "messages": sum(len(rows) for rows in ledger.rows.values()),
            "deliveries": len(self.delays),
            "delay": spread([d for d, *_ in self.delays]),
            "worst": self.delays[-3:],
            "ack": spread(acks),
            "lag": round(run.lag, 3),
            **{k: stats[k] for k in ("acked", "ended", "resets", "errors",
                                     "unknown")},
        }

    def delay(self, c, seq, at, since, t):
        """Counts from when on this client could have had it."""
        base = max(at, since)
        for a, b in self.run.away:
            if a - 1 <= base < b:
                base = min(b, max(base, t))
        self.delays.append((t - base, c.name, seq, t))

    def v1(self, c):
        rows = self.ledger.rows[c.room]
        epoch, head = self.ledger.heads.get(c.room, (None, 0))
        bans = self.ledger.bans.get((c.room, c.user), ())
        for e, event, t, (since, known) in c.log:
            if e != epoch:
                continue
            if self.same(c, event, rows.get(event.seq), known):
                self.delay(c, event.seq, rows[event.seq].at, since, t)
            for a, b in bans:
                self.mine["stray"] += a + self.grace < t < b
        for e, known, events, whole in c.pages:
            if e == epoch:
                self.mine["hole"] += not whole
                for event in events:
                    self.same(c, event, rows.get(event.seq), known)
        if c.epoch == epoch and c.seq < head and c.ends is None:
            self.mine["hole"] += head - c.seq

    def same(self, c, event, row, known):
        """Whether it is what the row says; known is a number up to which
        whoever has sent it had the log."""
        deleted = self.ledger.deleted[c.room]
        if row is None:
            self.mine["phantom"] += 1
            return False
        if event.kind == "deleted":
            if row.kind == "message" and event.id == row.id in deleted \
                    and not event.text:
                return True
            self.mine["phantom"] += 1
            return False

        # a pin whose message was deleted since says no more, not even why

        blank = event.kind == row.kind == "pin" and event.id == row.id \
            and not event.text
        if not blank and (event.kind, event.id, event.text) \
                != (row.kind, row.id, row.text):
            self.mine["divergent" if event.text in self.ledger.by_text
                      else "phantom"] += 1
            return False
        if event.shown not in ("", self.ledger.texts.get(event.id)):
            self.mine["phantom"] += 1
            return False
        if event.id in deleted and event.seq < deleted[event.id] <= known \
                and (event.kind == "message" or event.shown):
            self.mine["undeleted"] += 1
        return True

    def sender(self, c):
        rows = self.ledger.rows[c.room]
        epoch, _ = self.ledger.heads.get(c.room, (None, 0))
        for cid, (e, seq, mid, _) in c.acks.items():
            if e != epoch:
                continue
            places = self.ledger.by_text.get(c.text(cid))
            row = rows.get(seq)
            if not places:
                self.mine["lost"] += 1
            elif row is None or (row.id, row.text) != (mid, c.text(cid)):
                self.mine["wrong_number"] += 1
        for turn in c.turns + [c.turn]:
            self.turned([c.acks[cid][1] for cid in turn
                         if cid in c.acks and c.acks[cid][0] == epoch])

    def turned(self, seqs):
        self.mine["inversion"] += sum(a > b for a, b in zip(seqs, seqs[1:]))

    def speaker(self, c):
        """What a page has said is stored but for what it was told of, and for
        what was under way when its connection ended."""
        by_text = self.ledger.by_text
        lost = sum(text not in by_text for text in c.spoken
                   if text not in c.ended_with)
        self.mine["lost"] += max(0, lost - c.excess)
        for turn in c.turns + [c.turn]:
            self.turned([by_text[text][0][1] for text in map(c.text, turn)
                         if text in by_text])

    def old(self, c):
        rows = self.ledger.rows[c.room]
        _, head = self.ledger.heads.get(c.room, (None, 0))
        for i, (since, texts) in enumerate(c.segments):
            last, told, had = None, 0, set()
            for text, t in texts:
                if text is None:
                    told += 1
                    continue
                places = [s for r, s in self.ledger.by_text.get(text, ())
                          if r == c.room]
                if not places:
                    self.mine["phantom"] += 1
                    continue
                seq = places[0]
                if seq in had:
                    self.mine["duplicate"] += 1
                elif last is not None and seq < last:
                    self.mine["inversion"] += 1
                elif last is not None:
                    self.between(c, last, seq, told)
                had.add(seq)
                last, told = max(seq, last or 0), 0
                self.delay(c, seq, rows[seq].at, since, t)
            final = i == len(c.segments) - 1 and c.ready
            if final and last is not None:
                self.between(c, last, head + 1, told)
            elif final and any(self.shown(c, row) and row.at > since + 0.5
                               for row in map(rows.get, range(head, 0, -1))
                               if row):
                self.mine["hole"] += not told

    def shown(self, c, row):
        """Whether an old page has to be told."""
        if row.kind == "message":
            return row.id not in self.ledger.deleted[c.room]
        return row.kind != "state"

    def between(self, c, last, seq, told):
        """From one text to the next it was told so often of moderators."""
        rows = self.ledger.rows[c.room]
        some = [rows[n] for n in range(last + 1, seq) if n in rows]
        done = [row for row in some if row.kind not in ("message", "state")]
        self.mine["hole"] += sum(row.kind == "message" and self.shown(c, row)
                                 for row in some)
        self.mine["hole"] += max(0, len(done) - told)
        self.mine["duplicate"] += max(0, told - len(done))


def spread(values):
    n = len(values)
    if not n:
        return {"n": 0, "p50": 0, "p99": 0, "max": 0}
    return {"n": n, "p50": round(values[n // 2], 4),
            "p99": round(values[min(n - 1, n * 99 // 100)], 4),
            "max": round(values[-1], 4)}
