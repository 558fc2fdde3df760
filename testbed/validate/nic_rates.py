"""How much a NIC carries: its headers where only the wire limits it, and its slowest part where that is slower."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.analysis.records import Records
from testbed.spec.parameters import ParameterValue
from testbed.validate.nic_paths import GAP, OPERATION, WAYS, Settings, Way, frame_bytes
from testbed.validate.nic_plans import IDLE, around_switch, setup_of, without_stages
from testbed.validate.nics import BYTE_PS
from testbed.validate.plans import finished, records_of
from testbed.validate.row import Oracle, Row

PUBLISHED: dict[str, tuple[float, float, float, float]] = {
    "rocev2": (0.40, 0.72, 0.91, 0.98),
    "uet": (0.34, 0.68, 0.89, 0.97),
    "sue": (0.46, 0.78, 0.93, 0.98),
    "thin": (0.58, 0.85, 0.96, 0.99),
    "sue_compressed": (0.64, 0.88, 0.97, 0.99),
}
"""Share of the line that is payload, for packets of these sizes, as computed from the public headers by hand."""
SIZES = (64, 256, 1_024, 4_096)
FORMATS: dict[str, tuple[str, dict[str, ParameterValue]]] = {
    "rocev2": ("rdma", {}),
    "uet": ("uec", {"congestion": "off"}),
    "sue": ("sue", {"header": "standard", "batch": "off"}),
    "sue_compressed": ("sue", {"batch": "off"}),
    "thin": ("transparent", {}),
    "thin_udp": ("transparent", {"udp": "on"}),
    "tcp": ("kernel", {"congestion": "off"}),
    "udp": ("kernel", {"protocol": "udp"}),
    "ualink": ("ualink", {"batch": "off"}),
}
"""Which NIC sends such frames, one message in each."""
PACKED: dict[str, tuple[str, int, Callable[[int, int], int]]] = {
    "sue": ("sue", 2_048, lambda count, size: 54 + count * (size + 4) + GAP),
    "sue_compressed": ("sue", 2_048, lambda count, size: 16 + count * (size + 4) + GAP),
    "ualink": ("ualink", 4_096, lambda count, size: -(-count * (size + 16) // 628) * 640),
}
"""NICs that pack, how many bytes of payload at most, and what that takes on the wire."""
NEAR_PS = 1_000
"""A link so short that windows never limit."""
UALINK_EFFECTIVE = 0.93


def rate_of(times_ps: npt.NDArray[Any]) -> float:
    """Messages per ps, from the second half of a run."""
    ordered = np.sort(times_ps.astype(np.int64))
    settled = ordered[len(ordered) // 2 :]
    return float((len(settled) - 1) / (settled[-1] - settled[0]))


def goodput(quick: bool) -> list[Row]:
    """A stream of packets of one size, back to back, of NICs that take no time."""
    frames = 1_000 if quick else 20_000
    rows = [row for header in FORMATS for row in _goodput_rows(header, frames)]
    return [*rows, *(_packed_row(header, size) for header in PACKED for size in (64, 256))]


def _goodput_rows(header: str, frames: int) -> Iterator[Row]:
    for place, size in enumerate(SIZES):
        measured = measured_goodput(header, size, frames)
        slot_bytes = frame_bytes(header, size) + GAP
        yield Row(
            oracle="nic-goodput",
            case=f"{header}, {size:,} B",
            expected=size / slot_bytes,
            measured=measured,
            unit="of the line",
            tolerance=1e-9,
            source="payload / (max(64, payload + headers) + 20); UALink: payload / (640 x flits of 628)",
        )
        if header in PUBLISHED:
            yield Row(
                oracle="nic-goodput",
                case=f"{header}, {size:,} B, published",
                expected=PUBLISHED[header][place],
                measured=measured,
                unit="of the line",
                tolerance=0.005 + 1e-9,
                source="wire efficiency from the public header sizes, to two digits",
            )
    if header == "ualink":
        yield Row(
            oracle="nic-goodput",
            case="ualink, 7,680 B, published",
            expected=UALINK_EFFECTIVE,
            measured=measured_goodput(header, 30 * OPERATION, frames),
            unit="of the line",
            tolerance=0.01,
            source="93 % effective (ualinkconsortium.org); 30 operations of 256 B fill 13 flits",
        )


def _packed_row(header: str, size: int) -> Row:
    """Small messages that wait for the port share its packets."""
    nic, most, carried_bytes = PACKED[header]
    count = most // size
    setup = setup_of(nic, {"header": "standard"} if header == "sue" else {})
    load = {"arrivals": "CLOSED", "destinations": [1], "window": 16 * count, "measure_until_ps": 200_000_000}
    data = without_stages(around_switch(setup, [load, IDLE], size_bytes=size), tx_depth_pkts=2)
    data["links"] = [[*link[:5], NEAR_PS] for link in data["links"]]
    return Row(
        oracle="nic-goodput",
        case=f"{header}, {count} messages of {size} B in each packet",
        expected=count * size / carried_bytes(count, size),
        measured=rate_of(records_of(finished(data))["delivered_ps"]) * size * BYTE_PS,
        unit="of the line",
        tolerance=2e-3,
        source="one header for all; SUE: 4 bytes for each; UALink: 16 for each operation, in flits",
    )


def measured_goodput(header: str, size: int, frames: int) -> float:
    """The share of the line that was payload."""
    nic, settings = FORMATS[header]
    setup = setup_of(nic, settings | {"mtu": size})
    load = {"arrivals": "CLOSED", "destinations": [1], "window": 256, "measure_until_ps": frames * 10_000}
    data = around_switch(setup, [load, IDLE], size_bytes=size)
    data = without_stages(data, tx_depth_pkts=64)
    data["links"] = [[*link[:5], NEAR_PS] for link in data["links"]]
    records = records_of(finished(data))
    return rate_of(records["delivered_ps"]) * size * BYTE_PS


# ------------------------------------------------------------------------------------------------- bottlenecks


@dataclass(frozen=True, slots=True)
class Part:
    """Something that can carry only so much."""

    name: str
    messages_per_ps: float


def parts_of(way: Way, size: int, byte_ps: int) -> list[Part]:
    """Every server of a NIC's way, its wire, and what may be under way at a time (Little's law)."""
    packets = list(way.packets(size, "put"))
    found = [Part("wire", 1 / sum((frame + GAP) * byte_ps for _, frame in packets))]
    for place, per_packet in (("post", False), ("send", True), ("receive", True), ("notify", False)):
        for name, server in zip(getattr(way, place), way.servers(place), strict=True):
            sizes = [payload for payload, _ in packets] if per_packet else [size]
            held_ps = sum(server.held_ps(each) for each in sizes)
            if held_ps:
                found.append(Part(f"{place} {name}", 1 / held_ps))
    through_ps = sum(server.latency_ps + server.held_ps(packets[0][0]) for server in way.servers("send"))
    depth = way.profile.tx_depth_pkts.number
    found.append(Part("packets between scheduler and port", depth / through_ps / len(packets)))
    return found


@dataclass(frozen=True, slots=True)
class Case:
    """What limits a NIC under some load."""

    nic: str
    settings: Settings
    size: int
    rate: str
    limit: str
    """The part that is slowest, by hand."""


CASES = (
    Case("transparent", {}, 64, "400Gbps", "packets between scheduler and port"),
    Case("transparent", {}, 65_536, "400Gbps", "wire"),
    Case("transparent", {}, 65_536, "800Gbps", "send nic_pcie"),
    Case("transparent", {"udp": "on"}, 65_536, "800Gbps", "send nic_pcie"),
    Case("rdma", {}, 64, "400Gbps", "post host_post"),
    Case("rdma", {"post": "blueflame"}, 64, "400Gbps", "post host_post"),
    Case("rdma", {"completion": "interrupt"}, 64, "400Gbps", "post host_post"),
    Case("rdma", {"initiator": "device"}, 64, "400Gbps", "post card_post"),
    Case("rdma", {}, 65_536, "400Gbps", "wire"),
    Case("rdma", {}, 65_536, "800Gbps", "send dma_read"),
    Case("kernel", {"congestion": "off"}, 64, "400Gbps", "post tcp_ip"),
    Case("kernel", {"protocol": "udp"}, 64, "400Gbps", "post udp_ip"),
    Case("kernel", {"congestion": "off"}, 65_536, "400Gbps", "post copy_in"),
    Case("kernel", {"congestion": "off"}, 65_536, "10Gbps", "wire"),
    Case("uec", {"mode": "rud"}, 64, "400Gbps", "packets between scheduler and port"),
    Case("uec", {"mode": "rud"}, 65_536, "400Gbps", "wire"),
    Case("uec", {"mode": "rod"}, 65_536, "800Gbps", "send dma_read"),
    Case("sue", {"header": "compressed"}, 4_096, "400Gbps", "wire"),
    Case("sue", {"header": "standard"}, 65_536, "800Gbps", "wire"),
    Case("ualink", {}, 65_536, "400Gbps", "wire"),
    Case("ualink", {}, 65_536, "800Gbps", "wire"),
)


def saturation(quick: bool) -> list[Row]:
    """More work than any part of a NIC can carry."""
    messages = 20_000 if quick else 200_000
    return [row for case in CASES for row in _saturation_rows(case, messages)]


def _saturation_rows(case: Case, messages: int) -> Iterator[Row]:
    way = way_of(case)
    byte_ps = 8_000 // int(case.rate.removesuffix("Gbps"))
    parts = parts_of(way, case.size, byte_ps)
    slowest = min(parts, key=lambda part: part.messages_per_ps)
    messages = max(200, min(messages, messages * 4_096 // case.size * 4))
    records = saturated(case, messages / slowest.messages_per_ps)
    yield Row(
        oracle="nic-saturation",
        case=f"{way.name}, {case.size:,} B, {case.rate}: {case.limit}",
        expected=1e6 * next(part.messages_per_ps for part in parts if part.name == case.limit),
        measured=1e6 * rate_of(records["completed_ps"]),
        unit="messages/us",
        tolerance=1e6 * slowest.messages_per_ps * 0.005,
        source="the slowest server of its stages; where none is, Little: as many as are under way over their time",
    )


def way_of(case: Case) -> Way:
    """The way of its NIC under its settings."""
    return next(way for way in WAYS if (way.nic, dict(way.settings)) == (case.nic, dict(case.settings)))


def saturated(case: Case, duration_ps: float) -> Records:
    """The records of a stream that always has more to send."""
    setup = setup_of(case.nic, case.settings)
    window = max(4, min(512, (1 << 22) // case.size))
    load = {
        "arrivals": "CLOSED",
        "destinations": [1],
        "window": window,
        "measure_until_ps": math.ceil(duration_ps),
    }
    return records_of(finished(around_switch(setup, [load, IDLE], size_bytes=case.size, rate=case.rate)))


# ------------------------------------------------------------------------------------------------------- cards


def cards(quick: bool) -> list[Row]:
    """Four cards behind a NIC share what is one, and do not share what each has."""
    until_ps = 1_000_000_000 if quick else 10_000_000_000
    return [
        row
        for nic, settings, size, rate, limit in (
            ("transparent", {}, 65_536, "800Gbps", "send nic_pcie"),
            ("transparent", {}, 65_536, "400Gbps", "wire"),
            ("rdma", {"initiator": "device"}, 65_536, "800Gbps", "send dma_read"),
            ("rdma", {"initiator": "device"}, 64, "400Gbps", "post card_post"),
            ("rdma", {}, 64, "400Gbps", "post host_post"),
            ("uec", {"mode": "rud"}, 65_536, "800Gbps", "send dma_read"),
        )
        for row in _cards_rows(Case(nic, settings, size, rate, limit), until_ps)
    ]


PER_CARD = frozenset({"post card_post"})


def _cards_rows(case: Case, until_ps: int) -> Iterator[Row]:
    way = way_of(case)
    byte_ps = 8_000 // int(case.rate.removesuffix("Gbps"))
    part = next(part for part in parts_of(way, case.size, byte_ps) if part.name == case.limit)
    expected = part.messages_per_ps * (4 if case.limit in PER_CARD else 1)
    setup = setup_of(case.nic, {**case.settings, "cards": 4})
    loads = [
        {
            "arrivals": "CLOSED",
            "destinations": [4 + card],
            "window": max(4, min(32, (1 << 22) // case.size)),
            "measure_until_ps": until_ps,
        }
        for card in range(4)
    ]
    records = records_of(
        finished(around_switch(setup, loads + [IDLE] * 4, size_bytes=case.size, rate=case.rate))
    )
    end_ps = min(int(records["completed_ps"][records["src"] == card].max()) for card in range(4))
    inside = (records["completed_ps"] > end_ps // 2) & (records["completed_ps"] <= end_ps)
    counts = np.bincount(records["src"][inside], minlength=4)[:4]
    name = f"{case.nic}{' by card' if case.settings.get('initiator') else ''}, {case.size:,} B, {case.rate}"
    yield Row(
        oracle="nic-cards",
        case=f"{name}: {case.limit}",
        expected=1e6 * expected,
        measured=1e6 * rate_of(records["completed_ps"][inside]),
        unit="messages/us",
        tolerance=1e6 * expected * 0.01,
        source="what the cards share is one server, of what each has there are four",
    )
    yield Row(
        oracle="nic-cards",
        case=f"{name}: share of each",
        expected=25,
        measured=100 * float(counts[np.argmax(np.abs(counts / counts.sum() - 0.25))] / counts.sum()),
        unit="%",
        tolerance=0.5,
        source="cards take turns",
    )


ORACLES = (
    Oracle(
        name="nic-goodput",
        subject="nics",
        description="payload's share of the wire, by size, is what the headers leave",
        tolerance="none beyond rounding; of the published two digits half a percent, of UALink's one",
        run=goodput,
    ),
    Oracle(
        name="nic-saturation",
        subject="nics",
        description="a saturated NIC carries what its slowest stage does",
        tolerance="0.5 %: batches of interrupts and the ends of the run",
        run=saturation,
    ),
    Oracle(
        name="nic-cards",
        subject="nics",
        description="four cards behind a NIC share its slowest stage in equal parts",
        tolerance="1 % of the sum, half a percent of the line for each: messages are not divisible",
        run=cards,
    ),
)
