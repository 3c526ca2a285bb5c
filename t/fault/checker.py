"""Many clients that write down what they see, and the judgement of it against
PostgreSQL's ledger.  One process; a line of JSON on standard input is a command
and is answered by a line.  See Checker.pm for the commands and the report.

A client of fcchat.v1 reads and may write.  Whatever ends its connection, it
comes back with ?since=EPOCH:SEQ of the last message it has, and sends what was
not acknowledged again under the same cid.  A client of the old protocol only
reads, and begins anew after each end.

The text of a message is "room|user|cid|", so it tells where it belongs.
"""

import asyncio
import base64
import collections
import json
import os
import random
import socket
import sys
import time

now = time.time

ACK_WAIT = 5.0          # without an ack for so long: unknown, sent again
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
    "stray",            # a message of another room
    "broken",           # bytes that are no frame or no message
    # between clients
    "divergent",        # the same number, another text
)


class Socket(asyncio.Protocol):
    """The connection of a client, which gets opened(), frame(), closed()."""

    def __init__(self, client, request):
        self.client = client
        self.request = request
        self.head = False
        self.data = b""
        self.status = 0
        self.retry_after = None
        self.code = 1006
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data):
        data = self.data + data if self.data else data
        if not self.head:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self.data = data
                return
            lines = data[:end].decode("latin-1").split("\r\n")
            self.status = int(lines[0].split()[1])
            for line in lines[1:]:
                name, value = line.split(":", 1)
                if name.lower() == "retry-after":
                    self.retry_after = float(value)
            if self.status != 101:
                self.transport.abort()
                return
            self.head = True
            data = data[end + 4:]
        t = now()
        pos, have = 0, len(data)
        while have - pos >= 2:
            op, size, start = data[pos], data[pos + 1], pos + 2
            if size == 126:
                size, start = int.from_bytes(data[start:start + 2], "big"), \
                    start + 2
            elif size == 127:
                size, start = int.from_bytes(data[start:start + 8], "big"), \
                    start + 8
            if have < start + size:
                break
            pos = start + size
            self.frame(op, data[start:pos], t)
        self.data = data[pos:]

    def frame(self, op, payload, t):
        if op == 0x81:
            try:
                message = json.loads(payload)
            except ValueError:
                self.client.note("broken")
                return
            self.client.message(message, t)
        elif op == 0x89:
            self.send(payload, 10)
        elif op == 0x88:
            self.code = int.from_bytes(payload[:2], "big") or 1005
            self.send(payload[:2], 8)
        elif op != 0x8A:
            self.client.note("broken")

    def send(self, payload, op=1):
        n = len(payload)
        head = bytes((0x80 | op, 0x80 | n)) if n < 126 \
            else bytes((0x80 | op, 0xFE)) + n.to_bytes(2, "big")
        self.transport.write(head + b"\0\0\0\0" + payload)

    def eof_received(self):
        return False

    def connection_lost(self, error):
        if not self.done.done():
            self.done.set_result(None)


