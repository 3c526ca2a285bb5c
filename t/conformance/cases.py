"""The cases, by the numbers of the Autobahn test suite, from RFC 6455.

A case is a script of what the client does and what must come of it.  SEND is
bytes on the wire; EXPECT is a frame that must come next; FAIL is a Close with
that code, then the end of the connection; CLOSE is the closing handshake.
"""

from wire import close, frame

TEXT, BINARY, CONT, CLOSING, PING, PONG = 1, 2, 0, 8, 9, 10
HELLO = b'Hello, world!'
KOSME = bytes.fromhex('cebae1bdb9cf83cebcceb5')     # U+1F79 has three bytes

CASES = []


def case(number, *steps, chop=None, info=False, failing=None):
    """chop: bytes a write; info: any outcome that ends the connection."""

    CASES.append({'number': number, 'steps': steps, 'chop': chop, 'info': info,
                  'failing': any(s[0] == 'fail' for s in steps)
                  if failing is None else failing})


def send(*frames):
    return ('send', b''.join(frames))


def each(*frames):
    """one write each"""

    return ('each', frames)


def expect(opcode, payload=b''):
    return ('expect', opcode, payload)


def fail(code):
    return ('fail', code)


def closed(payload, *codes):
    return ('closed', payload, codes)


CLEAN = ('clean',)


def echo(number, opcode, payload, **kw):
    case(number, send(frame(opcode, payload)), expect(opcode, payload), CLEAN,
         **kw)


# 1: frames of all lengths

for n, size in enumerate((0, 125, 126, 127, 128, 65535, 65536, 65536), 1):
    chop = 997 if n == 8 else None
    echo('1.1.%d' % n, TEXT, b'*' * size, chop=chop)
    echo('1.2.%d' % n, BINARY, b'\xfe' * size, chop=chop)

# 2: pings and pongs

PINGS = (b'', HELLO, bytes.fromhex('00fffefdfcfb00ff'), b'\xfe' * 125)

for n, data in enumerate(PINGS, 1):
    case('2.%d' % n, send(frame(PING, data)), expect(PONG, data), CLEAN)

case('2.5', send(frame(PING, b'\xfe' * 126)), fail(1002))
case('2.6', send(frame(PING, b'\xfe' * 125)), expect(PONG, b'\xfe' * 125),
     CLEAN, chop=1)
case('2.7', send(frame(PONG)), CLEAN)
case('2.8', send(frame(PONG, b'unsolicited pong payload')), CLEAN)
case('2.9', send(frame(PONG, b'unsolicited pong payload'),
                 frame(PING, b'ping payload')),
     expect(PONG, b'ping payload'), CLEAN)

TEN = [b'payload-%d' % i for i in range(10)]

for n, chop in ((10, None), (11, 1)):
    case('2.%d' % n, send(*[frame(PING, data) for data in TEN]),
         *[expect(PONG, data) for data in TEN], CLEAN, chop=chop)

# 3: reserved bits

case('3.1', send(frame(TEXT, HELLO, rsv=1)), fail(1002))

for n, rsv, chop in ((2, 2, None), (3, 3, 'frame'), (4, 4, 1)):
    frames = (frame(TEXT, HELLO), frame(TEXT, HELLO, rsv=rsv), frame(PING))
    case('3.%d' % n, each(*frames) if chop == 'frame' else send(*frames),
         expect(TEXT, HELLO), fail(1002), chop=1 if chop == 1 else None)

# RSV1 alone is an error only where it was not agreed on

CASES[-1]['offer'] = None

case('3.5', send(frame(BINARY, bytes.fromhex('00fffefdfcfb00ff'), rsv=5)),
     fail(1002))
case('3.6', send(frame(PING, HELLO, rsv=6)), fail(1002))
case('3.7', send(frame(CLOSING, close(1000), rsv=7)), fail(1002))

# 4: reserved opcodes

