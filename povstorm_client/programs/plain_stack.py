"""Have a built library say that it needs no executable stack; setup.py calls it.

It runs before anything is installed, and so loads this file by its path: no other module of ours,
and no other package, is imported here.
"""

from __future__ import annotations

import struct

# elf(5): of 64 bits and little-endian.
_IDENTITY = b"\x7fELF\x02\x01"
_PLACE_AT = 32  # of where the program headers are,
_PLACE = struct.Struct("<Q")
_COUNT_AT = 56  # and of how many there are
_COUNT = struct.Struct("<H")
_HEADER = struct.Struct("<IIQQQQQQ")
_GNU_STACK = 0x6474E551
_READ_AND_WRITE = 6


def with_plain_stack(library: bytes) -> bytes:
    """The library, with a header that says so where it has none of that.

    tcc gives it none, and then the loader makes the stacks of all the program's threads executable;
    where it is kept from that it does not load the library. The headers go to the end of the file,
    one more than there were. Of another machine's byte order nothing is changed.
    """
    if not library.startswith(_IDENTITY):
        return library
    (at,) = _PLACE.unpack_from(library, _PLACE_AT)
    (count,) = _COUNT.unpack_from(library, _COUNT_AT)
    headers = library[at : at + count * _HEADER.size]
    if any(kind == _GNU_STACK for kind, *_ in _HEADER.iter_unpack(headers)):
        return library
    changed = bytearray(library) + bytes(-len(library) % 8)
    _PLACE.pack_into(changed, _PLACE_AT, len(changed))
    _COUNT.pack_into(changed, _COUNT_AT, count + 1)
    return bytes(changed + headers + _HEADER.pack(_GNU_STACK, _READ_AND_WRITE, *[0] * 5, 16))
