"""Frames of RFC 6455 and messages of RFC 7692, as a client has them."""

import functools
import os
import struct
import zlib

TAIL = b'\x00\x00\xff\xff'
FRAGMENTS = 64          # of a message, at most


def frame(opcode, payload=b'', fin=1, rsv=0):
    mask = os.urandom(4)
    size = len(payload)
    head = bytes([fin << 7 | rsv << 4 | opcode])

    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += bytes([0x80 | 126]) + struct.pack('>H', size)
    else:
        head += bytes([0x80 | 127]) + struct.pack('>Q', size)

    return head + mask + masked(payload, mask)


def masked(data, mask):
    size = len(data)
    key = mask * (size // 4 + 1)

    return (int.from_bytes(data, 'big')
            ^ int.from_bytes(key[:size], 'big')).to_bytes(size, 'big')


def close(code, reason=b''):
    return struct.pack('>H', code) + reason


@functools.lru_cache(maxsize=4096)
def deflated(data):
    """a message's payload that refers to none before it; section 13 sends those
    of 12.4 once for each way of offering"""

    z = zlib.compressobj(wbits=-15)

    return (z.compress(data) + z.flush(zlib.Z_SYNC_FLUSH))[:-len(TAIL)]


def inflated(data, bits):
    """what has such a window made; no more than that is looked back into"""

    z = zlib.decompressobj(-bits)
    parts = []
    data += TAIL
    step = 0 if bits == 15 else 1 << bits - 1

    while data:
        parts.append(z.decompress(data, step))
        data = z.unconsumed_tail

    return b''.join(parts)


class Broken(Exception):
    """what came is not what may come"""


class Reader:
    """Frames of a server: never masked, in minimal lengths, no RSV bits but
    RSV1 of a message that is compressed."""

    def __init__(self, sock, early=b'', bits=0):
        self.sock = sock
        self.data = early
        self.bits = bits        # of the server's window; 0: no extension

    def take(self, n):
        parts = [self.data]
        had = len(self.data)

        while had < n:
            try:
                part = self.sock.recv(max(65536, n - had))
            except ConnectionError:
                part = b''

            if not part:
                self.data = b''.join(parts)
                return None

            parts.append(part)
            had += len(part)

        data = b''.join(parts)
        self.data = data[n:]

        return data[:n]

    def frame(self):
        """(opcode, payload), or None at the end of the connection"""

        head = self.take(2)

        if head is None:
            if self.data:
                raise Broken('the connection ends inside of a frame')
            return None

        if head[0] & 0x30 or (head[0] & 0x40 and (not self.bits
                                                  or head[0] & 8)):
            raise Broken('a reserved bit is set')

        if not head[0] & 0x80:
            raise Broken('a fragment')

        if head[1] & 0x80:
            raise Broken('a masked frame')

        size = head[1]

        if size == 126:
            size = struct.unpack('>H', self.need(2))[0]
            if size < 126:
                raise Broken('a length that is not minimal')

        elif size == 127:
            size = struct.unpack('>Q', self.need(8))[0]
            if size < 65536:
                raise Broken('a length that is not minimal')

        payload = self.need(size)

        if head[0] & 0x40:
            try:
                payload = inflated(payload, self.bits)
            except zlib.error as e:
                raise Broken('compressed data: %s' % e)

        return head[0] & 15, payload

    def need(self, n):
        data = self.take(n)

        if data is None:
            raise Broken('the connection ends inside of a frame')

        return data
