"""Tables that change while a switch runs, ports that go down, detours, restarts and the CPU port, in both switches.

A frame that leaves its station at t is looked up at t + LOOKUP_PS; changes of that time come behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

DROP_ROUTE, CPU_ROUTE = _engine.DROP_ROUTE, _engine.CPU_ROUTE
FAR = 10**6
"""So far apart that every port is idle again."""
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
BOTH = pytest.mark.parametrize("voq", [False, True], ids=["shared", "voq"])
Tables = dict[str, Any]


def lookup_ps(voq: bool, frame_bytes: int = 1000) -> int:
    """From the first bit out of a station to the lookup: a VOQ switch stores what comes."""
    return WIRE_PS + (on_wire_ps(frame_bytes) if voq else 0)


def tables(groups: Sequence[Sequence[int]], route: Sequence[int], **more: Any) -> Tables:
    """By station: `route[i]` is that of endpoint i."""
    return {"groups": groups, "route": [*[NO_ROUTE] * FIRST_ENDPOINT, *route], **more}


def at(time_ps: int, given: Tables) -> Tables:
    return {"time_ps": time_ps, **given}


def own_routes(port: int, route: Sequence[int]) -> list[Any]:
    return [port, [*[NO_ROUTE] * FIRST_ENDPOINT, *route]]


def hub(stations: Sequence[Station], until_ps: int = FOREVER_PS, **config: Any) -> dict[str, int]:
    """Run; what the switch counted."""
    twin = bench(stations, **config)
    twin.run(until_ps)
    if until_ps == FOREVER_PS:
        assert twin.frames_in_use == 0
    return twin.counters()["hub"]


def total(counters: Mapping[str, int], name: str) -> int:
    return sum(value for key, value in counters.items() if key.split(".")[1:] == [name])


# ------------------------------------------------------------------------------------------------------ updates


def four(sends: Sequence[Any] = (), **more: Any) -> list[Station]:
    """Station 0 sends, the others listen."""
    return [Station(sends=sends, **more), Station(), Station(), Station()]


OTHER = tables([[1], [3], [2], [4]], range(4))
"""Stations 1 and 2 have changed places."""


@BOTH
@pytest.mark.parametrize(("late_ps", "hears"), [(-1, 1), (0, 1), (1, 2)])
def test_update_takes_effect_behind_what_is_looked_up_at_its_time(
    voq: bool, late_ps: int, hears: int
) -> None:
    stations = four([(FAR, data_frame(0, 1))])
    hub(stations, voq=voq, updates=[at(FAR + lookup_ps(voq) - late_ps, OTHER)])
    assert [len(station.data) for station in stations] == [0, int(hears == 1), int(hears == 2), 0]


@BOTH
def test_updates_each_replace_everything_before(voq: bool) -> None:
    stations = four([(place * FAR, data_frame(0, 1, psn=place)) for place in range(4)])
    back = tables([[1], [2], [3], [4]], range(4))
    none = tables([[1]], [0])
    updates = [at(FAR // 2, OTHER), at(3 * FAR // 2, none), at(5 * FAR // 2, back)]
    counted = hub(stations, voq=voq, updates=updates)
    assert [station.psns for station in stations] == [[], [0, 3], [1], []]
    assert counted["no_route_discards"] == 1


@BOTH
def test_update_that_has_more_endpoints_and_a_choice_where_there_was_none(voq: bool) -> None:
    sends = [(place * FAR, data_frame(0, 1, psn=place)) for place in range(9)]
    stations = four(sends)
    config: dict[str, Any] = {"path_choice": "FLOWLET", "flowlet_gap_ps": 1, "voq": voq}
    given = tables([[2, 3, 4]], [NO_ROUTE, 0])
    hub(stations, updates=[at(0, given)], **config)
    before = four(sends)
    hub(before, groups=[[1], [2, 3, 4], [3], [4]], **config)
    assert [station.psns for station in stations] == [station.psns for station in before]
    assert sum(bool(station.psns) for station in stations) > 1


@BOTH
def test_apply_update_to_a_running_switch_is_an_update_of_its_plan(voq: bool) -> None:
    def sends() -> list[Any]:
        return train(0, 1, 40)

    planned = four(sends())
    hub(planned, voq=voq, updates=[at(500_000, OTHER), at(600_000, tables([[4]], [0] * 4))])
    told = four(sends())
    twin = bench(told, voq=voq)
    twin.run(400_000)
    twin.apply_update("hub", 500_000, OTHER)
    twin.run(600_000)
    twin.apply_update(SWITCH, 600_000, tables([[4]], [0] * 4))
    twin.run(FOREVER_PS)
    assert [station.psns for station in told] == [station.psns for station in planned]
    assert all(station.psns for station in told[1:])


@BOTH
def test_apply_update_refuses_the_past_a_card_and_what_no_switch_can_hold(voq: bool) -> None:
    twin = bench(four([(0, data_frame(0, 1))]), voq=voq)
    twin.run(FAR)
    for node, time_ps, given, what in (
        ("hub", FAR - 1, OTHER, "the time was"),
        ("pacemaker", FAR, OTHER, "no switch"),
        ("nobody", FAR, OTHER, "name or number"),
        (99, FAR, OTHER, "name or number"),
        ("hub", FAR, {"colour": 3}, "no colour"),
        ("hub", FAR, tables([[9]], [0]), "names port 9"),
        ("hub", FAR, tables([[1]], [1]), "names no group"),
        ("hub", FAR, tables([[1]], [0], ingress_routes=[own_routes(9, [0])]), "names port 9"),
        ("hub", FAR, tables([[1]], [0], ingress_routes=[own_routes(1, [1])]), "names no group"),
        ("hub", FAR, tables([[1]], [0], watched=[3]), "failover"),
        ("hub", FAR, tables([[1]], [0], watched=[0, 0]), "watched"),
        ("hub", FAR, tables([[1, 2]], [0], weights=[[0, 0]]), "weights"),
    ):
        with pytest.raises(ValueError, match=what):
            twin.apply_update(node, time_ps, given)
    twin.run(FOREVER_PS)


@BOTH
@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"updates": [at(5, OTHER), at(4, OTHER)]}, "order of time"),
        ({"updates": [OTHER]}, "time_ps"),
        ({"port_states": [[5, 1, 0], [4, 1, 1]]}, "order of time"),
        ({"port_states": [[5, 9, 0]]}, "names port 9"),
        ({"port_states": [[5, 1, 2]]}, "0 or 1"),
        ({"restarts": [[5, 5]]}, "ends after"),
        ({"restarts": [[5, 9], [8, 10]]}, "follow each other"),
        ({"ingress_routes": [own_routes(1, [0]), own_routes(1, [0])]}, "once"),
    ],
)
def test_changes_that_cannot_be_are_refused(voq: bool, config: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        bench(four(), voq=voq, **config)


# ------------------------------------------------------------------------------------------------ watched groups

CHOICES = pytest.mark.parametrize("choice", ["HASH", "FLOWLET", "LEAST_LOADED", "SPRAY", "ROUND_ROBIN"])


def spread(count: int, groups: Sequence[Sequence[int]], **config: Any) -> list[list[int]]:
    """Flows from station 0 to endpoint 1, by the station that hears them."""
    stations = four([(FAR + n * FAR, data_frame(0, 1, psn=n, entropy=n)) for n in range(count)])
    hub(stations, groups=groups, **config)
    return [station.psns for station in stations]


@BOTH
@CHOICES
@pytest.mark.parametrize("weights", [None, [2, 7, 3]])
def test_watched_group_is_one_of_the_ports_that_are_up(
    voq: bool, choice: str, weights: list[int] | None
) -> None:
    config: dict[str, Any] = {"voq": voq, "path_choice": choice, "flowlet_gap_ps": 1}

    def weighted(of_group: list[int] | None) -> dict[str, Any]:
        return {} if of_group is None else {"weights": [[1], of_group, [1], [1]]}

    watched = {"watched": [0, 1, 0, 0], **weighted(weights)}
    all_three, without = [[1], [2, 3, 4], [3], [4]], [[1], [2, 4], [3], [4]]
    whole = spread(200, all_three, **config, **weighted(weights))
    assert spread(200, all_three, **config, **watched) == whole
    down: dict[str, Any] = {"port_states": [[0, 3, 0]]}
    left = spread(200, without, **config, **weighted(weights and [2, 3]))
    assert spread(200, all_three, **config, **watched, **down) == left
    assert left[2] == []
    again = {"port_states": [[0, 3, 0], [FAR, 3, 1]]}
    assert spread(200, all_three, **config, **watched, **again) == whole


@BOTH
def test_watched_group_shares_by_the_weights_of_the_ports_that_are_up(voq: bool) -> None:
    config: dict[str, Any] = {"watched": [0, 1, 0, 0], "weights": [[1], [1, 5, 3], [1], [1]]}
    counts = [
        len(one)
        for one in spread(2000, [[1], [2, 3, 4], [3], [4]], voq=voq, port_states=[[0, 3, 0]], **config)
    ]
    assert counts[2] == 0
    expected = (500, 1500)
    chi_square = sum((counts[place] - mean) ** 2 / mean for place, mean in zip((1, 3), expected, strict=True))
    assert chi_square < 10.8, "p = 0.001 with one degree of freedom"


@BOTH
def test_plain_group_does_not_look_at_its_ports(voq: bool) -> None:
    groups = [[1], [2, 3, 4], [3], [4]]
    assert spread(100, groups, voq=voq, port_states=[[0, 3, 0]]) == spread(100, groups, voq=voq)


@BOTH
@pytest.mark.parametrize("kind", [1, 2])
def test_group_without_a_port_that_is_up_drops_and_counts(voq: bool, kind: int) -> None:
    stations = four([(place * FAR, data_frame(0, 1, psn=place)) for place in range(3)])
    times = [[FAR // 2, 2, 0], [FAR // 2, 3, 0], [3 * FAR // 2, 3, 1]]
    counted = hub(
        stations,
        voq=voq,
        groups=[[1], [2, 3], [3], [4]],
        watched=[0, kind, 0, 0],
        port_states=times,
        path_choice="HASH",
    )
    assert counted["no_live_port_discards"] == 1
    assert stations[2].psns[-1:] == [2]
    assert sorted(stations[1].psns + stations[2].psns) == [0, 2]


@BOTH
def test_watched_group_whose_live_ports_weigh_nothing_drops(voq: bool) -> None:
    stations = four([(FAR, data_frame(0, 1))])
    more: dict[str, Any] = {"weights": [[1], [1, 0], [1], [1]], "watched": [0, 1, 0, 0]}
    counted = hub(stations, voq=voq, groups=[[1], [2, 3], [3], [4]], port_states=[[0, 2, 0]], **more)
    assert counted["no_live_port_discards"] == 1


@BOTH
@pytest.mark.parametrize(("late_ps", "hears"), [(-1, 3), (0, 3), (1, 2)])
def test_failover_goes_to_the_first_port_that_is_up_from_the_next_picosecond(
    voq: bool, late_ps: int, hears: int
) -> None:
    stations = four([(FAR, data_frame(0, 1))])
    times = [[FAR + lookup_ps(voq) - late_ps, 4, 0], [FAR + lookup_ps(voq) - late_ps, 3, 1]]
    hub(stations, voq=voq, groups=[[1], [4, 3, 2], [3], [4]], watched=[0, 2, 0, 0], port_states=times)
    assert [bool(station.data) for station in stations] == [place == hears for place in range(4)]


@BOTH
def test_failover_to_the_port_that_a_frame_came_by_drops_it(voq: bool) -> None:
    stations = four([(FAR, data_frame(0, 1))])
    counted = hub(
        stations, voq=voq, groups=[[1], [2, 1], [3], [4]], watched=[0, 2, 0, 0], port_states=[[0, 2, 0]]
    )
    assert counted["no_route_discards"] == 1
    assert not any(station.data for station in stations)


@BOTH
@pytest.mark.parametrize("choice", ["FLOWLET", "LEAST_LOADED"])
def test_flowlet_leaves_a_port_that_goes_down_or_out_of_its_group_and_no_other(
    voq: bool, choice: str
) -> None:
    def path(**changes: Any) -> list[int]:
        """The station of each frame of one flowlet."""
        stations = four(train(0, 1, 60, gap_ps=100_000))
        config: dict[str, Any] = {"path_choice": choice, "flowlet_gap_ps": 10**7, "watched": [0, 1, 0, 0]}
        hub(stations, voq=voq, groups=[[1], [2, 3, 4], [3], [4]], **config, **changes)
        found = {psn: place for place, station in enumerate(stations) for psn in station.psns}
        return [found[psn] for psn in range(60)]

    first = path()[0]
    others = [port for port in (2, 3, 4) if port != first + 1]
    assert path() == [first] * 60
    half_ps = 3_000_000
    assert path(port_states=[[half_ps, others[0], 0]]) == [first] * 60
    for changes in (
        {"port_states": [[half_ps, first + 1, 0]]},
        {"updates": [at(half_ps, tables([[1], others, [3], [4]], range(4)))]},
    ):
        taken = path(**changes)
        assert taken[:29] == [first] * 29
        assert set(taken[30:]) == {taken[30]} != {first}


# -------------------------------------------------------------------------------------------------------- detours


@BOTH
def test_detour_is_by_ingress_port_and_falls_through_where_it_has_no_route(voq: bool) -> None:
    def sends(src: int) -> list[Any]:
        return [
            (src * FAR, data_frame(src, 2, psn=src)),
            (src * FAR + FAR // 2, data_frame(src, 3, psn=10 + src)),
        ]

    stations = [Station(sends=sends(0)), Station(sends=sends(1)), Station(), Station()]
    hub(stations, voq=voq, ingress_routes=[own_routes(2, [NO_ROUTE, NO_ROUTE, 3])])
    assert [station.psns for station in stations[2:]] == [[0], [10, 1, 11]]


@BOTH
def test_detour_has_its_own_group_of_several_ports(voq: bool) -> None:
    stations = [
        Station(sends=[(n * FAR, data_frame(0, 1, psn=n)) for n in range(6)]),
        Station(),
        Station(),
        Station(),
    ]
    hub(
        stations,
        voq=voq,
        groups=[[1], [2], [3], [3, 4]],
        path_choice="ROUND_ROBIN",
        ingress_routes=[own_routes(1, [NO_ROUTE, 3])],
    )
    assert [station.psns for station in stations] == [[], [], [0, 2, 4], [1, 3, 5]]


@BOTH
def test_drop_route_drops_and_counts(voq: bool) -> None:
    stations = [
        Station(sends=[(0, data_frame(0, 2))]),
        Station(sends=[(0, data_frame(1, 2, psn=1))]),
        Station(),
    ]
    counted = hub(stations, voq=voq, ingress_routes=[own_routes(1, [NO_ROUTE, NO_ROUTE, DROP_ROUTE])])
    assert stations[2].psns == [1]
    assert counted["acl_discards"] == 1
    everywhere = tables([[1], [2], [3]], [0, 1, DROP_ROUTE])
    stations = [Station(sends=[(FAR, data_frame(0, 2))]), Station(), Station()]
    assert hub(stations, voq=voq, updates=[at(0, everywhere)])["acl_discards"] == 1


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


@BOTH
def test_restarted_switch_forwards_as_a_new_one(voq: bool) -> None:
    """Full queues at the restart; afterwards a train passes as if there had been nothing."""
    after_ps = 10 * FAR
    senders = [
        Station(sends=train(src, 2, 40) + (train(src, 2, 30, start_ps=after_ps, psn=500))) for src in (0, 1)
    ]
    fresh = [Station(sends=train(src, 2, 30, start_ps=after_ps, psn=500)) for src in (0, 1)]
    found = []
    for stations, changes in ((senders, {"restarts": [[600_000, 5 * FAR]]}), (fresh, {})):
        sink = Station()
        hub([*stations, sink], voq=voq, buffer_bytes=50_000, **changes)
        found.append(
            [(one.last_bit_ps, one.frame.src, one.frame.psn) for one in sink.data if one.frame.psn >= 500]
        )
    assert found[0] == found[1]
    assert len(found[0]) > 30


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
