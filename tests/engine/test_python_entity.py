"""Entities written in Python: slow, for prototypes and tests. They stand beside the models in one plan."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from testbed.engine import _engine
from testbed.engine._engine import Frame, Opcode, Plan, Twin
from testbed.engine.plan import build_plan
from testbed.run.join import TX_DTYPE, join_records
from testbed.validate.plans import (
    BYTE_400G_PS,
    Data,
    Wire,
    card,
    chain,
    closed,
    finished,
    one_message,
    plan,
)
from tests.engine.stations import FRAME_FIELDS

LATENCY_PS = 100_000
Sending = tuple[int, Frame, int]


def frame_of(**values: Any) -> Frame:
    frame = Frame()
    for name, value in values.items():
        setattr(frame, name, value)
    return frame


class Model:
    """Forwards between ports 0 and 1 as soon as the egress is idle; each kind of model changes one thing."""

    def __init__(self, name: str, ports: int, seed: int) -> None:
        self.about = (name, ports, seed)
        self.free_ps = [0] * ports
        self.out: list[Sending] = []

    def receive(self, now_ps: int, port: int, frame: Frame) -> None:
        self.put(now_ps, 1 - port, frame)

    def put(self, now_ps: int, port: int, frame: Frame) -> None:
        start = max(now_ps, self.free_ps[port])
        self.free_ps[port] = start + (frame.frame_bytes + 20) * BYTE_400G_PS
        self.out.append((port, frame, start))

    def on_timer(self, now_ps: int) -> None:
        raise AssertionError("no timer was set")

    def to_send(self, now_ps: int) -> list[Sending]:
        out, self.out = self.out, []
        return out

    def next_event_ps(self) -> int | None:
        return None


def between(
    model: Callable[[str, int, int], object], sender: Data, receiver: Data, *, last_bit: bool = True
) -> Plan:
    """Card 0 - a model - card 1, at 400 Gb/s."""
    built = build_plan(plan([sender, receiver], []))
    middle = built.add_python("middle", model, 0, last_bit)
    built.add_link(0, 0, middle, 0, BYTE_400G_PS, LATENCY_PS)
    built.add_link(middle, 1, 1, 0, BYTE_400G_PS, LATENCY_PS)
    return built


def facing(model: Callable[[str, int, int], object], sender: Data) -> Plan:
    """Card 0 at a model."""
    built = build_plan(plan([sender], []))
    peer = built.add_python("peer", model, 0, True)
    built.add_link(0, 0, peer, 0, BYTE_400G_PS, LATENCY_PS)
    return built


def records_of(twin: Twin) -> Any:
    return join_records([twin.tx_records()], [twin.rx_records()])


def test_python_entity_is_made_with_name_ports_and_seed() -> None:
    made: list[Model] = []

    def factory(name: str, ports: int, seed: int) -> Model:
        made.append(Model(name, ports, seed))
        return made[-1]

    Twin(between(factory, card(one_message(1, 64)), card()))
    assert [model.about for model in made] == [("middle", 2, 1)]


@pytest.mark.parametrize("wire_format", ["thin", "rocev2"])
def test_python_switch_forwards_as_the_built_in_one_does(wire_format: str) -> None:
    load = closed(1, 40_000, until_ps=10**8)
    cards = card(load, wire_format=wire_format), card(wire_format=wire_format)
    twin = Twin(between(Model, *cards))
    twin.run(10**12)
    reference = finished(chain(*cards, [Wire(), Wire()], cut_through=False))
    assert len(records_of(twin)) > 20
    np.testing.assert_array_equal(records_of(twin), records_of(reference))
    assert twin.counters()["middle"] == {}


class Echo(Model):
    """Acknowledges every packet on the spot."""

    def receive(self, now_ps: int, port: int, frame: Frame) -> None:
        psn = (frame.psn + 1) % 2**24
        self.put(now_ps, port, frame_of(opcode=Opcode.ACK, src=1, dst=0, psn=psn, credit=64, frame_bytes=64))


def test_python_echo_keeps_a_card_going() -> None:
    twin = Twin(facing(Echo, card(closed(1, 4096, until_ps=10**8, window=1))))
    twin.run(10**12)
    tx = np.frombuffer(twin.tx_records(), TX_DTYPE)
    round_trip_ps = 2 * LATENCY_PS + (4122 + 8) * 20 + (64 + 8) * 20
    assert twin.done
    assert tx["intended_ps"].tolist() == list(range(0, 10**8, round_trip_ps))
    assert tx["acked"].all()


class TokenBucket(Model):
    """Lets a burst through and then one byte each `BYTE_PS`, towards port 1, by timer."""

    BYTE_PS, BURST_BYTES = 100, 10_000

    def __init__(self, name: str, ports: int, seed: int) -> None:
        super().__init__(name, ports, seed)
        self.waiting: deque[Frame] = deque()
        self.full_ps = 0  # when the bucket is full again

    def receive(self, now_ps: int, port: int, frame: Frame) -> None:
        if port == 1:
            super().receive(now_ps, port, frame)
            return
        self.waiting.append(frame)
        self.release(now_ps)

    def ready_ps(self) -> int:
        return self.full_ps + (self.waiting[0].frame_bytes - self.BURST_BYTES) * self.BYTE_PS

    def release(self, now_ps: int) -> None:
        while self.waiting and self.ready_ps() <= now_ps:
            frame = self.waiting.popleft()
            self.full_ps = max(self.full_ps, now_ps) + frame.frame_bytes * self.BYTE_PS
            self.put(now_ps, 1, frame)

    def on_timer(self, now_ps: int) -> None:
        self.release(now_ps)

    def next_event_ps(self) -> int | None:
        return self.ready_ps() if self.waiting else None


def test_python_token_bucket_sets_the_pace() -> None:
    sender = card(closed(1, 4096, until_ps=1, window=8))
    twin = Twin(between(TokenBucket, sender, card()))
    twin.run(10**12)
    delivered = records_of(twin)["delivered_ps"].tolist()
    first = LATENCY_PS + (4122 + 8) * 20
    behind = LATENCY_PS + (4122 + 8) * 20
    starts = [first, first + 4142 * 20]  # 10 000 bytes of burst: two frames at line rate
    starts += [first + (n * 4122 - 10_000) * 100 for n in range(3, 9)]
    assert delivered == [start + behind for start in starts]


class Wiretap(Model):
    """Writes every frame as bytes and reads it back, as under the virtual clock; keeps those that differ."""

    lost: list[tuple[str, Any, Any]]
    seen = 0

    def receive(self, now_ps: int, port: int, frame: Frame) -> None:
        kind, read, _ = _engine.decode(_engine.encode(frame))
        type(self).seen += 1
        assert kind == "frame"
        for name in FRAME_FIELDS:
            if getattr(read, name) != getattr(frame, name):
                self.lost.append((name, getattr(frame, name), getattr(read, name)))
        super().receive(now_ps, port, frame)


@pytest.mark.parametrize(
    ("wire_format", "reliability"), [("thin", "selective"), ("thin", "go_back_n"), ("rocev2", "go_back_n")]
)
def test_frames_of_every_nic_carry_all_that_models_use_in_their_bytes(
    wire_format: str, reliability: str
) -> None:
    class Tap(Wiretap):
        lost: list[tuple[str, Any, Any]] = []  # noqa: RUF012

    config = {"wire_format": wire_format, "reliability": reliability, "data_class": 5, "ack_class": 6}
    twin = Twin(between(Tap, card(closed(1, 30_001, until_ps=10**8), **config), card(**config)))
    twin.run(10**12)
    assert twin.done
    assert Tap.seen > 200
    assert Tap.lost == []


# ------------------------------------------------------------------------------------------ models that misbehave


class Late(Model):
    def to_send(self, now_ps: int) -> list[Sending]:
        return [(port, frame, start - 1) for port, frame, start in super().to_send(now_ps)]


class Impatient(Model):
    def put(self, now_ps: int, port: int, frame: Frame) -> None:
        self.out += [(port, frame, now_ps), (port, frame, now_ps + 1)]


class Elsewhere(Model):
    def put(self, now_ps: int, port: int, frame: Frame) -> None:
        self.out.append((2, frame, now_ps))


class Shrinking(Model):
    def put(self, now_ps: int, port: int, frame: Frame) -> None:
        frame.frame_bytes = 63
        super().put(now_ps, port, frame)


class Growing(Model):
    def put(self, now_ps: int, port: int, frame: Frame) -> None:
        frame.frame_bytes = 9217
        super().put(now_ps, port, frame)


class Stuck(Model):
    def receive(self, now_ps: int, port: int, frame: Frame) -> None:
        self.now_ps = now_ps

    def on_timer(self, now_ps: int) -> None:
        pass

    def next_event_ps(self) -> int | None:
        return getattr(self, "now_ps", None)


class Nostalgic(Stuck):
    def next_event_ps(self) -> int | None:
        return self.now_ps - 1 if hasattr(self, "now_ps") else None


class Broken(Model):
    def receive(self, now_ps: int, port: int, frame: Frame) -> None:
        raise KeyError("the model's own error")


BAD = [
    (Late, ValueError, "a transmission starts at or after now, once the port is idle"),
    (Impatient, ValueError, "a transmission starts at or after now, once the port is idle"),
    (Elsewhere, ValueError, "no link on that port"),
    (Shrinking, ValueError, "a frame has 64 bytes to the node's largest"),
    (Growing, ValueError, "a frame has 64 bytes to the node's largest"),
    (Stuck, ValueError, "the next event is in the past"),
    (Nostalgic, ValueError, "the next event is in the past"),
    (Broken, KeyError, "the model's own error"),
]


@pytest.mark.parametrize(("model", "error", "message"), BAD)
def test_python_entity_that_misbehaves_is_an_error(
    model: type[Model], error: type[Exception], message: str
) -> None:
    twin = Twin(between(model, card(one_message(1, 64)), card()))
    with pytest.raises(error, match=message):
        twin.run(10**12)


def test_python_entity_without_its_verbs_is_an_error() -> None:
    with pytest.raises(AttributeError, match="to_send"):
        Twin(between(lambda *_: object(), card(one_message(1, 64)), card()))
