"""Switches that restart, and what they hand to their CPU; stations and timing are those of test_switch_tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testbed.analysis.depths import SAMPLE_DTYPE, SampleKind
from testbed.engine import _engine
from testbed.engine._engine import Opcode
from testbed.engine.plan import build_plan
from testbed.validate.plans import FOREVER_PS, NO_ROUTE, card, one_message, star
from tests.engine.stations import (
    CORRUPT,
    FIRST_ENDPOINT,
    QUANTUM_BYTES,
    SWITCH,
    WIRE_PS,
    Station,
    bench,
    data_frame,
    on_wire_ps,
    pause,
    slot_ps,
    train,
)
from tests.engine.test_switch_tables import (
    BOTH,
    CPU_ROUTE,
    FAR,
    OTHER,
    at,
    four,
    hub,
    lookup_ps,
    tables,
    total,
)

PUNT_DTYPE = np.dtype(
    [
        ("time_ps", "<u8"),
        ("entity", "<u4"),
        ("port", "<u2"),
        ("src", "<u2"),
        ("dst", "<u2"),
        ("", "<u2"),
        ("psn", "<u4"),
    ]
)


# ------------------------------------------------------------------------------------------------------- restarts


@BOTH
@pytest.mark.parametrize(
    ("sent_ps", "arrives"), [(-1, True), (0, True), (1, False), (FAR, False), (FAR + 1, True)]
)
def test_restart_drops_what_is_looked_up_until_it_ends(voq: bool, sent_ps: int, arrives: bool) -> None:
    """From the picosecond behind its beginning to that of its end; nothing else is in the way."""
    from_ps = 10 * FAR
    stations = four([(from_ps + sent_ps - lookup_ps(voq), data_frame(0, 1))])
    counted = hub(stations, voq=voq, restarts=[[from_ps, from_ps + FAR]])
    assert bool(stations[1].data) == arrives
    assert counted.get("restart_discards", 0) == int(not arrives)


@BOTH
def test_restart_loses_what_waits_but_not_what_is_on_its_way_out(voq: bool) -> None:
    senders = [Station(sends=train(src, 3, 50, psn=100 * src)) for src in range(3)]
    sink = Station()
    from_ps = 600_000
    twin = bench([*senders, sink], voq=voq, restarts=[[from_ps, from_ps + FAR]])
    twin.trace_queues(FOREVER_PS, 10**5)
    twin.run(FOREVER_PS)
    counted = twin.counters()["hub"]
    assert twin.frames_in_use == 0
    assert total(counted, "in_frames") == 150
    assert counted["restart_discards"] == 150 - len(sink.data)
    assert total(counted, "out_frames") == len(sink.data) > 10
    assert max(sink.sent_ps) <= from_ps, "what had started goes on"
    assert max(sink.sent_ps) > from_ps - slot_ps(1000)
    samples = np.frombuffer(twin.queue_samples(), SAMPLE_DTYPE)
    assert int(samples["value"].max()) > 0
    for kind in (SampleKind.QUEUE, SampleKind.PORT, SampleKind.BUFFER):
        assert int(samples[samples["kind"] == kind]["value"][-1]) == 0


WAYS = [[1], [2], [3, 4], [4]]
STATE: dict[str, dict[str, Any]] = {
    "plain": {},
    "dwrr": {"dwrr_quantum_bytes": [0, 900, 0, 9000, 0, 0, 0, 0]},
    "shaper": {"shaper_ps_per_kib": [0, 0, 0, 60_000, 0, 0, 0, 0], "shaper_burst_bytes": [3000] * 8},
    "stored": {"byte_ps": 10},
    "watchdog": {"watchdog_detection_ps": 100_000, "watchdog_restoration_ps": 10**9},
    "turns": {"groups": WAYS, "path_choice": "ROUND_ROBIN"},
    "flowlets": {
        "groups": WAYS,
        "path_choice": "LEAST_LOADED",
        "flowlet_gap_ps": 10**9,
        "load_quantum_bytes": 1,
    },
    "credits": {"voq": True, "credit_latency_ps": 300_000, "fabric_latency_ps": 50_000},
    "tight": {"voq": True, "egress_buffer_bytes": 4096, "credit_latency_ps": 300_000},
    "slow": {"voq": True, "credit_speedup_permille": 100},
    "voq_turns": {"voq": True, "groups": WAYS, "path_choice": "ROUND_ROBIN"},
}


@pytest.mark.parametrize("state", STATE)
def test_restarted_switch_forwards_as_a_new_one(state: str) -> None:
    """Full queues, and all that a switch can remember; a moment later it is as if there had been nothing."""
    from_ps, after_ps = 920_000, 850_000

    def heard(before: bool) -> list[tuple[int, ...]]:
        config = dict(STATE[state])
        byte_ps = config.pop("byte_ps", 20)
        sources = []
        for src in (0, 1):
            more = {"traffic_class": 1 + 2 * src, "entropy": src}
            early = train(src, 2, 35 - src, **more)
            early += [(720_000, data_frame(src, 2, 5000, **more))] * (state == "stored")
            sources.append(
                Station(sends=early * before + train(src, 2, 30, start_ps=after_ps, psn=500, **more))
            )
        stops = [(time_ps, pause({3: 65_535})) for time_ps in (0, 300_000) if state == "watchdog" and before]
        sinks = [Station(byte_ps=byte_ps, sends=stops), Station(byte_ps=byte_ps)]
        changes = {"restarts": [[from_ps, from_ps + 1]]} if before else {}
        counted = hub([*sources, *sinks], **config, **changes)
        lost = counted.get("restart_discards", 0) + total(counted, "out_discards")
        assert (lost > 0) == (before and "groups" not in STATE[state])
        return [
            (place, one.last_bit_ps, one.frame.src, one.frame.psn)
            for place, sink in enumerate(sinks)
            for one in sink.data
            if one.frame.psn >= 500
        ]

    assert heard(before=True) == heard(before=False)
    assert len(heard(before=False)) == 60


@BOTH
def test_restarted_switch_has_the_tables_of_its_end(voq: bool) -> None:
    stations = four([(5 * FAR, data_frame(0, 1))])
    hub(stations, voq=voq, restarts=[[FAR, 3 * FAR]], updates=[at(2 * FAR, OTHER)])
    assert [len(station.data) for station in stations] == [0, 0, 1, 0]
    stations = four([(5 * FAR, data_frame(0, 1))])
    group = [[1], [2, 3], [3], [4]]
    hub(
        stations,
        voq=voq,
        groups=group,
        watched=[0, 2, 0, 0],
        restarts=[[FAR, 3 * FAR]],
        port_states=[[2 * FAR, 2, 0]],
    )
    assert [len(station.data) for station in stations] == [0, 0, 1, 0]


@BOTH
@pytest.mark.parametrize("during", [False, True])
def test_restart_forgets_pauses_and_hears_none(voq: bool, during: bool) -> None:
    """A pause of 65535 quanta would last 84 us."""
    from_ps, until_ps, sent_ps = 2 * FAR, 4 * FAR, 5 * FAR
    paused = Station(sends=[(3 * FAR if during else FAR, pause({3: 65_535}))])
    stations = [Station(sends=[(sent_ps, data_frame(0, 1))]), paused]
    twin = bench(stations, voq=voq, restarts=[[from_ps, until_ps]])
    twin.trace_queues(FOREVER_PS, 1000)
    twin.run(FOREVER_PS)
    assert paused.sent_ps == [sent_ps + lookup_ps(voq)]
    counted = twin.counters()["hub"]
    assert counted["port2.pause_frames_rx"] == 1
    stopped_ps = 0 if during else from_ps - FAR - WIRE_PS - on_wire_ps(64)
    assert counted.get("port2.c3.pause_rx_ps", 0) == stopped_ps
    samples = np.frombuffer(twin.queue_samples(), SAMPLE_DTYPE)
    told = samples[samples["kind"] == SampleKind.PAUSE_RECEIVED]["value"].tolist()
    assert told == ([] if during else [1, 0])


LOSSLESS: dict[str, Any] = {
    "lossless_classes": 8,
    "lossless_alpha_log2": 0,
    "buffer_bytes": 20_000,
    "headroom_bytes": [10**6] * 6,
    "pause_quanta": 1000,
}


def test_restart_takes_back_no_pause_and_repeats_none() -> None:
    """Two trains into one port fill the headroom; the stations do not listen to pauses."""
    from_ps = 2 * FAR
    stations = [*(Station(sends=train(src, 2, 80)) for src in (0, 1)), Station()]
    counted = hub(stations, restarts=[[from_ps, from_ps + 5 * FAR]], **LOSSLESS)
    without = [*(Station(sends=train(src, 2, 80)) for src in (0, 1)), Station()]
    hub(without, **LOSSLESS)
    assert counted["restart_discards"] > 20, "lossless frames, and no error"
    assert total(counted, "out_discards") == 0
    for station, other in zip(stations[:2], without[:2], strict=True):
        assert [one.frame.opcode for one in station.control] == [Opcode.PAUSE] * len(station.control)
        assert 0 < len(station.control) < len(other.control)
        assert max(one.sent_ps for one in station.control) <= from_ps
    stopped = [value for key, value in counted.items() if key.endswith(".pause_tx_ps")]
    assert stopped
    assert max(stopped) < from_ps
    pause_ps = 1000 * QUANTUM_BYTES * 20
    assert pause_ps // 2 < FAR, "it would have been repeated"


def test_restart_pauses_anew_afterwards() -> None:
    later_ps = 10 * FAR
    sends = [train(src, 2, 80) + train(src, 2, 80, start_ps=later_ps, psn=200) for src in (0, 1)]
    stations = [*(Station(sends=one) for one in sends), Station()]
    hub(stations, restarts=[[2 * FAR, 5 * FAR]], **LOSSLESS)
    fresh = [*(Station(sends=train(src, 2, 80, start_ps=later_ps, psn=200)) for src in (0, 1)), Station()]
    hub(fresh, **LOSSLESS)
    for station, other in zip(stations, fresh, strict=True):
        late = [(one.last_bit_ps, one.frame.opcode) for one in station.heard if one.last_bit_ps > later_ps]
        assert late == [(one.last_bit_ps, one.frame.opcode) for one in other.heard]


def test_restart_on_a_link_with_credits_is_refused() -> None:
    for config in ({"credit_bytes": 32_000}, {"credit_bytes": 32_000, "restarts": [[1, 2]]}):
        data = star([card(one_message(1, 64)), card()], **config)
        data["links"] = [[*link[:6], {"cbfc": True}] for link in data["links"]]
        if "restarts" not in config:
            _engine.Twin(build_plan(data))
            continue
        with pytest.raises(ValueError, match="credit-based flow control"):
            _engine.Twin(build_plan(data))


# ------------------------------------------------------------------------------------------------------- CPU port


def punts(twin: _engine.Twin) -> list[tuple[int, ...]]:
    """Time, entity, port, source, destination, number."""
    found = np.frombuffer(twin.punt_samples(), PUNT_DTYPE)
    return [
        tuple(int(line[name]) for name in ("time_ps", "entity", "port", "src", "dst", "psn"))
        for line in found
    ]


@BOTH
def test_cpu_gets_what_has_no_rule_or_a_rule_that_says_so(voq: bool) -> None:
    sends = [
        (FAR, data_frame(0, 1, psn=1)),
        (2 * FAR, data_frame(0, 2, psn=2)),
        (3 * FAR, data_frame(0, 90, psn=3)),
    ]
    given = tables([[1], [2], [3]], [0, CPU_ROUTE, NO_ROUTE])
    twin = bench(four(sends), voq=voq, punt_latency_ps=5, updates=[at(0, given)])
    twin.run(FOREVER_PS)
    ingress, src = 1, FIRST_ENDPOINT
    assert punts(twin) == [
        (number * FAR + lookup_ps(voq), SWITCH, ingress, src, FIRST_ENDPOINT + dst, number)
        for number, dst in ((1, 1), (2, 2), (3, 90))
    ]
    counted = twin.counters()["hub"]
    assert counted["cpu_frames"] == 3
    assert counted["no_route_discards"] == 0
    assert twin.frames_in_use == 0


@BOTH
def test_no_punts_configured_counts_as_without_route(voq: bool) -> None:
    given = tables([[1], [2], [3]], [0, CPU_ROUTE, NO_ROUTE])
    sends = [(FAR, data_frame(0, 1)), (2 * FAR, data_frame(0, 2)), (3 * FAR, data_frame(0, 90))]
    twin = bench(four(sends), voq=voq, updates=[at(0, given)])
    twin.run(FOREVER_PS)
    assert punts(twin) == []
    assert twin.counters()["hub"]["no_route_discards"] == 3
    assert "cpu_frames" not in twin.counters()["hub"]


@BOTH
def test_cpu_gets_no_damaged_frame_and_none_that_would_go_back(voq: bool) -> None:
    sends = [(FAR, data_frame(0, 90, flags=3 | CORRUPT)), (2 * FAR, data_frame(0, 0))]
    twin = bench(four(sends), voq=voq, punt_latency_ps=5)
    twin.run(FOREVER_PS)
    assert punts(twin) == []
    assert twin.counters()["hub"]["no_route_discards"] == 2
