"""A CD image (ISO 9660, level 1) with one small file, as BOSH's agents on vSphere look for their settings: `env` on the CD-ROM.

Source: CPI contract, section 10.1 ("Agent env"); the form is that of ECMA-119.
"""

from __future__ import annotations

import struct

_SECTOR = 2048
_PATHS_LITTLE, _PATHS_BIG, _ROOT, _FILE = 18, 19, 20, 21
_NO_DATE = bytes(7)
_NO_LONG_DATE = b"0" * 16 + b"\0"


def image(name: str, content: bytes, volume: str = "CAISSON") -> bytes:
    """The image. `name` has at most eight letters and digits; Linux shows it in lower case."""
    sectors = -(-max(1, len(content)) // _SECTOR)
    root = (
        _entry(b"\0", _ROOT, _SECTOR, folder=True) + _entry(b"\1", _ROOT, _SECTOR, folder=True)
        + _entry(f"{name.upper()}.;1".encode("ascii"), _FILE, len(content)))
    parts = [
        bytes(16 * _SECTOR), _descriptor(volume, _FILE + sectors), _sector(b"\xffCD001\x01"),
        _sector(struct.pack("<BBIH", 1, 0, _ROOT, 1) + b"\0\0"), _sector(struct.pack(">BBIH", 1, 0, _ROOT, 1) + b"\0\0"), _sector(root),
        content.ljust(sectors * _SECTOR, b"\0"),
    ]
    return b"".join(parts)


def _descriptor(volume: str, sectors: int) -> bytes:
    """The primary volume descriptor."""
    text = b"\x01CD001\x01\0" + b" " * 32 + volume.encode("ascii").ljust(32) + bytes(8) + _both32(sectors) + bytes(32)
    text += _both16(1) + _both16(1) + _both16(_SECTOR) + _both32(10)
    text += struct.pack("<II", _PATHS_LITTLE, 0) + struct.pack(">II", _PATHS_BIG, 0)
    text += _entry(b"\0", _ROOT, _SECTOR, folder=True)
    text += b" " * (4 * 128 + 3 * 37) + 4 * _NO_LONG_DATE + b"\x01\0"
    return _sector(text)


def _entry(name: bytes, sector: int, size: int, *, folder: bool = False) -> bytes:
    """A directory record, of an even length."""
    body = b"\0" + _both32(sector) + _both32(size) + _NO_DATE + bytes([2 if folder else 0, 0, 0]) + _both16(1) + bytes([len(name)]) + name
    body += b"\0" * ((len(body) + 1) % 2)
    return bytes([len(body) + 1]) + body


def _both16(value: int) -> bytes:
    return struct.pack("<H", value) + struct.pack(">H", value)


def _both32(value: int) -> bytes:
    return struct.pack("<I", value) + struct.pack(">I", value)


def _sector(data: bytes) -> bytes:
    return data.ljust(_SECTOR, b"\0")
