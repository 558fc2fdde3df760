"""Frames that a switch's CPU sends; stations and timing are those of test_switch_tables."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.engine import _engine
from testbed.validate.measure import slot_ps
from testbed.validate.plans import FOREVER_PS, NO_ROUTE
from tests.engine.stations import FIRST_ENDPOINT, SWITCH, bench, data_frame, pause
from tests.engine.test_switch_tables import BOTH, FAR, OTHER, at, four, lookup_ps, tables, total


def out_ps(voq: bool, time_ps: int) -> int:
    """When a frame that comes to an idle port at a time starts."""
    stations = four([(time_ps - lookup_ps(voq), data_frame(0, 1))])
    bench(stations, voq=voq).run(FOREVER_PS)
    return stations[1].sent_ps[0]


def encoded(src: int, dst: int, **fields: Any) -> str:
    """As plans have it."""
    return _engine.encode(data_frame(src, dst, **fields)).hex()


@BOTH
def test_packet_out_leaves_as_a_frame_that_is_looked_up_then(voq: bool) -> None:
    """No more and no less than the lookup of one that came by a port."""
    stations = four([])
    twin = bench(stations, voq=voq, packet_outs=[(FAR, 2, encoded(0, 1, psn=7))])
    twin.run(FOREVER_PS)
    (heard,) = stations[1].data
    got = heard.frame
    assert (got.src, got.dst, got.psn) == (FIRST_ENDPOINT, FIRST_ENDPOINT + 1, 7)
    assert stations[1].sent_ps == [out_ps(voq, FAR)]
    assert twin.counters()["hub"]["cpu_out_frames"] == 1
    assert twin.frames_in_use == 0


@BOTH
def test_packet_out_needs_no_rule_and_may_go_where_the_frame_came_from(voq: bool) -> None:
    nothing = tables([], [NO_ROUTE] * 4)
    stations = four([(FAR, data_frame(0, 1))])
    outs = [(2 * FAR, 1, encoded(0, 1)), (2 * FAR, 2, encoded(0, 1))]
    twin = bench(stations, voq=voq, updates=[at(0, nothing)], punt_latency_ps=5, packet_outs=outs)
    twin.run(FOREVER_PS)
    assert [len(station.data) for station in stations] == [1, 1, 0, 0]
    counted = twin.counters()["hub"]
    assert (counted["cpu_frames"], counted["cpu_out_frames"]) == (1, 2)


@BOTH
def test_packet_outs_wait_for_each_other_and_are_lost_in_a_restart(voq: bool) -> None:
    stations = four([])
    outs = [(FAR, 2, encoded(0, 1, psn=psn)) for psn in range(3)]
    late = [(3 * FAR, 2, encoded(0, 1, psn=9))]
    twin = bench(stations, voq=voq, packet_outs=outs + late, restarts=[[3 * FAR, 4 * FAR]])
    twin.run(FOREVER_PS)
    assert stations[1].psns == [0, 1, 2]
    starts = stations[1].sent_ps
    assert starts[2] - starts[0] == 2 * slot_ps(1000)
    counted = twin.counters()["hub"]
    assert (counted["cpu_out_frames"], counted["restart_discards"]) == (3, 1)
    assert twin.frames_in_use == 0


def test_packet_out_is_charged_to_no_ingress_port_and_pauses_nobody() -> None:
    """A lossless class with next to no headroom: a hundred frames for a busy port."""
    stations = four([])
    outs = [(FAR, 2, encoded(0, 1, psn=psn)) for psn in range(100)]
    twin = bench(
        stations,
        packet_outs=outs,
        lossless_classes=255,
        lossless_alpha_log2=-8,
        headroom_bytes=[0] * 5,
        pause_quanta=0xFFFF,
        assert_lossless=True,
    )
    twin.run(FOREVER_PS)
    assert len(stations[1].data) == 100
    assert total(twin.counters()["hub"], "pause_frames_tx") == 0


@BOTH
def test_packet_out_ordered_while_it_runs_is_one_of_the_plan(voq: bool) -> None:
    sends = [(at_ps, data_frame(0, 1, psn=place)) for place, at_ps in enumerate(range(0, 500_000, 50_000))]
    outs = [(600_000, 2, encoded(0, 1, psn=90)), (600_000, 3, encoded(0, 2, psn=91))]
    planned, ordered = four(list(sends)), four(list(sends))
    bench(planned, voq=voq, packet_outs=outs, updates=[at(600_000, OTHER)]).run(FOREVER_PS)
    twin = bench(ordered, voq=voq)
    twin.run(500_000)
    for time_ps, port, frame in outs:
        twin.apply_packet_out("hub", time_ps, port, bytes.fromhex(frame))
    twin.apply_update(SWITCH, 600_000, OTHER)
    twin.run(FOREVER_PS)
    for one, other in zip(planned, ordered, strict=True):
        assert one.sent_ps == other.sent_ps
        assert one.psns == other.psns
    assert sum(len(one.data) for one in ordered) == len(sends) + 2


@BOTH
def test_packet_out_is_refused_where_nobody_could_send_it(voq: bool) -> None:
    frame = bytes.fromhex(encoded(0, 1))
    twin = bench(four([]), voq=voq)
    twin.run(FAR)
    for port, time_ps, given, match in (
        (9, 2 * FAR, frame, "no link"),
        (2, FAR - 1, frame, "came when the time was"),
        (2, 2 * FAR, frame[:-1], "whole frames of cards"),
        (2, 2 * FAR, b"", "whole frames of cards"),
        (2, 2 * FAR, _engine.encode(pause({3: 100})), "whole frames of cards"),
    ):
        with pytest.raises(ValueError, match=match):
            twin.apply_packet_out("hub", time_ps, port, given)
    with pytest.raises(ValueError, match="in order of time"):
        bench(four([]), voq=voq, packet_outs=[(2, 2, frame.hex()), (1, 2, frame.hex())])
