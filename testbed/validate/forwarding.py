"""Unloaded paths to the picosecond: cut-through and store-and-forward, the sum of the parts, and the FEC of links.

A frame of F bytes has its last bit F + 8 byte times behind its first (preamble and delimiter count). A switch that
cuts through sends the first bit one pipeline latency after it came; one that stores, or whose output is faster than
its input, sends it one pipeline latency after the last bit came.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from testbed.links.latency import link_latency_ps
from testbed.units import byte_time_ps
from testbed.validate.measure import THIN_HEADER_BYTES
from testbed.validate.plans import Wire, card, chain, one_message, run, stage
from testbed.validate.row import Oracle, Row

PIPELINE_PS = 600_000
RATES = {
    "400G": [20] * 8,
    "falling, 1.6T to 100G": [5, 5, 10, 10, 20, 20, 40, 80],
    "rising, 100G to 1.6T": [80, 40, 40, 20, 20, 10, 10, 5],
    "mixed": [20, 10, 40, 20, 80, 5, 20, 10],
}
FEC_NS = {200: 88, 400: 63, 800: 63}
"""Of a link in Gb/s, as published, rounded."""


def one_way_ps(wires: Sequence[Wire], frame_bytes: int, *, cut: bool) -> int:
    """First bit out of the sender to last bit in at the receiver, the closed form."""
    first_ps = 0
    for before, behind in itertools.pairwise(wires):
        first_ps += before.latency_ps + PIPELINE_PS
        if not cut or behind.byte_time_ps < before.byte_time_ps:
            first_ps += (frame_bytes + 8) * before.byte_time_ps
    return first_ps + wires[-1].latency_ps + (frame_bytes + 8) * wires[-1].byte_time_ps


def switched_paths(quick: bool) -> list[Row]:
    """One frame over 1 to 7 switches."""
    sizes = (64, 4_122) if quick else (64, 65, 1_522, 4_122, 9_026)
    cases = itertools.product(RATES, range(1, 8), (True, False), sizes)
    return [_path_row(*case) for case in cases]


def _path_row(rates: str, switches: int, cut: bool, frame_bytes: int) -> Row:
    wires = [
        Wire(byte_time_ps=byte_ps, latency_ps=100_000 + 1_111 * hop)
        for hop, byte_ps in enumerate(RATES[rates][: switches + 1])
    ]
    sender = card(one_message(1, frame_bytes - THIN_HEADER_BYTES), mtu_bytes=9_000)
    records = run(
        chain(sender, card(mtu_bytes=9_000), wires, pipeline_latency_ps=PIPELINE_PS, cut_through=cut)
    )
    return Row(
        oracle="cut-through",
        case=f"{'cut-through' if cut else 'stored'}, {switches} switches, {rates}, {frame_bytes:,} B",
        expected=one_way_ps(wires, frame_bytes, cut=cut),
        measured=int(records[0]["delivered_ps"] - records[0]["first_byte_ps"]),
        unit="ps",
        source="sum over hops: latency + pipeline + (F + 8) byte times wherever the frame is stored",
    )


def parts(quick: bool) -> list[Row]:
    """A message of one packet from intention to completion: every stage, wire and switch adds its own."""
    switches = (0, 2) if quick else range(8)
    return [_parts_row(count, size) for count in switches for size in (38, 4_096)]


def _parts_row(switches: int, size: int) -> Row:
    stages = {"post": 50_001, "send": 310_003, "receive": 200_017, "notify": 25_013}
    at = {place: [stage(latency_ps, per_kib_ps=1_024)] for place, latency_ps in stages.items()}
    ingress_ps = 260_017
    wires = [Wire()] * (switches + 1)
    sender = card(one_message(1, size, start_ps=12_345), at=at)
    receiver = card(at=at, ingress_latency_ps=ingress_ps)
    records = run(chain(sender, receiver, wires, pipeline_latency_ps=PIPELINE_PS))
    frame_bytes = size + THIN_HEADER_BYTES
    return Row(
        oracle="unloaded",
        case=f"{switches} switches, {size:,} B",
        expected=sum(stages.values()) + 4 * size + ingress_ps + one_way_ps(wires, frame_bytes, cut=True),
        measured=int(records[0]["completed_ps"] - records[0]["intended_ps"]),
        unit="ps",
        source="the plain sum of stages, wires and switches",
    )


def fec(quick: bool) -> list[Row]:
    """What a link's FEC adds, measured as the latency beyond propagation and serialisation."""
    del quick
    return list(_fec_rows())


def _fec_rows() -> Iterator[Row]:
    length_mm, payload, propagation_ps = 1_000, 4_096, 5_051  # 1 m at 198,000,000 m/s
    for gbps, expected_ns in FEC_NS.items():
        rate_bps = gbps * 10**9
        wire = Wire(
            byte_time_ps=byte_time_ps(rate_bps), latency_ps=link_latency_ps("dac", length_mm, rate_bps)
        )
        records = run(chain(card(one_message(1, payload)), card(), [wire]))
        wire_ps = propagation_ps + (payload + THIN_HEADER_BYTES + 8) * 8_000 // gbps
        yield Row(
            oracle="fec",
            case=f"RS(544,514) at {gbps}G, 1 m of copper",
            expected=expected_ns,
            measured=(int(records[0]["delivered_ps"]) - wire_ps) / 1000,
            unit="ns",
            tolerance=0.5,
            source="IEEE 802.3dj he_3dj_01_2401 as quoted: 3 + 3 + 31 ns and the codewords that are interleaved",
        )


ORACLES = (
    Oracle(
        name="cut-through",
        subject="forwarding",
        description="one frame through 1 to 7 switches, cut-through and stored, equal and mixed rates",
        tolerance="none: picoseconds",
        run=switched_paths,
    ),
    Oracle(
        name="unloaded",
        subject="forwarding",
        description="the latency of a message alone is the sum of its parts",
        tolerance="none: picoseconds",
        run=parts,
    ),
    Oracle(
        name="fec",
        subject="forwarding",
        description="what forward error correction adds to a link",
        tolerance="0.5 ns: the published figures are rounded to a nanosecond",
        run=fec,
    ),
)