for group, first in ((1, 3), (2, 11)):
    case('4.%d.1' % group, send(frame(first)), fail(1002))
    case('4.%d.2' % group, send(frame(first + 1, b'reserved opcode payload')),
         fail(1002))

    for n, data, chop in ((3, b'', 'frame'), (4, HELLO, None), (5, HELLO, 1)):
        frames = (frame(TEXT, HELLO), frame(first + n - 1, data), frame(PING))
        case('4.%d.%d' % (group, n),
             each(*frames) if chop == 'frame' else send(*frames),
             expect(TEXT, HELLO), fail(1002), chop=1 if chop == 1 else None)

# 5: fragments

for n, opcode in ((1, PING), (2, PONG)):
    case('5.%d' % n, send(frame(opcode, b'fragment1', fin=0),
                          frame(CONT, b'fragment2')), fail(1002))

TWO = (frame(TEXT, b'fragment1', fin=0), frame(CONT, b'fragment2'))
PINGED = (TWO[0], frame(PING, b'ping payload'), TWO[1])

case('5.3', send(*TWO), expect(TEXT, b'fragment1fragment2'), CLEAN)
case('5.4', each(*TWO), expect(TEXT, b'fragment1fragment2'), CLEAN)
case('5.5', send(*TWO), expect(TEXT, b'fragment1fragment2'), CLEAN, chop=1)

for n, how, chop in ((6, send, None), (7, each, None), (8, send, 1)):
    case('5.%d' % n, how(*PINGED), expect(PONG, b'ping payload'),
         expect(TEXT, b'fragment1fragment2'), CLEAN, chop=chop)

for base, fin in ((9, 1), (12, 0)):
    frames = (frame(CONT, b'non-continuation payload', fin=fin),
              frame(TEXT, HELLO))

    for i, (how, chop) in enumerate(((send, None), (each, None), (send, 1))):
        case('5.%d' % (base + i), how(*frames), fail(1002), chop=chop)

case('5.15', send(*TWO, frame(CONT, b'fragment3', fin=0),
                  frame(TEXT, b'fragment4')),
     expect(TEXT, b'fragment1fragment2'), fail(1002))

for n, fin in ((16, 0), (17, 1)):
    case('5.%d' % n, send(*[frame(CONT, b'fragment1', fin=fin),
                            frame(TEXT, b'fragment2', fin=0),
                            frame(CONT, b'fragment3')] * 2), fail(1002))

case('5.18', send(frame(TEXT, b'fragment1', fin=0), frame(TEXT, b'fragment2')),
     fail(1002))

for n, how in ((19, send), (20, each)):
    case('5.%d' % n,
         how(frame(TEXT, b'fragment1', fin=0), frame(CONT, b'fragment2', fin=0),
             frame(PING, b'pongme 1!')),
         expect(PONG, b'pongme 1!'),
         how(frame(CONT, b'fragment3', fin=0), frame(CONT, b'fragment4', fin=0),
             frame(PING, b'pongme 2!')),
         expect(PONG, b'pongme 2!'),
         how(frame(CONT, b'fragment5')),
         expect(TEXT, b'fragment1fragment2fragment3fragment4fragment5'), CLEAN)

# 6: text


def pieces(*parts):
    """a message of these fragments"""

    frames = [frame(CONT if i else TEXT, p, fin=i == len(parts) - 1)
              for i, p in enumerate(parts)]

    return send(*frames)


def octets(data):
    return [data[i:i + 1] for i in range(len(data))]


echo('6.1.1', TEXT, b'')
case('6.1.2', pieces(b'', b'', b''), expect(TEXT, b''), CLEAN)
case('6.1.3', pieces(b'', b'middle frame payload', b''),
     expect(TEXT, b'middle frame payload'), CLEAN)

MIXED = 'Hello-µ@ßöäüàá-UTF-8!!'.encode()

echo('6.2.1', TEXT, MIXED)
case('6.2.2', pieces(MIXED[:12], MIXED[12:]), expect(TEXT, MIXED), CLEAN)
case('6.2.3', pieces(*octets(MIXED)), expect(TEXT, MIXED), CLEAN)
case('6.2.4', pieces(*octets(KOSME)), expect(TEXT, KOSME), CLEAN)

SURROGATE = KOSME + b'\xed\xa0\x80' + b'edited'

case('6.3.1', send(frame(TEXT, SURROGATE)), fail(1007))
case('6.3.2', pieces(*octets(SURROGATE)), fail(1007))

