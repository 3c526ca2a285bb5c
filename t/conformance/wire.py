"""Frames of RFC 6455 as a client writes and reads them."""

import os
import struct


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


class Broken(Exception):
    """what came is not what may come"""


class Reader:
    """Frames of a server: never masked, in minimal lengths, no RSV bits."""

    def __init__(self, sock, early=b''):
        self.sock = sock
        self.data = early

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

        if head[0] & 0x70:
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

        return head[0] & 15, self.need(size)

    def need(self, n):
        data = self.take(n)

        if data is None:
            raise Broken('the connection ends inside of a frame')

        return data
