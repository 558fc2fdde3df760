"""Headroom of a lossless priority group: the least that loses nothing, found by bisection over runs.

A, a switch or a card, sends to B without a pause; B's way out stands still, so everything stays in B. Beyond its
threshold B asks A to stop, after the frame that its own transmitter is busy with (the largest there is, in several
phases), and what comes until A has stopped must fit the headroom. The run ends with an error if it does not.

Closed form: D = B's pipeline + its time to make a pause frame + the frame in its way + the pause frame + A's response +
the cable twice; A starts ceil(D / slot) frames in D, and each takes whole cells. Published: SONiC's formula, which
takes frames of 64 bytes without preamble and gap, so that at most 84/64 as much comes; and the tables that ship.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from testbed.engine import _engine
from testbed.links.latency import link_latency_ps
from testbed.switches import SWITCHES
from testbed.switches.headroom import (
    FORMULA,
    auto_headroom,
    formula_headroom,
    published_headroom,
    reaction_ps,
)
from testbed.switches.profile import SwitchProfile
from testbed.units import WIRE_OVERHEAD_BYTES, byte_time_ps, format_length, format_rate
from testbed.validate.measure import THIN_HEADER_BYTES, slot_ps, twin_of
from testbed.validate.plans import Data, Field, Wire, card, one_message, plan, switch
from testbed.validate.row import Oracle, Row

RATES_BPS = (400 * 10**9, 800 * 10**9)
PROFILES = ("tomahawk5", "tomahawk6", "trident4", "spectrum4", "teralynx10")
MEDIA = {5_000: "aec", 40_000: "aoc", 300_000: "dr"}
"""Cables by length in mm."""
PROPAGATION_MM_PER_US = 198_000
PAUSE_FRAME_BYTES = 64 + 8
LARGEST_FRAME_BYTES = 9_100
"""SONiC's port MTU, in the way of the pause frame."""
PHASES = 32
LOSSLESS_CLASS = 3
FORMULA_ROUNDING = 0.03
"""It counts a cable's bits by 1,000 and its bytes by 1,024, 2.4 % less, and a lossless MTU of 1 KiB on top."""
BUFFER_CELLS = 1_500
STILL = Wire(byte_time_ps=10**6, latency_ps=1_000)
"""So slow that its first frame outlasts the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One hop from A to B, and the frames on it."""

    rate_bps: int
    latency_ps: int
    pipeline_ps: int
    generation_ps: int
    reaction_ps: int
    cell_bytes: int
    frame_bytes: int

    @property
    def byte_ps(self) -> int:
        """On the wire."""
        return byte_time_ps(self.rate_bps)

    @property
    def frame_cells(self) -> int:
        """What a frame takes of the buffer."""
        return -(-self.frame_bytes // self.cell_bytes)

    @property
    def in_the_way_ps(self) -> int:
        """The frame that delays the pause frame at worst."""
        return slot_ps(LARGEST_FRAME_BYTES, self.byte_ps)

    @property
    def stopping_ps(self) -> int:
        """From the start of the first frame beyond the threshold at A to A's stop, at worst."""
        own_ps = self.pipeline_ps + self.generation_ps + self.in_the_way_ps
        return own_ps + PAUSE_FRAME_BYTES * self.byte_ps + self.reaction_ps + 2 * self.latency_ps

    @property
    def slot_ps(self) -> int:
        """How often A starts a frame."""
        return slot_ps(self.frame_bytes, self.byte_ps)

    @property
    def closed_form_bytes(self) -> int:
        """What comes before A stops."""
        return -(-self.stopping_ps // self.slot_ps) * self.frame_cells * self.cell_bytes

    @property
    def phase_bytes(self) -> int:
        """What may lack because only some phases of the frame in the way are tried: a phase and a frame."""
        frames = -(-self.in_the_way_ps // PHASES // self.slot_ps) + 1
        return frames * self.frame_cells * self.cell_bytes


Builder = Callable[[Hop, int, int], Data]
"""A plan from a hop, the headroom in bytes and the phase."""


def _cards(hop: Hop, phase: int, sink: int) -> list[Data]:
    """Card 0 sends to card 1 in the lossless class; card 2 sends large frames to card `sink` in another."""
    endless: Data = {
        "reliability": "go_back_n",
        "window_pkts": 60_000,
        "ack_every_pkts": 60_000,
        "rto_ps": 10**12,
    }
    payload, large = (size - THIN_HEADER_BYTES for size in (hop.frame_bytes, LARGEST_FRAME_BYTES))
    forward: Data = {**endless, "mtu_bytes": payload, "data_class": LOSSLESS_CLASS}
    backward: Data = {**endless, "mtu_bytes": large, "data_class": 0, "ack_class": 0}
    start_ps = 10**6 + hop.in_the_way_ps * phase // PHASES
    return [
        card(
            one_message(1, 60_000 * payload, start_ps=start_ps), pause_reaction_ps=hop.reaction_ps, **forward
        ),
        card(**forward),
        card(one_message(sink, 10_000 * large), **backward),
        card(**backward),
    ]


def _lossless_switch(hop: Hop, route: list[int], **config: Field) -> Data:
    """Ports 1, 2 and 3; a group for each."""
    return switch(
        [[1], [2], [3]],
        route,
        pipeline_latency_ps=hop.pipeline_ps,
        cell_bytes=hop.cell_bytes,
        lossless_classes=1 << LOSSLESS_CLASS,
        pfc_generation_ps=hop.generation_ps,
        pause_reaction_ps=hop.reaction_ps,
        **config,
    )


def _b(hop: Hop, headroom_bytes: int, route: list[int]) -> Data:
    """The switch whose headroom is sought, at its port 3."""
    buffer_bytes = BUFFER_CELLS * hop.cell_bytes
    return _lossless_switch(hop, route, buffer_bytes=buffer_bytes, headroom_bytes=[0, 0, 0, headroom_bytes])


def from_switch(hop: Hop, headroom_bytes: int, phase: int) -> Data:
    """A is a switch, fed by card 0 at twice the hop's rate; the large frames go to card 3 behind it."""
    a, b = _lossless_switch(hop, [0, 2, 2, 1]), _b(hop, headroom_bytes, [2, 0, 1, 2])
    near = Wire(byte_time_ps=hop.byte_ps // 2, latency_ps=1_000)
    back = Wire(byte_time_ps=hop.byte_ps, latency_ps=1_000)
    between = Wire(byte_time_ps=hop.byte_ps, latency_ps=hop.latency_ps)
    links = [
        (0, 0, 4, 1, near),
        (3, 0, 4, 2, back),
        (1, 0, 5, 1, STILL),
        (2, 0, 5, 2, back),
        (4, 3, 5, 3, between),
    ]
    return plan([*_cards(hop, phase, 3), a, b], links)


def from_card(hop: Hop, headroom_bytes: int, phase: int) -> Data:
    """A is card 0 itself, to which the large frames go, too."""
    back = Wire(byte_time_ps=hop.byte_ps, latency_ps=1_000)
    between = Wire(byte_time_ps=hop.byte_ps, latency_ps=hop.latency_ps)
    links = [(0, 0, 3, 3, between), (1, 0, 3, 1, STILL), (2, 0, 3, 2, back)]
    return plan([*_cards(hop, phase, 0)[:3], _b(hop, headroom_bytes, [2, 0, 1])], links)


def lossless(build: Builder, hop: Hop, headroom_bytes: int, phases: list[int]) -> bool:
    """Whether no phase loses a frame; the phase that did goes to the front, to be tried first the next time."""
    filled_ps = BUFFER_CELLS // hop.frame_cells * hop.slot_ps
    until_ps = 2 * 10**6 + filled_ps + 2 * hop.stopping_ps
    for phase in phases:
        try:
            twin_of(build(hop, headroom_bytes, phase)).run(until_ps)
        except _engine.LosslessDropError:
            phases.remove(phase)
            phases.insert(0, phase)
            return False
    return True


def needed_bytes(build: Builder, hop: Hop) -> int:
    """The least headroom in whole cells that loses nothing, by bisection; at most four times the closed form."""
    phases = list(range(PHASES))
    too_little, enough = 0, 4 * hop.closed_form_bytes // hop.cell_bytes
    while enough - too_little > 1:
        middle = (enough + too_little) // 2
        if lossless(build, hop, middle * hop.cell_bytes, phases):
            enough = middle
        else:
            too_little = middle
    return enough * hop.cell_bytes


# ----------------------------------------------------------------------------------------------------- rows


def formula_hop(profile: SwitchProfile, rate_bps: int, length_mm: int) -> Hop:
    """A hop as SONiC's formula sees it: the smallest frames, and nothing but cable, MAC and response."""
    return Hop(
        rate_bps=rate_bps,
        latency_ps=length_mm * 10**6 // PROPAGATION_MM_PER_US,
        pipeline_ps=0,
        generation_ps=8_192 * byte_time_ps(rate_bps) // 10,  # 0.8 KiB of MAC and PHY delay
        reaction_ps=reaction_ps(profile.pfc, rate_bps),
        cell_bytes=profile.buffer.cell.number,
        frame_bytes=64,
    )


def product_hop(profile: SwitchProfile, rate_bps: int, length_mm: int) -> Hop:
    """A hop of this product over a real medium, with the frames of a 4 KiB message."""
    return Hop(
        rate_bps=rate_bps,
        latency_ps=link_latency_ps(MEDIA[length_mm], length_mm, rate_bps),
        pipeline_ps=profile.pipeline_latency.number,
        generation_ps=profile.pfc.generation.number,
        reaction_ps=reaction_ps(profile.pfc, rate_bps),
        cell_bytes=profile.buffer.cell.number,
        frame_bytes=4_096 + THIN_HEADER_BYTES,
    )


def _places(quick: bool) -> Iterator[tuple[SwitchProfile, int, int, str]]:
    """Profiles with published headroom, rates and lengths, and all three in words."""
    profiles, rates = (("spectrum4",), RATES_BPS[:1]) if quick else (PROFILES, RATES_BPS)
    for profile, rate_bps, length_mm in itertools.product(map(SWITCHES.get, profiles), rates, MEDIA):
        if rate_bps in profile.port_rates_bps:
            where = f"{profile.name}, {format_rate(rate_bps)}, {format_length(length_mm)}"
            yield profile, rate_bps, length_mm, where


def headroom(quick: bool) -> list[Row]:
    """The closed form, for the formula's hop and the product's, and with a card as the sender."""
    return [
        Row(
            oracle="pfc-headroom",
            case=f"{where}, {hop.frame_bytes:,} B frames from a {sender}",
            expected=hop.closed_form_bytes,
            measured=needed_bytes(build, hop),
            unit="byte",
            tolerance=hop.phase_bytes,
            source="ceil(D / slot) frames of whole cells",
        )
        for profile, rate_bps, length_mm, where in _places(quick)
        for sender, build, hop in (
            ("switch", from_switch, formula_hop(profile, rate_bps, length_mm)),
            ("switch", from_switch, product_hop(profile, rate_bps, length_mm)),
            ("card", from_card, product_hop(profile, rate_bps, length_mm)),
        )
    ]


def formula(quick: bool) -> list[Row]:
    """SONiC's formula for frames of 64 bytes, of which it counts neither preambles nor gaps: 64/84 of it come."""
    rows = []
    for profile, rate_bps, length_mm, where in _places(quick):
        hop = formula_hop(profile, rate_bps, length_mm)
        published = formula_headroom(
            profile.pfc, rate_bps=rate_bps, length_mm=length_mm, cell_bytes=hop.cell_bytes
        )
        measured = needed_bytes(from_switch, hop)
        row = functools.partial(Row, oracle="pfc-formula", measured=measured, unit="byte", source=FORMULA)
        on_wire = published * 64 / (64 + WIRE_OVERHEAD_BYTES)
        rows.append(row(case=f"{where}, as it stands", expected=published, relation="at_most"))
        rows.append(row(case=f"{where}, 64/84 of it", expected=on_wire, tolerance=on_wire * FORMULA_ROUNDING))
    return rows


def shipped(quick: bool) -> list[Row]:
    """What ships for a cable that covers the length, against the need of 4 KiB messages."""
    rows = []
    for profile, rate_bps, length_mm, where in _places(quick):
        published = published_headroom(profile, rate_bps, length_mm)
        if published is not None:
            rows.append(
                Row(
                    oracle="pfc-shipped",
                    case=where,
                    expected=published.number,
                    measured=needed_bytes(from_switch, product_hop(profile, rate_bps, length_mm)),
                    unit="byte",
                    relation="at_most",
                    source=published.source,
                )
            )
    return rows


def automatic(quick: bool) -> list[Row]:
    """What a run takes where it is not told, against the need of the smallest frames over a real medium."""
    return [
        Row(
            oracle="pfc-auto",
            case=where,
            expected=auto_headroom(profile, rate_bps, length_mm),
            measured=needed_bytes(
                from_switch, replace(product_hop(profile, rate_bps, length_mm), frame_bytes=64)
            ),
            unit="byte",
            relation="at_most",
            source="the formula with what it leaves out; docs/switches.md",
        )
        for profile, rate_bps, length_mm, where in _places(quick)
    ]


ORACLES = (
    Oracle(
        name="pfc-headroom",
        subject="pfc",
        description="the least headroom that loses nothing: ceil(D / slot) frames",
        tolerance="one frame and a 32nd of the frame in the way, since that has 32 phases",
        run=headroom,
    ),
    Oracle(
        name="pfc-formula",
        subject="pfc",
        description="the least headroom for the smallest frames, and SONiC's formula",
        tolerance="none of the bound; else 3 %: the formula's KiB of 1,000 bytes, and a lossless MTU beyond",
        run=formula,
    ),
    Oracle(
        name="pfc-shipped",
        subject="pfc",
        description="the least headroom for 4 KiB messages, and what ships",
        tolerance="none: a bound",
        run=shipped,
    ),
    Oracle(
        name="pfc-auto",
        subject="pfc",
        description="the least headroom for the smallest frames, and headroom=auto",
        tolerance="none: a bound",
        run=automatic,
    ),
)
