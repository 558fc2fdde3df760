"""Unloaded one-way latency is the sum of its stages, to the picosecond, for every hop count.

The forms are written out here, without the models: a frame of F bytes has its last bit F + 8 byte times after its
first (preamble and delimiter count), and the next one starts F + 20 byte times behind it (the gap counts). A stage
that is free lets an item of b bytes out after occupancy + ceil(b * per_kib / 1024) + latency.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from testbed.analysis.records import Records
from testbed.validate.plans import Data, Wire, card, chain, one_message, run, stage

START_PS = 12_345
MTU_BYTES = 4096

POST = [stage(50_000, occupancy_ps=7_001)]
SEND = [stage(300_000, per_kib_ps=16_000), stage(150_003)]
RECEIVE = [stage(200_000, per_kib_ps=17_001), stage(115_000)]
NOTIFY = [stage(25_000, occupancy_ps=333)]
INGRESS_PS = 260_017


def frames_bytes(message_bytes: int, wire_format: str) -> list[tuple[int, int]]:
    """(payload, frame) of each packet of a message."""
    frames = []
    for index, offset in enumerate(range(0, message_bytes, MTU_BYTES)):
        payload = min(MTU_BYTES, message_bytes - offset)
        if wire_format == "thin":
            size = 14 + 8 + payload + 4
        else:  # Ethernet, IPv4, UDP, BTH, RETH of a first packet, payload in words of four bytes, ICRC, FCS
            size = 14 + 20 + 8 + 12 + (16 if index == 0 else 0) + -(-payload // 4) * 4 + 4 + 4
        frames.append((payload, max(64, size)))
    return frames


def held_ps(item: Data, size: int) -> int:
    """How long an item holds a stage."""
    return int(item["occupancy_ps"] + -(-size * item["occupancy_ps_per_kib"] // 1024))


@dataclass(slots=True)
class Server:
    """FIFO stages in a row; when each is free again."""

    row: Sequence[Data]
    free_ps: list[int] = field(default_factory=list)

    def pass_(self, now_ps: int, size: int) -> int:
        """When an item that comes now leaves."""
        self.free_ps = self.free_ps or [0] * len(self.row)
        for place, item in enumerate(self.row):
            begin = max(now_ps, self.free_ps[place])
            self.free_ps[place] = begin + held_ps(item, size)
            now_ps = self.free_ps[place] + item["latency_ps"]
        return now_ps


def through_switch(
    first_bits: Sequence[int],
    frames: Sequence[tuple[int, int]],
    wires: tuple[Wire, Wire],
    pipeline_ps: int,
    *,
    cut: bool,
) -> list[int]:
    """First bits of one flow's frames at the egress of a switch, from its first bits at the ingress."""
    starts: list[int] = []
    free_ps = 0
    for bit, (_, size) in zip(first_bits, frames, strict=True):
        whole = bit + (size + 8) * wires[0].byte_time_ps + pipeline_ps
        at_once = cut and wires[1].byte_time_ps >= wires[0].byte_time_ps and bit + pipeline_ps >= free_ps
        starts.append(bit + pipeline_ps if at_once else max(whole, free_ps))
        free_ps = starts[-1] + (size + 20) * wires[1].byte_time_ps
    return starts


def expected(
    message_bytes: int, wire_format: str, wires: Sequence[Wire], pipeline_ps: int, *, cut: bool
) -> list[int]:
    """posted, first byte, delivered, completed of a message that is alone in the fabric; at most 64 packets."""
    frames = frames_bytes(message_bytes, wire_format)
    posted = Server(POST).pass_(START_PS, message_bytes)
    send, port_free, bits = Server(SEND), 0, [0] * len(frames)
    for index, (payload, size) in enumerate(frames):
        injected = posted if index < 16 else bits[index - 16]  # 16 packets between scheduler and wire
        bits[index] = max(send.pass_(injected, payload), port_free)
        port_free = bits[index] + (size + 20) * wires[0].byte_time_ps
    first_byte = bits[0]
    for before, behind in itertools.pairwise(wires):
        arrivals = [bit + before.latency_ps for bit in bits]
        bits = through_switch(arrivals, frames, (before, behind), pipeline_ps, cut=cut)
    receive = Server(RECEIVE)
    for bit, (payload, size) in zip(bits, frames, strict=True):
        last_bit = bit + wires[-1].latency_ps + (size + 8) * wires[-1].byte_time_ps
        delivered = receive.pass_(last_bit + INGRESS_PS, payload)
    return [posted, first_byte, delivered, Server(NOTIFY).pass_(delivered, message_bytes)]


def measured(records: Records) -> list[int]:
    assert len(records) == 1
    names = ("posted_ps", "first_byte_ps", "delivered_ps", "completed_ps")
    return [int(records[0][name]) for name in names]


def send_one(
    message_bytes: int, wire_format: str, wires: Sequence[Wire], pipeline_ps: int, *, cut: bool
) -> list[int]:
    at = {"post": POST, "send": SEND, "receive": RECEIVE, "notify": NOTIFY}
    sender = card(one_message(1, message_bytes, start_ps=START_PS), wire_format=wire_format, at=at)
    receiver = card(wire_format=wire_format, at=at, ingress_latency_ps=INGRESS_PS)
    return measured(run(chain(sender, receiver, wires, pipeline_latency_ps=pipeline_ps, cut_through=cut)))


