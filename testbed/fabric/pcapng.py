"""Writes pcapng: one section, its interfaces, and packets with the time and direction that they are given.

The format is that of draft-ietf-opsawg-pcapng: section header block (4.1), interface description blocks (4.2) and
enhanced packet blocks (4.3), in this machine's byte order. scapy's writer has neither a resolution of time other than
microseconds nor, in `write`, directions and integer times.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

TIME_DIGITS = 9
"""`if_tsresol`: times count 10^-9 s. Wireshark shows no finer ones."""

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER, _MAJOR, _MINOR, _LENGTH_UNKNOWN = 0x1A2B3C4D, 1, 0, -1
_ETHERNET = 1
"""LINKTYPE_ETHERNET."""
_NO_LIMIT = 0
_END, _COMMENT = 0, 1
_SHB_USERAPPL = 4
_IF_NAME, _IF_DESCRIPTION, _IF_SPEED, _IF_TSRESOL = 2, 3, 8, 9
_EPB_FLAGS = 2
_FLAGS = {"in": 1, "out": 2}
_WORD_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """What a file says of an interface."""

    name: str
    description: str
    speed_bps: int


class PcapngWriter:
    """Writes a file's head when it is made, then packets."""

    def __init__(
        self, file: BinaryIO, interfaces: Sequence[Interface], *, application: str, comment: str
    ) -> None:
        self._file = file
        head = struct.pack("=IHHq", _BYTE_ORDER, _MAJOR, _MINOR, _LENGTH_UNKNOWN)
        texts = [(_COMMENT, comment.encode()), (_SHB_USERAPPL, application.encode())]
        file.write(_block(_SECTION, head + _options(texts)))
        for interface in interfaces:
            file.write(_block(_INTERFACE, _described(interface)))

    def write(self, interface: int, time_ns: int, direction: Literal["in", "out"], packet: bytes) -> None:
        """One packet at an interface, which is counted from 0; it is here as a whole."""
        high, low = divmod(time_ns, 1 << 32)
        head = struct.pack("=5I", interface, high, low, len(packet), len(packet))
        flags = _options([(_EPB_FLAGS, struct.pack("=I", _FLAGS[direction]))])
        self._file.write(_block(_PACKET, head + _padded(packet) + flags))


def _described(interface: Interface) -> bytes:
    return struct.pack("=HHI", _ETHERNET, 0, _NO_LIMIT) + _options(
        [
            (_IF_NAME, interface.name.encode()),
            (_IF_DESCRIPTION, interface.description.encode()),
            (_IF_SPEED, struct.pack("=Q", interface.speed_bps)),
            (_IF_TSRESOL, bytes([TIME_DIGITS])),
        ]
    )


def _block(kind: int, body: bytes) -> bytes:
    """A block whose body is whole words: its length stands before and behind it."""
    size_bytes = struct.pack("=I", len(body) + 3 * _WORD_BYTES)
    return struct.pack("=I", kind) + size_bytes + body + size_bytes


def _options(options: Sequence[tuple[int, bytes]]) -> bytes:
    """Options, and their end."""
    written = (struct.pack("=HH", code, len(value)) + _padded(value) for code, value in options)
    return b"".join(written) + struct.pack("=HH", _END, 0)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _WORD_BYTES)
