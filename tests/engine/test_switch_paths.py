"""Which of several ports: turns, loads, weights, flowlets to the picosecond, and what keeps a flow together."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.stations import Station, data_frame, served, slot_ps, train

PATHS = 4
FAR = 10**6
"""So far apart that every port is idle again."""


def paths_of(
    sends: list[Any], *, paths: int = PATHS, byte_ps: int = 20, senders: int = 1, **config: Any
) -> list[list[int]]:
    """Numbers of the frames that each path got; stations from 0 on send to endpoint `senders` by these ports."""
    sources = [Station(sends=[one for one in sends if one[1].src == 3 + place]) for place in range(senders)]
    sinks = [Station(byte_ps=byte_ps) for _ in range(paths)]
    ports = [senders + 1 + place for place in range(paths)]
    groups = [*[[place + 1] for place in range(senders)], ports, *[[port] for port in ports[1:]]]
    served([*sources, *sinks], groups=groups, **config)
    return [sink.psns for sink in sinks]


def taken(found: list[list[int]]) -> dict[int, int]:
    """The path of each frame."""
    return {psn: path for path, psns in enumerate(found) for psn in psns}


def spaced(count: int, gap_ps: int = FAR, **more: Any) -> list[Any]:
    return train(0, 1, count, gap_ps=gap_ps, **more)


def test_round_robin_takes_the_ports_in_turn() -> None:
    assert paths_of(spaced(9), path_choice="ROUND_ROBIN") == [[0, 4, 8], [1, 5], [2, 6], [3, 7]]


@pytest.mark.parametrize("choice", ["ROUND_ROBIN", "LEAST_LOADED"])
def test_turns_over_faster_ports_take_each_of_them(choice: str) -> None:
    """A frame for a faster port is stored first, and still chooses once."""
    found = paths_of(spaced(8), byte_ps=10, path_choice=choice, load_quantum_bytes=1)
    assert [len(psns) for psns in found] == [2, 2, 2, 2]


def test_spray_over_faster_ports_is_that_over_equal_ones() -> None:
    assert paths_of(spaced(50), byte_ps=10, path_choice="SPRAY") == paths_of(spaced(50), path_choice="SPRAY")


def test_hash_keeps_a_flow_on_one_port_and_spreads_flows() -> None:
    assert sorted(map(len, paths_of(spaced(20)))) == [0, 0, 0, 20]
    flows = [(n * FAR, data_frame(0, 1, psn=n, entropy=n)) for n in range(400)]
    counts = [len(psns) for psns in paths_of(flows)]
    assert sum(counts) == 400
    assert min(counts) > 60


def test_hash_of_another_seed_is_another_and_of_the_same_the_same() -> None:
    flows = [(n * FAR, data_frame(0, 1, psn=n, entropy=n)) for n in range(60)]
    first, again, other = (paths_of(flows, hash_seed=seed) for seed in (5, 5, 6))
    assert first == again != other


def test_spray_draws_for_each_frame() -> None:
    counts = [len(psns) for psns in paths_of(spaced(1000), path_choice="SPRAY")]
    assert sum(counts) == 1000
    assert all(200 < count < 300 for count in counts)


@pytest.mark.parametrize("choice", ["HASH", "SPRAY", "FLOWLET"])
def test_weights_share_the_frames_and_zero_gets_none(choice: str) -> None:
    flows = [(n * FAR, data_frame(0, 1, psn=n, entropy=n)) for n in range(1200)]
    weights = [[1], [0, 1, 2, 3], [1], [1], [1]]
    counts = [len(p) for p in paths_of(flows, path_choice=choice, weights=weights, flowlet_gap_ps=1)]
    assert counts[0] == 0
    assert counts[1] == pytest.approx(200, abs=45)
    assert counts[2] == pytest.approx(400, abs=55)
    assert counts[3] == pytest.approx(600, abs=60)


def test_weights_that_do_not_fit_their_group_are_refused() -> None:
    with pytest.raises(ValueError, match="weight"):
        paths_of(spaced(1), weights=[[1], [1, 2], [1], [1], [1]])


def switches_between(found: list[list[int]]) -> list[int]:
    """Frames that took another path than the one before."""
    path = taken(found)
    return [psn for psn in range(1, len(path)) if path[psn] != path[psn - 1]]


@pytest.mark.parametrize("gap_ps", [100_000, 777_777])
def test_flowlet_goes_on_below_its_gap_and_chooses_anew_at_it(gap_ps: int) -> None:
    flowlet: dict[str, Any] = {"path_choice": "FLOWLET", "flowlet_gap_ps": gap_ps, "flowlet_entries": 16}
    assert switches_between(paths_of(spaced(200, gap_ps - 1), **flowlet)) == []
    changed = len(switches_between(paths_of(spaced(200, gap_ps), **flowlet)))
    assert changed == pytest.approx(150, abs=30)  # 3 of 4 draws are another port


def test_flowlets_of_two_flows_in_one_entry_share_their_port() -> None:
    flows = [(n * 50_000, data_frame(0, 1, psn=n, entropy=n % 2)) for n in range(60)]
    one: dict[str, Any] = {"path_choice": "FLOWLET", "flowlet_gap_ps": 80_000, "flowlet_entries": 1}
    assert sorted(map(len, paths_of(flows, **one))) == [0, 0, 0, 60]
    apart = paths_of(
        flows, **one | {"flowlet_entries": 4096}
    )  # each flow's own distance is 100 ns: above the gap
    assert min(map(len, apart)) > 5


def test_least_loaded_takes_the_port_with_the_least_before_it() -> None:
    # Frames of 1000 B at line rate through ports four times as slow: each keeps its port busy for four.
    found = paths_of(train(0, 1, 12), byte_ps=80, path_choice="LEAST_LOADED", load_quantum_bytes=1)
    assert found == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]


def test_least_loaded_counts_what_waits_and_what_is_on_the_wire() -> None:
    # A 9000-byte frame goes first; the others, at the same instant from other stations, fill up the rest.
    sends = [(0, data_frame(0, 5, 9000, psn=0))]
    sends += [(0, data_frame(n, 5, 1000, psn=n)) for n in range(1, 5)]
    found = paths_of(sends, paths=2, senders=5, path_choice="LEAST_LOADED", load_quantum_bytes=1)
    assert found == [[0], [1, 2, 3, 4]]


def test_least_loaded_below_a_quantum_goes_by_turns() -> None:
    sends = [(0, data_frame(0, 5, 9000, psn=0))]
    sends += [(0, data_frame(n, 5, 1000, psn=n)) for n in range(1, 5)]
    found = paths_of(sends, paths=2, senders=5, path_choice="LEAST_LOADED", load_quantum_bytes=100_000)
    assert found == [[0, 2, 4], [1, 3]]


def test_least_loaded_with_a_gap_keeps_a_burst_on_its_port() -> None:
    config: dict[str, Any] = {"path_choice": "LEAST_LOADED", "load_quantum_bytes": 1}
    config["flowlet_gap_ps"] = slot_ps(1000) + 1
    assert sorted(map(len, paths_of(train(0, 1, 12), byte_ps=80, **config))) == [0, 0, 0, 12]
