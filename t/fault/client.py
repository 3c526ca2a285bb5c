"""A viewer, who reads and may write, and its connection.

A client of fcchat.v1 comes back, whatever ends its connection, with
?since=EPOCH:SEQ of the last event it has, and sends what was not acknowledged
again under the same cid.  A client of the old protocol begins anew after each
end and sends nothing twice, as its page does.

The text of a message is "room|user|cid|", so it tells where it belongs.
"""

import asyncio
import base64
import collections
import json
import random
import socket
import time

now = time.time

ACK_WAIT = 5.0          # without an ack for so long: unknown, sent again

# what those who are moderated are told, and how their connections end

MODERATED = {"timed_out", "slow_mode"}
BANNED = {"4403", "status 403"}

# What an event says, one for all who get the same frame.  The text is of a
# message or the reason of what a moderator did, the id of the message or of
# the target; shown is what a pin shows of it.

Event = collections.namedtuple("Event", "seq kind id text shown")

parsed = {}             # frame -> (type, message, Event or None)


def event_of(m):
    """kind: message, deleted, or what a moderator did."""
    if m["type"] == "message":
        kind = m.get("message_type")
        return Event(m["seq"], "deleted" if kind == "deleted" else "message",
                     m["id"], m["text"], "")
    target = m.get("target") or {}
    return Event(m["seq"], m["action"], target.get("id") or 0,
                 m.get("reason", ""), target.get("text", ""))


def parse(payload):
    m = json.loads(payload)
    kind = m.get("type") or m.get("message_type")
    event = event_of(m) if m.get("type") in ("message", "moderation") else None
    if len(parsed) > 4096:
        parsed.clear()
    if kind in ("message", "moderation"):
        parsed[payload] = kind, m, event
    return kind, m, event


class Socket(asyncio.Protocol):
    """The connection of a client, which gets message(), note(), drop()."""

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
                kind, m, event = parsed.get(payload) or parse(payload)
            except (ValueError, KeyError, TypeError, AttributeError):
                self.client.note("broken")
                return
            self.client.message(kind, m, event, t)
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

    old = False
    undo = ()                           # what is to be said before it ends
    pages = ()
    hidden = frozenset()                # texts it has had deleted

    def __init__(self, run, o):
        self.run = run
        self.name = o["name"]
        self.user = o.get("user", self.name)
        self.cookie = o["cookie"]
        self.host, self.port = o["node"]
        self.path = o["path"]
        self.room = o["room"]
        self.rate = o.get("rate", 0)
        self.window = o.get("window", 8)
        self.rcvbuf = o.get("rcvbuf", 0)
        self.headers = o.get("headers", [])
        self.ends = o.get("ends")
        self.victim = o.get("victim", False)    # is banned at times

        self.socket = None
        self.ready = False
        self.gone = False
        self.epoch = None
        self.seq = None                 # the last one it has
        if "since" in o:
            self.epoch, self.seq = o["since"]
        self.seen = set()               # numbers of this epoch
        self.log = []                   # (epoch, Event, t, connection)
        self.connection = (0.0, 0)      # welcome when, the worker's head then
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

    def request(self):
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
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def connect(self):
        request = self.request()
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
        self.opening(ws)
        await ws.done
        self.socket = None
        self.end_turn()
        if ws.status == 101:
            self.ready = False
            self.ended[str(ws.code)] += 1
            return random.uniform(0, 0.1)
        self.ended["status %d" % ws.status] += 1
        return min(ws.retry_after or 0.2, 0.2)

    def opening(self, ws):
        pass

    def end_turn(self):
        # what was not acknowledged here is sent again, behind the others
        self.turns.append([cid for cid in self.turn if cid in self.acks])
        self.turn = []

    def drop(self):
        if self.socket:
            self.socket.transport.abort()

    # -- what comes

    def message(self, kind, m, event, t):
        if event:
            self.event(event, t)
        elif kind == "ack":
            self.ack(m, t)
        elif kind == "error":
            self.error(m, t)
        elif kind == "welcome":
            self.ready = True
            self.welcomes += 1
            if self.seq is None:
                self.epoch, self.seq = m["epoch"], m["head"]
            self.connection = (t, m["head"])
            self.resend(t)
        elif kind == "reset":
            self.resets[m["reason"]] += 1
            self.epoch, self.seq = m["epoch"], m["head"]
            self.connection = (t, m["head"])
            self.seen = set()

    def event(self, event, t):
        seq = event.seq
        self.run.delivered += 1
        self.log.append((self.epoch, event, t, self.connection))
        if event.text and not event.text.startswith(self.room + "|"):
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
        self.seen.add(seq)

    # -- what is sent

    def ack(self, m, t):
        cid, got = m["cid"], (m["seq"], m["id"] or 0)
        if cid in self.acks:
            if self.acks[cid][1:3] != got:
                self.note("wrong_number")
        elif cid not in self.sent:
            self.note("broken")
            return
        else:
            self.acks[cid] = (self.epoch, *got, t)
            self.run.acked += 1
            if got[0] > self.run.heads.get((self.room, self.epoch), 0):
                self.run.heads[self.room, self.epoch] = got[0]
            self.run.ack_times.append((t, t - self.sent[cid]))
        self.waiting.pop(cid, None)

    def error(self, m, t):
        self.errors[m["code"]] += 1
        cid = m.get("cid")
        if cid in self.waiting:
            again = t + m.get("retry_after_ms", 200) / 1000
            self.waiting[cid] = [again, True]
            if m["code"] in MODERATED:
                self.sent[cid] = again
            if cid in self.turn:
                self.turn.remove(cid)

    def settled(self):
        return not self.waiting and not self.undo

    def text(self, cid):
        text = "%s|%s|%s|" % (self.room, self.user, cid)
        return text + "." * (self.run.size - len(text))

    def put(self, cid, t):
        self.waiting[cid] = [t + ACK_WAIT, False]
        self.say({"type": "message", "text": self.text(cid), "cid": cid})

    def say(self, m):
        self.socket.send(json.dumps(m).encode())

    def fresh(self, t):
        self.n += 1
        cid = "%s-%d" % (self.name, self.n)
        self.sent[cid] = t
        self.turn.append(cid)
        return cid

    def resend(self, t):
        for cid in self.waiting:
            self.put(cid, t)

    def remind(self, t):
        for cid, wait in list(self.waiting.items()):
            if wait[0] <= t:
                self.unknown += not wait[1]
                self.put(cid, t)

    async def talk(self):
        await asyncio.sleep(random.uniform(0, 1 / self.rate))
        due = now()
        while not self.gone:
            t = now()
            if self.ready and self.socket:
                self.turn_to(t)
            due = max(due + 1 / self.rate, t)
            await asyncio.sleep(max(0.0, due - now()))

    def turn_to(self, t):
        """What it does, rate times a second."""
        self.remind(t)
        if self.run.talking and len(self.waiting) < self.window:
            self.put(self.fresh(t), t)


