"""One message alone, from the card that means to send it to the one that is told: every stage and every bit."""

from __future__ import annotations

from collections.abc import Sequence

from nic_emulator.profile import OpName
from testbed.validate.nic_paths import GAP, PREAMBLE, WAYS, Kind, Server, Way, card_stage, through
from testbed.validate.nic_plans import IDLE, around_switch, setup_of
from testbed.validate.plans import one_message, run
from testbed.validate.row import Oracle, Row

BYTE_PS = 20
LINK_PS = 3 * 5_051 + 3_000 + 3_000 + 31_000 + 25_600
"""3 m at 198,000,000 m/s; RS(544,514) at 400G: 802.3dj's estimate of encoding, decoding, correction, two codewords."""
SWITCHES = {"ideal": 0, "tomahawk5": 600_000, "tomahawk_ultra": 250_000}
"""Port to port, as published; each cuts through."""
SIZES = (64, 100, 220, 256, 1_024, 4_096, 5_000, 16_384, 65_536)
QUICK_SIZES = (64, 4_096, 65_536)
READS = frozenset({"dma_read", "card_read", "memory_read", "lpddr"})
"""Stages that fetch payload from memory, of which a request has none."""
SOURCE = "the sum of its stages in the profile, wire times of (F + 8) bytes, links and the switch"


class Wire:
    """Sender's port, link, switch that cuts through, link."""

    def __init__(self, switch_ps: int) -> None:
        self._fixed_ps = 2 * LINK_PS + switch_ps
        self._free_ps = 0

    def sent(self, ready_ps: int, frame_bytes: int) -> tuple[int, int]:
        """When a frame that is ready leaves, and when its last bit is there."""
        start_ps = max(ready_ps, self._free_ps)
        self._free_ps = start_ps + (frame_bytes + GAP) * BYTE_PS
        return start_ps, start_ps + self._fixed_ps + (frame_bytes + PREAMBLE) * BYTE_PS


def transfer_ps(way: Way, size: int, kind: Kind, begun_ps: int, switch_ps: int) -> list[int]:
    """When each packet of a message that is ready to go has passed the far NIC's ingress."""
    send = way.servers("send", without=READS if kind == "request" else ())
    wire, depth = Wire(switch_ps), way.profile.tx_depth_pkts.number
    starts_ps: list[int] = []
    there_ps = []
    for number, (payload, frame) in enumerate(way.packets(size, kind)):
        # so many packets between scheduler and wire; the next comes when one leaves
        free_ps = starts_ps[number - depth] if number >= depth else 0
        start_ps, last_bit_ps = wire.sent(through(send, max(begun_ps, free_ps), payload), frame)
        starts_ps.append(start_ps)
        there_ps.append(last_bit_ps + way.ingress_ps)
    return there_ps


def one_way_ps(way: Way, op: OpName, size: int, switch_ps: int) -> int:
    """From the intention to the notice, closed form."""
    begun_ps = through(way.servers("post"), 0, size)
    kind: Kind = "response" if op == "get" else op
    if op == "get":  # the far NIC answers by itself
        begun_ps = transfer_ps(way, size, "request", begun_ps, switch_ps)[-1]
    receive = way.servers("receive")
    payloads = [payload for payload, _ in way.packets(size, kind)]
    there_ps = transfer_ps(way, size, kind, begun_ps, switch_ps)
    memory_ps = [through(receive, at_ps, each) for at_ps, each in zip(there_ps, payloads, strict=True)][-1]
    told = way.servers("notify") + (way.servers("signal") if op == "put_signal" else [])
    return through(told, memory_ps, size)


def latency(quick: bool) -> list[Row]:
    """Every NIC, mode, operation and size, through an ideal switch and through real ones."""
    switches = ("ideal", "tomahawk5") if quick else tuple(SWITCHES)
    sizes = QUICK_SIZES if quick else SIZES
    rows = [
        _latency_row(way, op, size, switch)
        for switch in switches
        for way in WAYS
        for op in way.ops
        for size in sizes
        if way.least <= size <= way.most
    ]
    return [*rows, _public_row()]


def measured_ps(way: Way, op: OpName, size: int, switch: str) -> int:
    """The same, of the engine."""
    setup = setup_of(way.nic, way.settings)
    loads = [IDLE] * (2 * setup.cards)
    loads[0] = one_message(setup.cards, size)
    records = run(around_switch(setup, loads, size_bytes=size, op=op, switch=switch))
    return int(records[0]["completed_ps"] - records[0]["intended_ps"])


def _latency_row(way: Way, op: OpName, size: int, switch: str) -> Row:
    return Row(
        oracle="nic-latency",
        case=f"{way.name}, {op} of {size:,} B, {switch}{'' if way.most > 1 << 20 else ', small'}",
        expected=one_way_ps(way, op, size, SWITCHES[switch]),
        measured=measured_ps(way, op, size, switch),
        unit="ps",
        source=SOURCE,
    )


def _public_row() -> Row:
    """What is public of the transparent NIC, read as this project reads it: back to back, a small message."""
    return Row(
        oracle="nic-latency",
        case="transparent, put of 64 B, one link and no switch",
        expected=2_000_000,
        measured=measured_ps(WAYS[0], "put", 64, "ideal") - LINK_PS,
        unit="ps",
        tolerance=50_000,
        source="'two microseconds', theregister.com 2025-09-08, to two digits",
    )


def local(quick: bool) -> list[Row]:
    """Between two cards behind one NIC, by their bridge and by the PCIe switch."""
    sizes = QUICK_SIZES if quick else SIZES
    return [
        _local_row(nic, path, op, size)
        for nic in ("transparent", "rdma", "uec", "sue")
        for path in ("bridge", "switch")
        for op in ("put", "get")
        for size in sizes
    ]


def local_ps(way: Way, names: Sequence[str], op: str, size: int) -> int:
    """Post, engine and way, notice; a get asks first, and its request is empty."""
    now_ps = through(way.servers("post"), 0, size)
    servers: list[Server] = [card_stage(name) for name in names]
    if op == "get":
        now_ps = through(servers, now_ps, 0)
    return through(way.servers("notify"), through(servers, now_ps, size), size)


def _local_row(nic: str, path: str, op: OpName, size: int) -> Row:
    way = next(way for way in WAYS if way.nic == nic)
    setup = setup_of(nic, {"cards": 4, "local": path})
    names = ["card_dma", "bridge"] if path == "bridge" else ["card_dma", "card_memory", "local_pcie_switch"]
    loads = [one_message(1, size), *[IDLE] * 7]
    records = run(around_switch(setup, loads, size_bytes=size, op=op))
    return Row(
        oracle="nic-local",
        case=f"{nic}, {op} of {size:,} B by the {path}",
        expected=local_ps(way, names, op, size),
        measured=int(records[0]["completed_ps"] - records[0]["intended_ps"]),
        unit="ps",
        source="post, DMA engine, bridge or memory and PCIe switch of the card's profile, notice",
    )


ORACLES = (
    Oracle(
        name="nic-latency",
        subject="nics",
        description="unloaded latency of each NIC, mode and operation is the sum of its stages and wires",
        tolerance="none: picoseconds; of the public 2 us 50 ns, its digits",
        run=latency,
    ),
    Oracle(
        name="nic-local",
        subject="nics",
        description="latency between two cards behind one NIC, by bridge and by PCIe switch",
        tolerance="none: picoseconds",
        run=local,
    ),
)