RATES = {
    "equal": [20] * 8,
    "falling": [5, 5, 10, 10, 20, 20, 40, 80],
    "rising": [80, 40, 40, 20, 20, 10, 10, 5],
    "mixed": [20, 10, 40, 20, 80, 5, 20, 10],
}


@pytest.mark.parametrize("hops", range(8))
@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("cut", [True, False], ids=["cut_through", "stored"])
@pytest.mark.parametrize("wire_format", ["thin", "rocev2"])
def test_latency_unloaded_is_the_sum_of_its_stages(
    wire_format: str, cut: bool, rates: str, hops: int
) -> None:
    wires = [
        Wire(byte_time_ps=byte_ps, latency_ps=100_000 + 1_111 * hop)
        for hop, byte_ps in enumerate(RATES[rates][: hops + 1])
    ]
    for size in (1, 37, 38, 39, 4095, 4096, 4097, 8192, 40_001, 40 * MTU_BYTES):
        found = send_one(size, wire_format, wires, 600_000, cut=cut)
        assert found == expected(size, wire_format, wires, 600_000, cut=cut), size


@pytest.mark.parametrize("hops", range(8))
def test_latency_cut_through_one_frame_serialises_once(hops: int) -> None:
    wires = [Wire()] * (hops + 1)
    sender, receiver = card(one_message(1, 4096)), card()
    records = run(chain(sender, receiver, wires, pipeline_latency_ps=250_000))
    frame_ps = (14 + 8 + 4096 + 4 + 8) * 20
    assert measured(records) == [0, 0, *[(hops + 1) * 100_000 + hops * 250_000 + frame_ps] * 2]


@pytest.mark.parametrize("hops", range(8))
def test_latency_store_and_forward_one_frame_serialises_at_each_hop(hops: int) -> None:
    wires = [Wire()] * (hops + 1)
    sender, receiver = card(one_message(1, 4096)), card()
    records = run(chain(sender, receiver, wires, pipeline_latency_ps=250_000, cut_through=False))
    frame_ps = (14 + 8 + 4096 + 4 + 8) * 20
    assert measured(records) == [0, 0, *[(hops + 1) * (100_000 + frame_ps) + hops * 250_000] * 2]


def test_latency_by_hand_two_switches_and_a_faster_middle() -> None:
    # 64 B in a thin frame: 90 B. 100G, 400G, 100G; 1 ns of cable each; switches of 500 ns.
    # Sent at 0. First switch stores, since its egress is faster: 1_000 + 98 * 80 + 500_000          =   508_840
    # Second switch cuts through: 508_840 + 1_000 + 500_000                                          = 1_009_840
    # Last bit at the card: 1_009_840 + 1_000 + 98 * 80                                              = 1_018_680
    wires = [Wire(byte_time_ps=rate, latency_ps=1_000) for rate in (80, 20, 80)]
    records = run(chain(card(one_message(1, 64)), card(), wires, pipeline_latency_ps=500_000))
    assert measured(records) == [0, 0, 1_018_680, 1_018_680]


def test_latency_frame_below_minimum_is_sent_as_64_bytes() -> None:
    wires = [Wire(latency_ps=1_000)]
    assert measured(run(chain(card(one_message(1, 1)), card(), wires)))[2] == 1_000 + 72 * 20
    assert measured(run(chain(card(one_message(1, 38)), card(), wires)))[2] == 1_000 + 72 * 20
    assert measured(run(chain(card(one_message(1, 39)), card(), wires)))[2] == 1_000 + 73 * 20


@pytest.mark.parametrize(("place", "time"), [("post", 0), ("send", 1), ("receive", 2), ("notify", 3)])
def test_stage_latency_shows_from_its_own_time_on(place: str, time: int) -> None:
    def times(at: dict[str, list[Data]]) -> list[int]:
        return measured(run(chain(card(one_message(1, 4096), at=at), card(at=at), [Wire(), Wire()])))

    bare, late = times({}), times({place: [stage(77_777)]})
    assert [b - a for a, b in zip(bare, late, strict=True)] == [0] * time + [77_777] * (4 - time)


def test_stage_occupancy_spaces_packets_and_latency_does_not() -> None:
    # 16 packets of 4 KiB through a stage that holds each for 1 us: the last leaves at 16 us, plus the latency once.
    at = {"send": [stage(5_000, per_kib_ps=250_000)]}
    records = run(chain(card(one_message(1, 16 * 4096), at=at), card(), [Wire()]))
    assert measured(records)[2] == 16 * 1_000_000 + 5_000 + 100_000 + (4122 + 8) * 20


def test_stage_occupancy_per_kib_rounds_up_to_the_picosecond() -> None:
    at = {"post": [stage(per_kib_ps=1)]}
    for size, held in ((1, 1), (1024, 1), (1025, 2), (4096, 4)):
        assert measured(run(chain(card(one_message(1, size), at=at), card(), [Wire()])))[0] == held


def test_reply_is_posted_when_the_request_is_complete() -> None:
    at = {"notify": [stage(25_000)], "post": [stage(50_000)]}
    load = one_message(1, 4096) | {"arrivals": "PING_PONG", "measure_until_ps": 1}
    echo = card({"reply": True, "measure_until_ps": 10**9}, at=at)
    records = run(chain(card(load, at=at), echo, [Wire(), Wire()]))
    one_way_ps = 50_000 + 200_000 + 4130 * 20 + 25_000
    assert records["src"].tolist() == [0, 1]
    assert records["intended_ps"].tolist() == [0, one_way_ps]
    assert records["completed_ps"].tolist() == [one_way_ps, 2 * one_way_ps]
