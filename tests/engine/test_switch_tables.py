"""Tables that change while a switch runs, ports that go down, and detours, in both switches.

A frame that leaves its station at t is looked up at t + lookup_ps(); changes of that time come behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from testbed.engine import _engine
from testbed.validate.plans import FOREVER_PS, NO_ROUTE
from tests.engine.stations import (
    FIRST_ENDPOINT,
    SWITCH,
    WIRE_PS,
    Station,
    bench,
    data_frame,
    on_wire_ps,
    train,
)

DROP_ROUTE, CPU_ROUTE = _engine.DROP_ROUTE, _engine.CPU_ROUTE
FAR = 10**6
"""So far apart that every port is idle again."""
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
