"""A switch between stations: entities that send what a test says, when it says, and write down what comes.

A station hears a frame with its last bit. Entities 0 and 1 keep the run going, 2 is the switch, and station i, at port
i + 1 of the switch, is endpoint 3 + i. All wires have the same latency; a byte takes 20 ps unless a station says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.engine import _engine
from testbed.engine._engine import Frame, Opcode, Twin, WireFormat
from testbed.engine.plan import build_plan
from testbed.validate.measure import slot_ps
from testbed.validate.plans import FOREVER_PS, NO_ROUTE, card, one_message, switch

BYTE_PS = 20
WIRE_PS = 100_000
SWITCH = 2
FIRST_ENDPOINT = 3
FIRST_AND_LAST = 3
MARKED, CORRUPT = 4, 8
QUANTUM_BYTES = 64
FRAME_FIELDS = tuple(name for name in vars(Frame) if not name.startswith("_"))
"""Everything that a model may read from a frame."""
CONTROL_BYTES = 64 + 8
"""A MAC control frame with its preamble."""

VOQ: Mapping[str, int] = {
    "buffer_bytes": 1 << 40,
    "voq_limit_bytes": 1 << 40,
    "credit_bytes": 4096,
    "egress_buffer_bytes": 1 << 20,
    "credit_speedup_permille": 1000,
}
"""A switch with virtual output queues that costs no time."""

Sending = tuple[int, Frame]
"""When the first bit leaves, and what."""


def on_wire_ps(frame_bytes: int, byte_ps: int = BYTE_PS) -> int:
    """From the first bit to the last, preamble included."""
    return (frame_bytes + 8) * byte_ps


def data_frame(src: int, dst: int, frame_bytes: int = 1000, *, traffic_class: int = 3, **more: Any) -> Frame:
    """A data frame from station `src` to station `dst`, thin unless `format` says otherwise."""
    frame = Frame()
    roce = more.get("format") is WireFormat.ROCE_V2
    values = {
        "frame_bytes": frame_bytes,
        "payload_bytes": (frame_bytes - 78) // 4 * 4 if roce else frame_bytes - 26,
        "src": FIRST_ENDPOINT + src,
        "dst": FIRST_ENDPOINT + dst,
        "traffic_class": traffic_class,
        "flags": FIRST_AND_LAST,
    }
    for name, value in (values | more).items():
        setattr(frame, name, value)
    return frame


def control_frame(opcode: Opcode, words: Mapping[int, int]) -> Frame:
    """A MAC control frame with a number for each class that it names."""
    frame = Frame()
    frame.format, frame.opcode, frame.frame_bytes = WireFormat.MAC_CONTROL, opcode, 64
    for c, word in words.items():
        frame.credit |= 1 << c
        if c < 4:
            frame.ack_bits |= word << 16 * c
        elif c < 6:
            frame.psn |= word << 16 * (c - 4)
        else:
            frame.message_bytes |= word << 16 * (c - 6)
    return frame


def pause(quanta: Mapping[int, int]) -> Frame:
    return control_frame(Opcode.PAUSE, quanta)


def words_of(frame: Frame) -> dict[int, int]:
    """The number for each class that a MAC control frame names."""
    packed = frame.ack_bits | frame.psn << 64 | frame.message_bytes << 96
    return {c: packed >> 16 * c & 0xFFFF for c in range(8) if frame.credit >> c & 1}


def train(
    src: int, dst: int, count: int, frame_bytes: int = 1000, *, start_ps: int = 0, **more: Any
) -> list[Sending]:
    """Frames at line rate, numbered from 0 unless `psn` says from where."""
    base = more.pop("psn", 0)
    gap_ps = more.pop("gap_ps", slot_ps(frame_bytes))
    return [
        (start_ps + number * gap_ps, data_frame(src, dst, frame_bytes, psn=base + number, **more))
        for number in range(count)
    ]


@dataclass(slots=True)
class Heard:
    """A frame that came to a station."""

    last_bit_ps: int
    frame: Frame
    byte_ps: int

    @property
    def sent_ps(self) -> int:
        """When its first bit left the switch."""
        return self.last_bit_ps - WIRE_PS - on_wire_ps(self.frame.frame_bytes, self.byte_ps)


@dataclass(slots=True, kw_only=True)
class Station:
    """One endpoint."""

    sends: Sequence[Sending] = ()
    byte_ps: int = BYTE_PS
    wire: Mapping[str, Any] = field(default_factory=dict)
    """Features of its link; direction 0 is to the switch."""
    heard: list[Heard] = field(default_factory=list)
    _told: bool = False

    def receive(self, now_ps: int, port: int, frame: Frame) -> None:
        self.heard.append(Heard(now_ps, frame, self.byte_ps))

    def on_timer(self, now_ps: int) -> None:
        raise AssertionError("no timer was set")

    def to_send(self, now_ps: int) -> list[tuple[int, Frame, int]]:
        if self._told:
            return []
        self._told = True
        return [(0, frame, start_ps) for start_ps, frame in sorted(self.sends, key=lambda item: item[0])]

    def next_event_ps(self) -> int | None:
        return None

    @property
    def data(self) -> list[Heard]:
        """What is no MAC control."""
        return [one for one in self.heard if one.frame.format is not WireFormat.MAC_CONTROL]

    @property
    def control(self) -> list[Heard]:
        return [one for one in self.heard if one.frame.format is WireFormat.MAC_CONTROL]

    @property
    def psns(self) -> list[int]:
        """Numbers of the data frames, as they came."""
        return [one.frame.psn for one in self.data]

    @property
    def sent_ps(self) -> list[int]:
        """When each data frame left the switch."""
        return [one.sent_ps for one in self.data]


def bench(
    stations: Sequence[Station],
    *,
    groups: Sequence[Sequence[int]] | None = None,
    seed: int = 1,
    voq: bool = False,
    **config: Any,
) -> Twin:
    """The twin of a switch with these stations; `groups[i]`: the ports to endpoint i, its own if not given."""
    ports = (
        [[place + 1] for place in range(len(stations))] if groups is None else [list(one) for one in groups]
    )
    nodes = [
        card(one_message(1, 64, start_ps=FOREVER_PS)),
        card(),
        switch(ports, [*[NO_ROUTE] * FIRST_ENDPOINT, *range(len(stations))], **config),
    ]
    if voq:
        tables = {name: nodes[SWITCH]["config"][name] for name in ("groups", "route")}
        nodes[SWITCH] = {"kind": "voq_switch", "config": {**VOQ, **config, **tables}}
    names = ("pacemaker", "pacemaker_peer", "hub")
    named = [{**node, "name": name} for node, name in zip(nodes, names, strict=True)]
    plan = build_plan({"seed": seed, "nodes": named, "links": [[0, 0, 1, 0, BYTE_PS, WIRE_PS]]})
    for place, station in enumerate(stations):
        entity = plan.add_python(f"station{place}", lambda *_, station=station: station, 0, True, 16_384)
        plan.add_link(entity, 0, SWITCH, place + 1, station.byte_ps, WIRE_PS, dict(station.wire))
    return _engine.Twin(plan)


def served(stations: Sequence[Station], *, until_ps: int = FOREVER_PS, **config: Any) -> dict[str, int]:
    """Run to the end; the counters of the switch."""
    twin = bench(stations, **config)
    twin.run(until_ps)
    return twin.counters()["hub"]