class Client:
    """sends: messages a second, of which at most `window` wait for an ack."""

    def __init__(self, run, o):
        self.run = run
        self.name = o["name"]
        self.user = o.get("user", self.name)
        self.cookie = o["cookie"]
        self.host, self.port = o["node"]
        self.path = o["path"]
        self.room = o["room"]
        self.old = o.get("old", False)
        self.rate = o.get("rate", 0)
        self.window = o.get("window", 8)
        self.rcvbuf = o.get("rcvbuf", 0)
        self.headers = o.get("headers", [])
        self.ends = o.get("ends")

        self.socket = None
        self.ready = False
        self.gone = False
        self.epoch = None
        self.seq = None                 # the last one it has
        self.seen = {}                  # of this epoch: seq -> text
        self.log = []                   # (epoch, seq, text, t, since when)
        self.segments = []              # old: [(since, [(text, t)])]
        self.since = 0.0                # when this connection was welcome
        self.welcomes = 0
        self.ended = collections.Counter()
        self.resets = collections.Counter()
        self.anomalies = collections.Counter()

        self.n = 0
        self.waiting = {}               # cid -> [again at, refused]
        self.acks = {}                  # cid -> (epoch, seq, id, t)
        self.sent = {}                  # cid -> when first
        self.turn = []                  # fresh cids of this connection
        self.turns = []
        self.unknown = 0
        self.errors = collections.Counter()

    def note(self, kind, n=1):
        self.anomalies[kind] += n

    # -- the connection

    async def live(self):
        while not self.gone:
            wait = await self.connect()
            if self.ends is not None and self.welcomes >= self.ends:
                return
            await asyncio.sleep(wait)

    async def connect(self):
        path = self.path
        if self.epoch and self.seq is not None:
            path += "?since=%s:%d" % (self.epoch, self.seq)
        lines = [
            "GET %s HTTP/1.1" % path,
            "Host: localhost",
            "Origin: http://localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: "
            + base64.b64encode(random.randbytes(16)).decode(),
            "Cookie: sessionid=" + self.cookie,
        ]
        if not self.old:
            lines.append("Sec-WebSocket-Protocol: fcchat.v1")
        lines += self.headers
        request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        s.setblocking(False)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.rcvbuf)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(s, (self.host, self.port))
            _, ws = await loop.create_connection(
                lambda: Socket(self, request), sock=s)
        except OSError:
            s.close()
            self.ended["refused"] += 1
            return 0.1
        self.socket = ws
        opened = loop.call_later(0.05, self.opened, ws) if self.old else None
        await ws.done
        if opened:
            opened.cancel()
        self.socket = None
        self.end_turn()
        if ws.status == 101:
            self.ready = False
            self.ended[str(ws.code)] += 1
            return random.uniform(0, 0.1)
        self.ended["status %d" % ws.status] += 1
        return min(ws.retry_after or 0.2, 0.2)

    def end_turn(self):
        # what was not acknowledged here is sent again, behind the others
        self.turns.append([cid for cid in self.turn if cid in self.acks])
        self.turn = []

    def opened(self, ws):
        # an old page gets no welcome: its first frame may be long in coming
        if self.socket is not ws:
            return
        if ws.status != 101:
            asyncio.get_running_loop().call_later(0.02, self.opened, ws)
            return
        if not self.ready:
            self.ready = True
            self.welcomes += 1
            self.since = now()
            self.segments.append((self.since, []))

    def drop(self):
        if self.socket:
            self.socket.transport.abort()

    # -- what comes

    def message(self, m, t):
        kind = m.get("type") or m.get("message_type")
        if self.old:
            self.old_message(m, kind, t)
        elif kind == "message":
            self.event(m, t)
        elif kind == "ack":
            self.ack(m, t)
        elif kind == "error":
            self.error(m, t)
        elif kind == "welcome":
            self.ready = True
            self.welcomes += 1
            self.since = t
            if self.seq is None:
                self.epoch, self.seq = m["epoch"], m["head"]
            self.resend(t)
        elif kind == "reset":
            self.resets[m["reason"]] += 1
            self.epoch, self.seq = m["epoch"], m["head"]
            self.seen = {}

    def old_message(self, m, kind, t):
        if kind != "message":
            return
        if not self.ready:
            self.opened(self.socket)
        self.segments[-1][1].append((m["message"], t))
        if not m["message"].startswith(self.room + "|"):
            self.note("stray")

    def event(self, m, t):
        seq, text = m["seq"], m["text"]
        self.run.delivered += 1
        self.log.append((self.epoch, seq, text, t, self.since))
        if not text.startswith(self.room + "|"):
            self.note("stray")
        if seq == self.seq + 1:
            self.seq = seq
        elif seq > self.seq:
            self.note("hole", seq - self.seq - 1)
            self.seq = seq
        elif seq in self.seen:
            self.note("duplicate")
        else:
            self.note("inversion")
        self.seen[seq] = text

    # -- what is sent

    def ack(self, m, t):
        cid, got = m["cid"], (m["seq"], m["id"])
        if cid in self.acks:
            if self.acks[cid][1:3] != got:
                self.note("wrong_number")
        elif cid not in self.sent:
            self.note("broken")
            return
        else:
            self.acks[cid] = (self.epoch, m["seq"], m["id"], t)
            self.run.acked += 1
            if m["seq"] > self.run.heads.get((self.room, self.epoch), 0):
                self.run.heads[self.room, self.epoch] = m["seq"]
            self.run.ack_times.append((t, t - self.sent[cid]))
        self.waiting.pop(cid, None)

    def error(self, m, t):
        self.errors[m["code"]] += 1
        cid = m.get("cid")
        if cid in self.waiting:
            self.waiting[cid] = [t + m.get("retry_after_ms", 200) / 1000, True]
            if cid in self.turn:
                self.turn.remove(cid)

    def text(self, cid):
        text = "%s|%s|%s|" % (self.room, self.user, cid)
        return text + "." * (self.run.size - len(text))

    def put(self, cid, t):
        self.waiting[cid] = [t + ACK_WAIT, False]
        self.socket.send(json.dumps(
            {"type": "message", "text": self.text(cid), "cid": cid}
        ).encode())

    def resend(self, t):
        for cid in self.waiting:
            self.put(cid, t)

    async def talk(self):
        await asyncio.sleep(random.uniform(0, 1 / self.rate))
        due = now()
        while not self.gone:
            t = now()
            if self.ready and self.socket:
                for cid, wait in list(self.waiting.items()):
                    if wait[0] <= t:
                        self.unknown += not wait[1]
                        self.put(cid, t)
                if self.run.talking and len(self.waiting) < self.window:
                    self.n += 1
                    cid = "%s-%d" % (self.name, self.n)
                    self.sent[cid] = t
                    self.turn.append(cid)
                    self.put(cid, t)
            due = max(due + 1 / self.rate, t)
            await asyncio.sleep(max(0.0, due - now()))


