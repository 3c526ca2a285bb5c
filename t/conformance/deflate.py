"""Sections 12 and 13 of the Autobahn test suite: permessage-deflate, RFC 7692.

12.1 to 12.5 exchange five kinds of data in 18 sizes, some of them cut into
fragments after they were compressed; 13.1 to 13.7 do so with seven ways of
offering the extension.  The data is our own, made in the image of the suite's.
The suite sends 1000 messages in each case; ours stop at so many bytes.
"""

import json
import random

from cases import BINARY, CLEAN, TEXT, fail
from wire import FRAGMENTS, deflated

# bytes of a message, and of a fragment of it

SIZES = ((16, 0), (64, 0), (256, 0), (1024, 0), (4096, 0), (8192, 0),
         (16384, 0), (32768, 0), (65536, 0), (131072, 0), (8192, 256),
         (16384, 256), (32768, 256), (65536, 256), (131072, 256),
         (131072, 1024), (131072, 4096), (131072, 32768))

# may the server be asked to keep nothing, and for how many bits of window

OFFERS = (((False, 0),), ((True, 0),), ((False, 9),), ((False, 15),),
          ((True, 9),), ((True, 15),), ((True, 9), (True, 0), (False, 0)))

WORDS = ('habe nun ach philosophie juristerei und medizin durchaus studiert '
         'mit heißem bemühn da steh ich ich armer tor bin so klug als wie '
         'zuvor').split()


def prose(rnd):
    return ' '.join(rnd.choices(WORDS, k=40000)).encode()


def picture(rnd):
    noise = rnd.randbytes(512 * 512)

    return bytes((i >> 9) * (i & 511) + (noise[i] << 5) >> 8 & 255
                 for i in range(512 * 512))


def document(rnd):
    return b''.join(b'%d 0 obj << /Length 900 >> stream\n' % i
                    + rnd.randbytes(900) + b'\nendstream endobj\n'
                    for i in range(250))


def records(rnd):
    return json.dumps([{'id': i, 'user': rnd.choice(WORDS),
                        'text': ' '.join(rnd.choices(WORDS, k=12)),
                        'score': rnd.random(), 'tags': rnd.choices(WORDS, k=3)}
                       for i in range(1000)]).encode()


def page(rnd):
    return ''.join('<tr class="r%d"><td>%d</td><td><a href="/%s/">%s</a></td>'
                   '</tr>\n' % (i % 2, i, rnd.choice(WORDS).encode(
                       'ascii', 'xmlcharrefreplace').decode(),
                                rnd.randrange(10 ** 6))
                   for i in range(5000)).encode()


DATA = ((BINARY, prose), (BINARY, picture), (BINARY, document),
        (TEXT, records), (TEXT, page))


def header(offers):
    return ', '.join('permessage-deflate; client_no_context_takeover'
                     '; client_max_window_bits'
                     + ('; server_no_context_takeover' if keep_nothing else '')
                     + ('; server_max_window_bits=%d' % bits if bits else '')
                     for keep_nothing, bits in offers)


def one(number, opcode, data, size, fragment, offer, limit, scale):
    # a message costs something however short it is

    n = max(2, min(1000, scale // (size + 1000)))
    messages = [(opcode, data[at:at + size])
                for at in (i * size % (len(data) - size + 1)
                           for i in range(n))]

    steps = (('exchange', messages, fragment), CLEAN)

    if limit and size > limit:
        steps = (('message', messages[0], 0), fail(1009))

    elif fragment and len(deflated(messages[0][1])) > fragment * FRAGMENTS:
        steps = (('message', messages[0], fragment), fail(1008))

    return {'number': number, 'steps': steps, 'chop': None, 'info': False,
            'failing': False, 'offer': offer}


def compressed(limit, scale):
    rnd = random.Random(7692)
    data = [(opcode, make(rnd)) for opcode, make in DATA]
    cases = []

    for i, (opcode, text) in enumerate(data, 1):
        for n, (size, fragment) in enumerate(SIZES, 1):
            cases.append(one('12.%d.%d' % (i, n), opcode, text, size, fragment,
                             header(OFFERS[0]), limit, scale))

    for i, offers in enumerate(OFFERS, 1):
        for n, (size, fragment) in enumerate(SIZES, 1):
            cases.append(one('13.%d.%d' % (i, n), *data[3], size, fragment,
                             header(offers), limit, scale))

    return cases
