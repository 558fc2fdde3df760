"""Exports what the switches of a finished cell sampled: sFlow datagrams to a collector, or into a file.

Files: `.pcap` as a capture beside the collector would have it, times being virtual (nanoseconds); `.bin` the datagrams
alone, each behind its length as a big-endian word of 32 bits.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from testbed.analysis.sflow import DEFAULT_PORT, Datagram, Sampled, datagrams
from testbed.errors import SpecError
from testbed.registry import unknown_name
from testbed.run.files import storing
from testbed.run.progress import Progress
from testbed.run.store import LoadedResult
from testbed.run.telemetry_files import read_sampled, sampled_cells
from testbed.units import PPM_PER_WHOLE, PS_PER_NS, PS_PER_S

FASTEST_PER_S = 5_000
"""Datagrams; more overflow the usual receive buffer of a collector, about 150 of them, which nobody would notice."""
FILE_ENDINGS = (".pcap", ".bin")
_TELL_EVERY = 500
_SOURCE_PORT = 56_343
_UNNAMED = ("198.19.255.254", DEFAULT_PORT)
"""Collector of a file that is sent nowhere."""


class Collector(NamedTuple):
    """Where datagrams go."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Export(NamedTuple):
    """All datagrams of a cell, by virtual time."""

    cell: str
    sampled: Sampled
    datagrams: list[Datagram]


def parse_collector(text: str) -> Collector:
    """`HOST`, `HOST:PORT` or `[IPV6]:PORT`; a `SpecError` if it is none, or no such host is known."""
    host, port = text, str(DEFAULT_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, port = text.split(":")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise SpecError(f"'{text}' is no address", remedy=f"write HOST:PORT, e.g. 127.0.0.1:{DEFAULT_PORT}")
    try:
        socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)
    except OSError as error:
        raise SpecError(f"{host}: {error.strerror}", remedy="give the collector's IP address") from error
    return Collector(host, int(port))


def load_export(result: LoadedResult, cell_id: str | None) -> Export:
    """The datagrams of a cell; without a name, of the only one whose switches sampled."""
    known = sampled_cells(result.directory)
    if not known:
        raise SpecError(
            f"{result.directory} has no samples: its switches were not asked for any",
            remedy="run the experiment with --set switch.sflow=1000 (one frame in 1,000)",
        )
    if cell_id is None and len(known) > 1:
        raise SpecError(f"which of {len(known)} cells?", remedy=f"name one: {', '.join(known)}")
    if cell_id is not None and cell_id not in known:
        raise unknown_name("cell", cell_id, known)
    chosen = cell_id or known[0]
    sampled = read_sampled(result.directory, chosen)
    return Export(chosen, sampled, datagrams(sampled, _counters(result.directory, chosen)))


def _counters(directory: Path, cell_id: str) -> Mapping[str, Mapping[str, int]]:
    path = directory / "counters.json"
    try:
        found: Mapping[str, Mapping[str, int]] = json.loads(path.read_text(encoding="utf-8"))[cell_id]
    except (OSError, ValueError, KeyError) as error:
        raise SpecError(f"{path} cannot be read: {error}", remedy="give a whole result") from error
    return found


# ------------------------------------------------------------------------------------------------- to a collector


def send(
    export: Export,
    collector: Collector,
    progress: Progress,
    *,
    speed: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send the datagrams by UDP in the order of virtual time, at most `FASTEST_PER_S`.

    With `speed` a datagram waits until virtual time / speed has passed, too: 1 is real time, 0.001 a thousandth of it.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        collector.host, collector.port, type=socket.SOCK_DGRAM
    )[0]
    items = export.datagrams
    progress.start(len(items))
    progress.stage(f"to {collector}")
    try:
        with socket.socket(family, kind, protocol) as udp:
            udp.connect(address)
            began = clock()
            for number, one in enumerate(items):
                due_s = number / FASTEST_PER_S
                if speed is not None:
                    due_s = max(due_s, one.time_ps / PS_PER_S / speed)
                if (wait_s := began + due_s - clock()) > 0:
                    sleep(wait_s)
                udp.send(one.data)
                if number % _TELL_EVERY == 0 or speed is not None:
                    progress.update(one.time_ps, number, number * PPM_PER_WHOLE // len(items))
    except ConnectionRefusedError as error:
        raise SpecError(f"nobody listens at {collector}", remedy="start the collector first") from error
    except OSError as error:
        raise SpecError(
            f"{collector}: {error.strerror or error}", remedy="give an address that can be reached"
        ) from error
    finally:
        progress.finish()


# ------------------------------------------------------------------------------------------------- into a file


def write(export: Export, path: Path, collector: Collector | None) -> None:
    """Write the datagrams into a `.pcap` or `.bin` file."""
    to = collector or Collector(*_UNNAMED)
    parts = _pcap(export.datagrams, to) if path.suffix == ".pcap" else _plain(export.datagrams)
    with storing(path), path.open("wb") as file:
        file.writelines(parts)


def _plain(items: Sequence[Datagram]) -> Iterator[bytes]:
    for one in items:
        yield struct.pack(">I", len(one.data)) + one.data


def _pcap(items: Sequence[Datagram], to: Collector) -> Iterator[bytes]:
    """Classic pcap with nanoseconds: Ethernet, IPv4 from the agent's address, UDP without checksum."""
    yield struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 1)
    target = _ipv4(to)
    for number, one in enumerate(items):
        source = ipaddress.IPv4Address(one.agent.address).packed
        udp = struct.pack(">4H", _SOURCE_PORT, to.port, 8 + len(one.data), 0) + one.data
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), number & 0xFFFF, 0x4000, 64, 17, 0)
        check = struct.pack(">H", _checksum(head + source + target))
        packet = _MACS + head[:10] + check + source + target + udp
        seconds, ns = divmod(one.time_ps // PS_PER_NS, PS_PER_S // PS_PER_NS)
        yield struct.pack("<4I", seconds, ns, len(packet), len(packet)) + packet


_MACS = bytes.fromhex("02544efe000102544efe00020800")


def _ipv4(to: Collector) -> bytes:
    """The collector's address; a collector with another kind of address stands in the file as an unnamed one."""
    try:
        found = socket.getaddrinfo(to.host, to.port, socket.AF_INET, socket.SOCK_DGRAM)[0][4][0]
    except OSError:
        found = _UNNAMED[0]
    return ipaddress.IPv4Address(found).packed


def _checksum(head: bytes) -> int:
    """Of an IPv4 header (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(head) // 2}H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