class Ledger:
    """rows: room, seq, message id, user, cid, commit time, text."""

    def __init__(self, o):
        self.heads = {k: tuple(v) for k, v in o["heads"].items()}
        self.unnumbered = o.get("unnumbered", [])
        self.rows = collections.defaultdict(dict)
        self.count = collections.Counter()
        self.by_text = {}
        self.last = collections.defaultdict(int)
        with open(o["file"], encoding="utf-8") as f:
            for line in f:
                room, seq, mid, user, cid, at, text = \
                    line.rstrip("\n").split("\t")
                seq = int(seq)
                self.rows[room][seq] = (int(mid), cid, float(at or 0), text)
                self.count[room] += 1
                self.last[room] = max(self.last[room], seq)
                self.by_text.setdefault(text, []).append((room, seq))

    def judge(self, found):
        found["row_unnumbered"] += len(self.unnumbered)
        for places in self.by_text.values():
            found["row_twice"] += len(places) - 1
        for room, (_, head) in self.heads.items():
            found["row_hole"] += abs(head - self.last[room]) \
                + self.last[room] - self.count[room]


class Run:
    def __init__(self):
        self.clients = []
        self.tasks = []
        self.talking = True
        self.size = 0
        self.acked = self.delivered = 0
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
            client = Client(self, c)
            if "since" in c:
                client.epoch, client.seq = c["since"]
            self.clients.append(client)
            self.tasks.append(loop.create_task(client.live()))
            if client.rate:
                self.tasks.append(loop.create_task(client.talk()))
        return {}

    def v1(self):
        return [c for c in self.clients if not c.old and not c.gone]

    async def do_wait(self, o):
        """for: ready, fence, acks (n more), heads (of the rooms), idle,
        tails (the rooms' last texts, for old readers)"""
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
                c.segments and c.segments[-1][1]
                and c.segments[-1][1][-1][0] == o["tails"].get(c.room)
                for c in self.clients
                if c.old and not c.gone and c.ready and c.room in o["tails"]),
            "acks": lambda: self.acked >= want,
            "idle": lambda: not any(c.waiting for c in self.clients),
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
            ended.update(c.ended)
            resets.update(c.resets)
            errors.update(c.errors)
        return {
            "time": now(), "acked": self.acked, "delivered": self.delivered,
            "ready": sum(c.ready for c in self.clients),
            "clients": len(self.clients), "lag": self.lag,
            "ended": ended, "resets": resets, "errors": errors,
            "unknown": sum(c.unknown for c in self.clients),
            "head": {r + " " + e: n for (r, e), n in self.heads.items()},
            "by": {c.name: {"ended": c.ended, "resets": c.resets,
                            "seq": c.seq, "epoch": c.epoch}
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
        return Judge(self, Ledger(o)).report(tuple(o.get("skip", ())))

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


class Judge:
    def __init__(self, run, ledger):
        self.run = run
        self.ledger = ledger
        self.found = collections.Counter()
        self.by = {}
        self.delays = []
        self.worst = []

    def report(self, skip):
        """skip: names, or beginnings of them, whose delays don't count."""
        ledger, run = self.ledger, self.run
        ledger.judge(self.found)
        for c in run.clients:
            self.mine = collections.Counter(c.anomalies)
            if c.old:
                self.old(c)
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
            "messages": sum(ledger.count.values()),
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
        for e, seq, text, t, since in c.log:
            if e != epoch:
                continue
            row = rows.get(seq)
            if row is None:
                self.mine["phantom"] += 1
            elif row[3] != text:
                kind = "divergent" if text in self.ledger.by_text \
                    else "phantom"
                self.mine[kind] += 1
            else:
                self.delay(c, seq, row[2], since, t)
        if c.epoch == epoch and c.seq < head and c.ends is None:
            self.mine["hole"] += head - c.seq

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
            elif row is None or row[0] != mid or row[3] != c.text(cid):
                self.mine["wrong_number"] += 1
        for turn in c.turns + [c.turn]:
            seqs = [c.acks[cid][1] for cid in turn
                    if cid in c.acks and c.acks[cid][0] == epoch]
            self.mine["inversion"] += sum(
                a > b for a, b in zip(seqs, seqs[1:]))

    def old(self, c):
        rows = self.ledger.rows[c.room]
        _, head = self.ledger.heads.get(c.room, (None, 0))
        for i, (since, texts) in enumerate(c.segments):
            last, had = None, set()
            for text, t in texts:
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
                    self.mine["hole"] += seq - last - 1
                had.add(seq)
                last = max(seq, last or 0)
                self.delay(c, seq, rows[seq][2], since, t)
            final = i == len(c.segments) - 1 and c.ready
            if final and last is not None and last < head:
                self.mine["hole"] += head - last
            elif final and last is None and head \
                    and rows.get(head, (0, 0, 0))[2] > since + 0.5:
                self.mine["hole"] += 1


def spread(values):
    n = len(values)
    if not n:
        return {"n": 0, "p50": 0, "p99": 0, "max": 0}
    return {"n": n, "p50": round(values[n // 2], 4),
            "p99": round(values[min(n - 1, n * 99 // 100)], 4),
            "max": round(values[-1], 4)}


if __name__ == "__main__":
    asyncio.run(Run().main())
    os._exit(0)