class Page(Client):
    """Of the old protocol: no numbers, no acks but its own words."""

    old = True

    def __init__(self, run, o):
        super().__init__(run, o)
        self.segments = []              # [(since, [(text, t)])]; None: a
        self.spoken = []                # moderator did something
        self.ended_with = set()         # texts whose connection has ended
        self.excess = 0                 # so many were refused, not said which

    def opening(self, ws):
        # it gets no welcome: its first frame may be long in coming
        asyncio.get_running_loop().call_later(0.05, self.opened, ws)

    def opened(self, ws):
        if self.socket is not ws:
            return
        if ws.status != 101:
            asyncio.get_running_loop().call_later(0.02, self.opened, ws)
            return
        if not self.ready:
            self.ready = True
            self.welcomes += 1
            self.segments.append((now(), []))

    def end_turn(self):
        self.turns.append(self.turn)
        self.turn = []
        self.ended_with.update(self.waiting)
        self.waiting = {}

    def message(self, kind, m, event, t):
        if "code" in m:
            self.errors[m["code"]] += 1
            self.excess += 1
            return
        if kind not in ("message", "moderation"):
            return
        if not self.ready:
            self.opened(self.socket)
        text = m["message"] if kind == "message" else None
        self.segments[-1][1].append((text, t))
        if text is None:
            return
        if not text.startswith(self.room + "|"):
            self.note("stray")
        if self.waiting.pop(text, None):
            self.run.echoed += 1

    def has(self, tail, told):
        """Whether it has that text, and so many notices after it."""
        texts = [text for text, _ in self.segments[-1][1]]
        return tail in texts and \
            texts[texts.index(tail):].count(None) >= told

    def forget(self):
        # what was deleted before it came here does not come: so it is where
        # another worker had it first
        for c in self.run.clients:
            for text in c.hidden & self.waiting.keys():
                del self.waiting[text]

    def settled(self):
        self.forget()
        return len(self.waiting) <= self.excess

    def turn_to(self, t):
        self.forget()
        if self.run.talking and len(self.waiting) < self.window + self.excess:
            text = self.text(self.fresh(t))
            self.spoken.append(text)
            self.waiting[text] = [t, False]
            self.say({"message": text})
