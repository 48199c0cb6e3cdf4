"""io_uring by hand: one ring, one operation at a time."""

import ctypes
import mmap
import os
import struct

from kit import address, buffer, call, taken

OPENAT, WRITE, READ, SOCKET, CONNECT, RENAMEAT = 18, 23, 22, 45, 16, 35


class Ring:
    """A ring with one entry."""

    def __enter__(self):
        given = buffer(120)
        self.descriptor = call("io_uring_setup", 1, address(given))
        entries = struct.unpack_from("10I", given.raw, 0)
        self.sq = struct.unpack_from("10I", given.raw, 40)
        self.cq = struct.unpack_from("10I", given.raw, 80)
        size = max(self.sq[6] + 4 * entries[0], self.cq[5] + 16 * entries[1]) + 64
        self.rings = mmap.mmap(self.descriptor, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=0)
        self.entries = mmap.mmap(self.descriptor, 64, flags=mmap.MAP_SHARED, offset=0x10000000)
        self.held = []
        return self

    def __exit__(self, *_):
        os.close(self.descriptor)

    def _word(self, at):
        return struct.unpack_from("I", self.rings, at)[0]

    def submit(self, operation, descriptor=-1, at=0, address_=0, length=0, flags=0):
        """One operation, waited for; its result."""
        self.entries[0:64] = struct.pack("BBHiQQIIQ", operation, 0, 0, descriptor, at, address_, length, flags, 7) + bytes(24)
        tail = self._word(self.sq[1])
        struct.pack_into("I", self.rings, self.sq[6] + 4 * (tail & self._word(self.sq[2])), 0)
        struct.pack_into("I", self.rings, self.sq[1], tail + 1)
        call("io_uring_enter", self.descriptor, 1, 1, 1, 0, 0)
        head = self._word(self.cq[0])
        _, result, _ = struct.unpack_from("QiI", self.rings, self.cq[5] + 16 * (head & self._word(self.cq[2])))
        struct.pack_into("I", self.rings, self.cq[0], head + 1)
        if result < 0:
            raise OSError(-result, f"io_uring: {os.strerror(-result)}")
        return result

    def _text(self, text):
        held = ctypes.create_string_buffer(text.encode() if isinstance(text, str) else text)
        self.held.append(held)
        return ctypes.addressof(held)

    def openat(self, path, flags=os.O_RDONLY):
        return self.submit(OPENAT, -100, address_=self._text(path), length=0, flags=flags)

    def read(self, descriptor, size=4096):
        memory = buffer(size)
        return taken(memory, lambda: self.submit(READ, descriptor, address_=address(memory), length=size))

    def write(self, descriptor, data):
        return self.submit(WRITE, descriptor, address_=self._text(data), length=len(data))

    def rename(self, old, new):
        # length is the new folder's descriptor.
        return self.submit(RENAMEAT, -100, at=self._text(new), address_=self._text(old), length=0xFFFFFF9C)

    def connect(self, descriptor, where):
        return self.submit(CONNECT, descriptor, at=len(where), address_=self._text(where))

    def socket(self, family, kind):
        return self.submit(SOCKET, family, at=kind)
