"""What a run can look at: in-band telemetry, sampled frames, the way of traced packets; looking changes nothing."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from testbed.analysis.hops import HOP_DTYPE, Outcome
from testbed.analysis.inband import INT_DTYPE
from testbed.analysis.sflow import FLOW_DTYPE
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.validate.plans import (
    FOREVER_PS,
    Data,
    Wire,
    card,
    chain,
    closed,
    finished,
    leaf_spine,
    one_message,
    poisson,
    records_of,
    star,
)
from tests.engine.stations import SWITCH, Station, bench, on_wire_ps, slot_ps, train

Table = npt.NDArray[np.void]
PIPELINE_PS = 300_000
LATENCY_PS = 100_000
PACKETS = 3


def fabric(*, telemetry: bool = False, cut: bool = True, load: int = 6, **config: Any) -> Data:
    """Cards over two leaves and two spines, all but the first with messages of three packets for others."""
    cards = [
        card(
            closed([0] if number % 2 else [(number + 1) % load, 0], 3 * 4096, until_ps=2 * 10**7)
            if number
            else None,
            int_enabled=telemetry,
        )
        for number in range(load)
    ]
    return leaf_spine(
        cards,
        leaves=2,
        spines=2,
        pipeline_latency_ps=PIPELINE_PS,
        cut_through=cut,
        int_enabled=telemetry,
        **config,
    )


def traced(data: Data, psns: int = 60) -> _engine.Twin:
    """A run in which the first packets of all pairs are followed."""
    twin = _engine.Twin(build_plan(data))
    cards = [place for place, node in enumerate(data["nodes"]) if node["kind"] == "nic"]
    twin.trace_packets([(a, b, psn) for a in cards for b in cards if a != b for psn in range(psns)])
    twin.run(FOREVER_PS)
    return twin


def hops_of(twin: _engine.Twin) -> dict[tuple[int, int, int], list[Any]]:
    """Stops of each packet in order of time; packets that were sent twice are left out."""
    found: dict[tuple[int, int, int], list[Any]] = defaultdict(list)
    for hop in np.sort(np.frombuffer(twin.hop_samples(), HOP_DTYPE), order=["arrived_ps", "started_ps"]):
        found[int(hop["src"]), int(hop["dst"]), int(hop["psn"])].append(hop)
    return found


# ----------------------------------------------------------------------------------------------- traced packets


@pytest.mark.parametrize("cut", [True, False], ids=["cut_through", "stored"])
def test_hops_of_a_packet_add_up_to_its_way(cut: bool) -> None:
    paths = hops_of(traced(fabric(cut=cut)))
    assert len(paths) > 100
    waited = 0
    for stops in paths.values():
        for before, here in itertools.pairwise(stops):
            whole = 0 if cut else on_wire_ps(4122)
            assert here["arrived_ps"] == before["started_ps"] + LATENCY_PS + PIPELINE_PS + whole
        for stop in stops:
            assert stop["outcome"] == (
                Outcome.AT_ONCE if stop["arrived_ps"] == stop["started_ps"] else Outcome.WAITED
            )
            waited += int(stop["outcome"] == Outcome.WAITED)
        assert len(stops) in (2, 4)
    assert waited > 50


def test_last_hops_of_a_message_end_in_its_record() -> None:
    twin = traced(fabric())
    paths = hops_of(twin)
    records = records_of(twin)
    checked = 0
    for record in records:
        first_psn = PACKETS * int(
            (
                records[(records["src"] == record["src"]) & (records["dst"] == record["dst"])]["seq"]
                < record["seq"]
            ).sum()
        )
        keys = [(int(record["src"]), int(record["dst"]), first_psn + n) for n in range(PACKETS)]
        if not all(key in paths for key in keys):
            continue
        ends = [int(paths[key][-1]["started_ps"]) + LATENCY_PS + on_wire_ps(4122) for key in keys]
        assert int(record["delivered_ps"]) == max(ends)
        assert int(record["first_byte_ps"]) == int(paths[keys[0]][0]["started_ps"])
        checked += 1
    assert checked > 30


def test_wait_of_a_hop_is_what_was_ahead_by_hand() -> None:
    # Four cards send one packet each at the same instant; the first goes on, the others wait for those before.
    data = star([card(), *[card(one_message(0, 4096)) for _ in range(4)]])
    paths = hops_of(traced(data, 1))
    stops = [paths[1 + n, 0, 0][1] for n in range(4)]
    assert [int(stop["ahead_bytes"]) for stop in stops] == [0, 0, 4122, 8244]
    assert [int(stop["started_ps"] - stop["arrived_ps"]) for stop in stops] == [
        n * slot_ps(4122) for n in range(4)
    ]
    assert [int(stop["ahead_flow_bytes"]) for stop in stops] == [0, 0, 4122, 4122]
    assert [(int(stop["ahead_src"]), int(stop["ahead_dst"])) for stop in stops[2:]] == [(2, 0), (2, 0)]


def test_hop_of_a_dropped_packet_is_its_last_until_it_is_sent_again() -> None:
    data = star([card(), *[card(one_message(0, 4096), rto_ps=10**7) for _ in range(3)]], buffer_bytes=4_200)
    for node in data["nodes"][1:4]:
        node["config"]["rto_ps"] = 10**7
    data["nodes"][-1]["config"]["alpha_log2"] = 16
    stops = hops_of(traced(data, 1))[3, 0, 0]
    assert [Outcome(stop["outcome"]).name for stop in stops] == ["AT_ONCE", "DROPPED", "AT_ONCE", "AT_ONCE"]


def test_pause_shows_in_the_hop_that_it_held_up() -> None:
    load = closed(0, 4096, until_ps=3 * 10**6, window=32)
    data = star(
        [card(), *[card(load, data_class=3) for _ in range(3)]],
        buffer_bytes=40_000,
        lossless_classes=8,
        headroom_bytes=[200_000] * 5,
        lossless_alpha_log2=-2,
    )
    stops = [stop for path in hops_of(traced(data, 40)).values() for stop in path]
    at_cards = [stop for stop in stops if stop["entity"] < 4]
    assert any(0 < stop["paused_ps"] <= stop["started_ps"] - stop["arrived_ps"] for stop in at_cards)
    assert all(stop["paused_ps"] <= stop["started_ps"] - stop["arrived_ps"] for stop in stops)


# ----------------------------------------------------------------------------------------------- in-band telemetry


@pytest.mark.parametrize("cut", [True, False], ids=["cut_through", "stored"])
def test_telemetry_names_the_hops_that_the_packet_took_and_their_latency(cut: bool) -> None:
    twin = traced(fabric(telemetry=True, cut=cut))
    samples = np.frombuffer(twin.int_samples(), INT_DTYPE)
    paths = hops_of(twin)
    checked = 0
    for key, stops in paths.items():
        src, dst, psn = key
        mine = samples[(samples["src"] == src) & (samples["dst"] == dst) & (samples["psn"] == psn)]
        if len(mine) != len(stops) - 1:
            continue  # under way at the end
        assert mine["place"].tolist() == list(range(len(stops) - 1))
        assert mine["switch"].tolist() == [int(stop["entity"]) for stop in stops[1:]]
        assert mine["egress_port"].tolist() == [int(stop["port"]) for stop in stops[1:]]
        first_bits = [int(stop["started_ps"]) + LATENCY_PS for stop in stops[:-1]]
        waits = [int(stop["started_ps"]) - bit for stop, bit in zip(stops[1:], first_bits, strict=True)]
        assert mine["latency_ns"].tolist() == [wait // 1000 for wait in waits]
        assert (mine["queue_occupancy"] >> 24).tolist() == [3] * len(mine)
        checked += len(mine)
    assert checked > 200


def test_telemetry_costs_its_bytes_on_each_wire() -> None:
    plain, told = (
        records_of(
            finished(chain(card(one_message(1, 1000), int_enabled=on), card(), [Wire()] * 3, int_enabled=on))
        )
        for on in (False, True)
    )
    # 4 bytes from the card on; 16 more from each switch: the last wire carries 36 more.
    assert int(told["delivered_ps"][0]) - int(plain["delivered_ps"][0]) == 36 * 20


def test_telemetry_of_a_card_alone_takes_only_its_shim() -> None:
    twin = finished(chain(card(one_message(1, 1000), int_enabled=True), card(), [Wire()] * 3))
    assert len(np.frombuffer(twin.int_samples(), INT_DTYPE)) == 0
    assert twin.counters()["n2"]["port1.in_octets"] == 1000 + 26 + 4


def test_telemetry_stops_at_eight_hops() -> None:
    twin = finished(
        chain(card(one_message(1, 1000), int_enabled=True), card(), [Wire()] * 11, int_enabled=True)
    )
    samples = np.frombuffer(twin.int_samples(), INT_DTYPE)
    assert samples["switch"].tolist() == list(range(2, 10))
    assert (samples["ingress_port"].tolist(), samples["egress_port"].tolist()) == ([1] * 8, [2] * 8)


def test_telemetry_of_the_queue_is_its_depth_on_arrival_in_units_of_64() -> None:
    data = star([card(), *[card(one_message(0, 4096), int_enabled=True) for _ in range(4)]], int_enabled=True)
    samples = np.sort(np.frombuffer(finished(data).int_samples(), INT_DTYPE), order="src")
    assert (samples["queue_occupancy"] & 0xFFFFFF).tolist() == [0, 0, 4126 // 64, 2 * 4126 // 64]


# ----------------------------------------------------------------------------------------------------- sFlow


@pytest.mark.parametrize("interval", [1, 10, 100])
def test_sflow_takes_one_frame_in_so_many_on_average(interval: int) -> None:
    count = 20_000
    twin = bench([Station(sends=train(0, 1, count, 64)), Station()], sflow_interval=interval)
    twin.run(FOREVER_PS)
    samples = np.frombuffer(twin.flow_samples(), FLOW_DTYPE)
    skips = np.diff(samples["sequence"].astype(int))
    assert skips.min() >= 1
    assert skips.max() <= 2 * interval - 1
    # A uniform skip of 1 to 2 N - 1 has the mean N and at most the deviation N / sqrt 3.
    assert len(samples) == pytest.approx(count / interval, rel=3.3 / (3 * count / interval) ** 0.5 + 1e-9)
    assert set(samples["switch"]) == {SWITCH}
    assert samples["psn"].tolist() == [number - 1 for number in samples["sequence"].tolist()]
    assert set(samples["frame_bytes"]) == {64}


def test_sflow_of_each_port_has_draws_of_its_own() -> None:
    senders = [Station(sends=train(n, 2, 500, psn=0)) for n in range(2)]
    twin = bench([*senders, Station()], sflow_interval=10)
    twin.run(FOREVER_PS)
    samples = np.frombuffer(twin.flow_samples(), FLOW_DTYPE)
    by_port = [samples[samples["ingress_port"] == port]["sequence"].tolist() for port in (1, 2)]
    assert by_port[0] != by_port[1]
    assert min(map(len, by_port)) > 30


# ------------------------------------------------------------------------------------------- looking changes nothing


def test_looking_changes_no_record() -> None:
    loads = [card(poisson(0, 9000, interval_ps=10**6, until_ps=10**8)) for _ in range(4)]
    config: dict[str, Any] = {
        "ecn": [[10_000, 40_000, 500_000]] * 8,
        "path_choice": "SPRAY",
        "buffer_bytes": 100_000,
    }

    def data(**more: Any) -> Data:
        return leaf_spine([card(), *loads], leaves=2, spines=2, **config | more)

    plain = records_of(finished(data()))
    assert plain["marks"].any()
    assert records_of(finished(data(sflow_interval=3))).tolist() == plain.tolist()
    assert records_of(traced(data(), 200)).tolist() == plain.tolist()
    followed = _engine.Twin(build_plan(data()))
    followed.trace_queues(FOREVER_PS, 10**6)
    followed.run(FOREVER_PS)
    assert records_of(followed).tolist() == plain.tolist()
    # A switch that would write telemetry leaves packets alone that carry none.
    assert records_of(finished(data(int_enabled=True))).tolist() == plain.tolist()