# it must fail before the rest of the message is sent: inside the frame

ABOVE = b'\xf4\x90\x80\x80'

case('6.4.1', send(frame(TEXT, KOSME, fin=0), frame(CONT, ABOVE, fin=0)),
     fail(1007))
case('6.4.2', send(frame(TEXT, KOSME + ABOVE[:1], fin=0),
                   frame(CONT, ABOVE[1:2], fin=0)), fail(1007))

WHOLE = frame(TEXT, KOSME + ABOVE + b'edited')
HEAD = len(WHOLE) - len(KOSME + ABOVE + b'edited')

case('6.4.3', each(WHOLE[:HEAD + len(KOSME)],
                   WHOLE[HEAD + len(KOSME):HEAD + len(KOSME) + 4]), fail(1007))
case('6.4.4', each(WHOLE[:HEAD + len(KOSME) + 1],
                   WHOLE[HEAD + len(KOSME) + 1:HEAD + len(KOSME) + 2]),
     fail(1007))


def utf8(group, valid, *texts):
    for i, text in enumerate(texts, 1):
        data = bytes.fromhex(text) if isinstance(text, str) else text
        number = '6.%d.%d' % (group, i)

        if valid(i) if callable(valid) else valid:
            echo(number, TEXT, data)
        else:
            case(number, send(frame(TEXT, data)), fail(1007))


utf8(5, True, *[s.encode() for s in
                ('hello$world', 'hello¢world', 'hello€world',
                 'hello𤭢world')], KOSME)
utf8(6, lambda i: i in (2, 5, 7, 9, 11),
     *[KOSME[:i] for i in range(1, len(KOSME) + 1)])
utf8(7, True, '00', 'c280', 'e0a080', 'f0908080')
utf8(8, False, 'f888808080', 'fc8480808080')
utf8(9, True, '7f', 'dfbf', 'efbfbf', 'f48fbfbf')
utf8(10, False, 'f7bfbfbf', 'fbbfbfbfbf', 'fdbfbfbfbfbf')
utf8(11, lambda i: i < 5, 'ed9fbf', 'ee8080', 'efbfbd', 'f48fbfbf', 'f4908080')
utf8(12, False, '80', 'bf', '80bf', '80bf80', '80bf80bf', '80bf80bf80',
     '80bf80bf80bf', bytes(range(0x80, 0xc0)))
utf8(13, False, *[b''.join(bytes([c]) + b' ' for c in range(first, last))
                  for first, last in ((0xc0, 0xe0), (0xe0, 0xf0), (0xf0, 0xf8),
                                      (0xf8, 0xfc), (0xfc, 0xfe))])

CUT = ('c0', 'e080', 'f08080', 'f8808080', 'fc80808080', 'df', 'efbf',
       'f7bfbf', 'fbbfbfbf', 'fdbfbfbfbf')

utf8(14, False, *CUT)
utf8(15, False, ''.join(CUT))
utf8(16, False, 'fe', 'ff', 'fefeffff')
utf8(17, False, 'c0af', 'e080af', 'f08080af', 'f8808080af', 'fc80808080af')
utf8(18, False, 'c1bf', 'e09fbf', 'f08fbfbf', 'f887bfbfbf', 'fc83bfbfbfbf')
utf8(19, False, 'c080', 'e08080', 'f0808080', 'f880808080', 'fc8080808080')
utf8(20, False, 'eda080', 'edadbf', 'edae80', 'edafbf', 'edb080', 'edbe80',
     'edbfbf')
utf8(21, False, *[high + low for high in ('eda080', 'edadbf', 'edae80',
                                          'edafbf')
                  for low in ('edb080', 'edbfbf')])
utf8(22, True, *[chr(plane << 16 | last).encode() for plane in range(17)
                 for last in (0xfffe, 0xffff)])
utf8(23, True, *[chr(c).encode() for c in range(0xfff9, 0x10000)])

# 7: the end

BYE = frame(CLOSING, close(1000))

case('7.1.1', send(frame(TEXT, HELLO)), expect(TEXT, HELLO), CLEAN)
case('7.1.2', send(BYE, BYE), closed(None, 1000))
case('7.1.3', send(BYE, frame(PING)), closed(None, 1000))
case('7.1.4', send(BYE, frame(TEXT, HELLO)), closed(None, 1000))
case('7.1.5', send(frame(TEXT, b'fragment1', fin=0), BYE,
                   frame(CONT, b'fragment2')), closed(None, 1000))
