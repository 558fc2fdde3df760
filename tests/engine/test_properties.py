"""What must hold in every fabric: random small ones, with random rates, buffers, sizes and workloads."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.analysis.records import TIMES, Records
from testbed.engine import _engine
from testbed.validate.plans import Data, Wire, card, closed, drained, leaf_spine, records_of, run, stage

BYTE_TIMES_PS = (80, 40, 20, 10)  # 100, 200, 400, 800 Gb/s
SIZES_BYTES = (1, 64, 1000, 4096, 4097, 20_000, 65_536)
SHAPES = ((1, 0), (2, 1), (2, 2), (3, 1))

PROPERTIES = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@st.composite
def wires(draw: st.DrawFn, count: int) -> list[Wire]:
    return [
        Wire(byte_time_ps=draw(st.sampled_from(BYTE_TIMES_PS)), latency_ps=draw(st.integers(1, 10**6)))
        for _ in range(count)
    ]


@st.composite
def cards_of(draw: st.DrawFn, count: int, wire_format: str, *, quiet: bool) -> list[Data]:
    """Closed loops to random peers; quiet: only the first card sends, each message long after the one before."""
    config = {
        "ack_latency_ps": draw(st.integers(0, 10**5)),
        "ingress_latency_ps": draw(st.integers(0, 10**5)),
    }
    config["retry_limit"] = 1000
    place = draw(st.sampled_from(["post", "send", "receive", "notify"]))
    at = {place: [stage(draw(st.integers(0, 10**6)), occupancy_ps=draw(st.integers(0, 10**5)))]}
    cards = []
    for number in range(count):
        others = [peer for peer in range(count) if peer != number]
        peers = draw(st.lists(st.sampled_from(others), min_size=1, max_size=3, unique=True))
        load = closed(
            peers, draw(st.sampled_from(SIZES_BYTES)), until_ps=10**8, window=draw(st.integers(1, 8))
        )
        if quiet:
            load |= {"arrivals": "PERIODIC", "interval_ps": 10**9, "measure_until_ps": 10 * 10**9}
        silent = number > 0 if quiet else draw(st.integers(0, 4)) == 0
        # Equal time-outs can lock two streams in step, each dropping the other's acknowledgements for ever.
        rto_ps = 10**9 if quiet else 5 * 10**7 + 7_919_993 * number
        cards.append(card(None if silent else load, wire_format=wire_format, at=at, rto_ps=rto_ps, **config))
    return cards


@st.composite
def fabrics(draw: st.DrawFn, *, quiet: bool = False, wire_format: str | None = None) -> Data:
    leaves, spines = draw(st.sampled_from(SHAPES))
    count = draw(st.integers(2, 8))
    wire_format = wire_format or draw(st.sampled_from(["thin", "rocev2"]))
    return leaf_spine(
        draw(cards_of(count, wire_format, quiet=quiet)),
        leaves=leaves,
        spines=spines,
        edge=draw(wires(count)),
        core=draw(wires(leaves * spines)),
        seed=draw(st.integers(0, 2**64 - 1)),
        pipeline_latency_ps=draw(st.integers(0, 10**6)),
        cut_through=draw(st.booleans()),
        buffer_bytes=draw(st.sampled_from([10_000, 40_000, 10**6, 10**9])),
        cell_bytes=draw(st.sampled_from([1, 208, 254])),
        alpha_log2=draw(st.integers(-2, 3)),
        reserved_bytes=draw(st.sampled_from([0, 5_000])),
    )


def switches(data: Data, twin: _engine.Twin) -> list[dict[str, int]]:
    names = [node["name"] for node in data["nodes"] if node["kind"] == "switch"]
    return [twin.counters()[name] for name in names]


def total(counters: dict[str, int], name: str) -> int:
    """A port counter summed over the ports."""
    return sum(value for key, value in counters.items() if key.split(".")[1:] == [name])


def frame_bytes(data: Data, size: int) -> int:
    thin = data["nodes"][0]["config"]["format"] == "THIN"
    return max(64, 26 + size) if thin else 78 + size + -size % 4


@given(fabrics())
@PROPERTIES
def test_fabric_any_every_frame_is_accounted_for(data: Data) -> None:
    twin = drained(data)
    records = records_of(twin)  # each message once and whole
    assert twin.frames_in_use == 0
    counters = [
        value for name, value in twin.counters().items() if name in {n["name"] for n in data["nodes"]}
    ]
    dropped = 0
    for node in switches(data, twin):
        lost = total(node, "out_discards") + node["no_route_discards"]
        assert total(node, "in_frames") == total(node, "out_frames") + lost
        assert total(node, "in_octets") == total(node, "out_octets") + total(node, "out_discard_octets")
        assert node["no_route_discards"] == 0
        assert node["buffer_watermark_bytes"] <= data["nodes"][-1]["config"]["buffer_bytes"]
        dropped += lost
    sums = {name: sum(c.get(name, 0) for c in counters) for name in CARD_COUNTERS}
    sent = sums["tx_packets"] + sums["tx_acks"] + sums["tx_naks"]
    assert sent == sums["rx_packets"] + sums["rx_acks"] + sums["rx_naks"] + dropped
    assert sums["tx_retransmits"] == records["retransmits"].sum()
    assert sums["tx_messages"] == sums["rx_messages"] == len(records)
    assert dropped or sums["tx_timeouts"] or not sums["tx_retransmits"]


CARD_COUNTERS = [
    "tx_messages",
    "tx_packets",
    "tx_retransmits",
    "tx_acks",
    "tx_naks",
    "tx_timeouts",
    "rx_messages",
    "rx_packets",
    "rx_acks",
    "rx_naks",
]


@given(fabrics())
@PROPERTIES
def test_fabric_any_times_of_a_message_are_in_order(data: Data) -> None:
    records = records_of(drained(data))
    for before, after in itertools.pairwise(TIMES):
        assert (records[before] <= records[after]).all(), (before, after)
    sequence = np.lexsort((records["seq"], records["src"]))
    ordered = records[sequence]
    same = ordered["src"][1:] == ordered["src"][:-1]
    assert (ordered["seq"][1:][same] == ordered["seq"][:-1][same] + 1).all()
    assert (ordered["intended_ps"][1:] >= ordered["intended_ps"][:-1])[same].all()


@given(fabrics(wire_format="rocev2"))
@PROPERTIES
def test_fabric_go_back_n_delivers_each_stream_in_order(data: Data) -> None:
    records = records_of(drained(data))
    ordered = records[np.lexsort((records["seq"], records["dst"], records["src"]))]
    same = (ordered["src"][1:] == ordered["src"][:-1]) & (ordered["dst"][1:] == ordered["dst"][:-1])
    for name in ("delivered_ps", "completed_ps"):
        assert (ordered[name][1:] >= ordered[name][:-1])[same].all()


def unloaded_ps(data: Data, src: int, dst: int, size: int) -> int:
    """The sum of the stages on the shortest way of a message of one packet; documented in test_closed_forms.py."""
    stages = data["nodes"][0]["stages"]
    nic = sum(s["latency_ps"] + s["occupancy_ps"] for row in stages.values() for s in row)
    nic += data["nodes"][0]["config"]["ingress_latency_ps"]
    return nic + min(way_ps(data, way, frame_bytes(data, size)) for way in ways(data, src, dst))


def ways(data: Data, src: int, dst: int) -> list[list[tuple[int, int]]]:
    """All shortest ways, each as (byte time, latency) of its links."""
    between = {(a, b): (rate, latency) for a, _, b, _, rate, latency in data["links"]}
    between |= {(b, a): value for (a, b), value in between.items()}
    fringe = [[src]]
    while True:
        found = [way for way in fringe if way[-1] == dst]
        if found:
            return [[between[pair] for pair in itertools.pairwise(way)] for way in found]
        fringe = [[*way, b] for way in fringe for a, b in between if a == way[-1] and b not in way]


def way_ps(data: Data, way: Sequence[tuple[int, int]], size: int) -> int:
    """First bit out to last bit in."""
    config = data["nodes"][-1]["config"]
    now = sum(latency for _, latency in way) + (len(way) - 1) * config["pipeline_latency_ps"]
    for (rate_in, _), (rate_out, _) in itertools.pairwise(way):
        if not config["cut_through"] or rate_out < rate_in:
            now += (size + 8) * rate_in
    return now + (size + 8) * way[-1][0]


def bound_holds(data: Data, records: Records) -> bool:
    single = records[records["message_bytes"] <= 4096]
    for row in single:
        floor = unloaded_ps(data, int(row["src"]), int(row["dst"]), int(row["message_bytes"]))
        if int(row["completed_ps"]) - int(row["intended_ps"]) < floor:
            return False
    return True


@given(fabrics())
@PROPERTIES
def test_fabric_loaded_no_message_is_faster_than_unloaded(data: Data) -> None:
    assert bound_holds(data, records_of(drained(data))[:200])


@given(fabrics(quiet=True))
@PROPERTIES
def test_fabric_quiet_every_message_takes_the_sum_of_its_stages_on_some_way(data: Data) -> None:
    stages = data["nodes"][0]["stages"]
    nic = sum(s["latency_ps"] + s["occupancy_ps"] for row in stages.values() for s in row)
    nic += data["nodes"][0]["config"]["ingress_latency_ps"]
    records = run(data)
    assert len(records) == 10
    for row in records[records["message_bytes"] <= 4096]:
        size = frame_bytes(data, int(row["message_bytes"]))
        possible = {nic + way_ps(data, way, size) for way in ways(data, int(row["src"]), int(row["dst"]))}
        assert int(row["completed_ps"]) - int(row["intended_ps"]) in possible
