"""From what tcpdump wrote at some ports of a run to one pcapng whose times are virtual.

The kernel's times say when a frame was moved on this machine; they are thrown away. A frame's time comes from its
trailer, which holds when its first bit arrives at the far end of its link. So at the port where a frame comes in, its
time is that. At the port where it goes out, its time is that less the link's latency: when its first bit passes the
port. Where a link holds frames up (reordering, retries of its own), that is included, as the trailer does not tell it
apart.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Literal

from testbed import __version__
from testbed.engine import _engine
from testbed.errors import MeasurementError
from testbed.fabric.capture import CaptureCounts, frame_places
from testbed.fabric.pcapng import Interface, PcapngWriter
from testbed.run.files import storing, sync
from testbed.run.ownership import hand_over, heir_at
from testbed.spec.fabric import Link
from testbed.units import PS_PER_NS

OneWay = Literal["in", "out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port at which to capture."""

    interface: str
    node: str
    link: Link

    @property
    def peer(self) -> str:
        """The interface at the far end."""
        return self.link.interface_at(self.link.other(self.node))


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """What tcpdump left of one direction at one port."""

    port: Port
    direction: OneWay
    latency_ps: int
    """Of the port's link, in the run."""
    path: Path
    counts: CaptureCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFrames:
    """The frames at one port."""

    port: str
    peer: str
    in_frames: int
    out_frames: int
    foreign_frames: int
    """Without a trailer, so without a time: they are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What is in a file."""

    first_ps: int | None
    """Virtual time of the first frame; None if there is none."""
    last_ps: int | None
    ports: tuple[PortFrames, ...]


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """Where a frame is, in the order of the file: by time, then by port, direction and number on its link."""

    time_ps: int
    raw: int
    link_seq: int
    start: int
    stop: int


def write_capture(raws: Sequence[Raw], path: Path, *, scratch: Path, about: str) -> Written:
    """Merge raw files into one, made in a directory on the same disk and renamed: it is whole or not there."""
    ports = list({raw.port.interface: raw.port for raw in raws}.values())
    for port in ports:
        _require_all_read(port, [raw.counts for raw in raws if raw.port == port])
    whole = scratch / path.name
    places: list[_Place] = []
    foreign: Counter[str] = Counter()
    with ExitStack() as stack:
        datas = [stack.enter_context(_mapped(raw.path)) for raw in raws]
        for number, (raw, data) in enumerate(zip(raws, datas, strict=True)):
            found, strangers = _timed(number, raw, data)
            places += found
            foreign[raw.port.interface] += strangers
        places.sort()
        with storing(path), whole.open("wb") as file:
            application = f"transparent-nic-testbed {__version__}"
            writer = PcapngWriter(file, list(map(_interface, ports)), application=application, comment=about)
            for at in places:
                raw = raws[at.raw]
                packet = datas[at.raw][at.start : at.stop]
                writer.write(ports.index(raw.port), at.time_ps // PS_PER_NS, raw.direction, packet)
    with storing(path):
        sync(whole)
        hand_over(whole, heir_at(path.parent))
        whole.replace(path)
        sync(path.parent)
    counts = Counter((raws[at.raw].port.interface, raws[at.raw].direction) for at in places)
    return Written(
        first_ps=places[0].time_ps if places else None,
        last_ps=places[-1].time_ps if places else None,
        ports=tuple(
            PortFrames(
                port=port.interface,
                peer=port.peer,
                in_frames=counts[port.interface, "in"],
                out_frames=counts[port.interface, "out"],
                foreign_frames=foreign[port.interface],
            )
            for port in ports
        ),
    )


@contextmanager
def _mapped(path: Path) -> Iterator[mmap]:
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        yield data


def _timed(number: int, raw: Raw, data: mmap) -> tuple[list[_Place], int]:
    """The frames of a raw file with their times, and how many are not ours. The file must be whole."""
    taken_ps = raw.latency_ps if raw.direction == "out" else 0
    found: list[_Place] = []
    strangers = 0
    for place in frame_places(data):
        what, _, trailer = _engine.decode(data[place])
        if what == "damaged":
            raise MeasurementError(
                f"a frame captured at {raw.port.interface} contradicts itself",
                remedy="run again, and report it if it repeats",
            )
        if trailer is None:
            strangers += 1
        else:
            time_ps = trailer["first_bit_ps"] - taken_ps
            found.append(_Place(time_ps, number, trailer["link_seq"], place.start, place.stop))
    _require_whole(raw, len(found) + strangers)
    return found, strangers


def _require_all_read(port: Port, counts: Sequence[CaptureCounts]) -> None:
    """Each tcpdump of a port takes one direction of what the kernel received there: together they took all."""
    dropped = sum(one.dropped_pkts for one in counts)
    missing = min(one.received_pkts for one in counts) - sum(one.captured_pkts for one in counts)
    if dropped or missing > 0:
        raise MeasurementError(
            f"the capture at {port.interface} lost {dropped or missing:,} frames, which came too fast for tcpdump",
            remedy="lower --records, name fewer ports, or send less of each payload with --snap",
        )


def _require_whole(raw: Raw, frames: int) -> None:
    """tcpdump does not tell that a disk is full."""
    name, counts = raw.port.interface, raw.counts
    if frames != counts.captured_pkts:
        free_bytes = shutil.disk_usage(raw.path.parent).free
        raise MeasurementError(
            f"the capture at {name} is not whole: {frames:,} of {counts.captured_pkts:,} frames are in it "
            f"({free_bytes:,} bytes free on its disk)",
            remedy="free space on that disk, lower --records, send less with --snap, or give another --out",
        )


def _interface(port: Port) -> Interface:
    return Interface(
        name=port.interface, description=f"to {port.peer}; virtual time", speed_bps=port.link.rate_bps
    )