case('7.1.6', send(frame(TEXT, b'BAsd7&jh23' * 26214), frame(TEXT, HELLO), BYE,
                   frame(PING)), info=True)

case('7.3.1', send(frame(CLOSING)), closed(None, 1000, 1005))
case('7.3.2', send(frame(CLOSING, b'a')), fail(1002))
case('7.3.3', send(frame(CLOSING, close(1000))), closed(None, 1000))
case('7.3.4', send(frame(CLOSING, close(1000, HELLO))), closed(None, 1000))
case('7.3.5', send(frame(CLOSING, close(1000, b'*' * 123))), closed(None, 1000))
case('7.3.6', send(frame(CLOSING, close(1000, b'*' * 124))), fail(1002))

case('7.5.1', send(frame(CLOSING, close(1000, SURROGATE))), fail(1007))

for n, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011,
                          3000, 3999, 4000, 4999), 1):
    case('7.7.%d' % n, send(frame(CLOSING, close(code))), closed(None, code))

for n, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
    case('7.9.%d' % n, send(frame(CLOSING, close(code))), fail(1002))

case('7.13.1', send(frame(CLOSING, close(5000))), info=True)
case('7.13.2', send(frame(CLOSING, (65536).to_bytes(4, 'big'))), info=True)

# 10: a message that a client's library cuts

DATA = b'*' * 65536
CUTS = [DATA[i:i + 1300] for i in range(0, len(DATA), 1300)]

case('10.1.1', pieces(*CUTS), expect(TEXT, DATA), CLEAN)

# 9: sizes.  Up to the server's limit they are echoed; above it, the frame is
# refused by its announced length.


def limits(limit, scale):
    sizes = [65536 << i for i in (0, 2, 4, 6, 7, 8)]
    cases = []

    def one(number, size, *steps, chop=None):
        end = (fail(1009),) if size > limit else steps[1:] + (CLEAN,)
        cases.append({'number': number, 'steps': (steps[0],) + end,
                      'chop': chop, 'info': False, 'failing': size > limit})

    for group, opcode in ((1, TEXT), (2, BINARY)):
        for n, size in enumerate(sizes, 1):
            data = b'*' * size
            one('9.%d.%d' % (group, n), size, send(frame(opcode, data)),
                expect(opcode, data))

    # 4 MB in fragments of 64 bytes to 4 MB: with those that are small there
    # are more than a message may have

    for group, opcode in ((3, TEXT), (4, BINARY)):
        for n in range(9):
            part = 64 << 2 * n
            data = b'*' * (4 << 20)
            more = len(data) // part - 1

            # those in the middle are one frame, or it takes seconds to mask
            # them

            parts = [frame(opcode, data[:part], fin=not more)]

            if more:
                parts += [frame(CONT, data[:part], fin=0)] * (more - 1)
                parts.append(frame(CONT, data[:part]))

            one('9.%d.%d' % (group, n + 1), len(data), send(*parts),
                expect(opcode, data))

            if part * 64 < limit < len(data):
                cases[-1]['steps'] = cases[-1]['steps'][:1] + (fail(1008),)

    for group, opcode in ((5, TEXT), (6, BINARY)):
        for n in range(6):
            data = b'*' * (1 << 20)
            one('9.%d.%d' % (group, n + 1), len(data),
                send(frame(opcode, data)), expect(opcode, data),
                chop=64 << n)

    # 1000 messages of 0 bytes to 4 KB each, one after the other

    for group, opcode in ((7, TEXT), (8, BINARY)):
        for n, size in enumerate((0, 16, 64, 256, 1024, 4096), 1):
            data = b'*' * size
            times = max(2, min(1000, scale // (size + 1000)))
            cases.append({'number': '9.%d.%d' % (group, n), 'chop': None,
                          'info': False, 'failing': False,
                          'steps': (send(frame(opcode, data)),
                                    expect(opcode, data)) * times
                          + (CLEAN,)})

    return cases
