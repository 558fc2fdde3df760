"""Plans as plain data for testbed/engine/plan.py: cards with ideal NICs, ideal switches; and runs of them.

A card without stages costs nothing but its wire; each oracle and each test of the engine adds what it is about.
Endpoints are numbered first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from testbed.analysis.records import Records
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.errors import MeasurementError
from testbed.run.join import join_records

BYTE_400G_PS = 20
FOREVER_PS = 10**15
"""Later than any of these runs ends."""
NO_ROUTE = _engine.NO_ROUTE

_FORMATS: dict[str, dict[str, Any]] = {
    "thin": {
        "format": "THIN",
        "reliability": "selective",
        "first_header_bytes": 26,
        "other_header_bytes": 26,
        "ack_bytes": 64,
        "window_pkts": 64,
    },
    "rocev2": {
        "format": "ROCE_V2",
        "reliability": "go_back_n",
        "first_header_bytes": 78,
        "other_header_bytes": 62,
        "ack_bytes": 66,
        "window_pkts": 128,
    },
}

Field: TypeAlias = Any
"""A value in a plan, which is JSON."""
Data: TypeAlias = dict[str, Field]
_REMEDY = "a model, or this plan, is at fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One link: the time of a byte on it, its one-way latency, and what else it does (loss, retry)."""

    byte_time_ps: int = BYTE_400G_PS
    latency_ps: int = 100_000
    options: Data = field(default_factory=dict)


def stage(latency_ps: int = 0, *, occupancy_ps: int = 0, per_kib_ps: int = 0, **more: Field) -> Data:
    """One stage of a NIC."""
    return {
        "name": "stage",
        "latency_ps": latency_ps,
        "occupancy_ps": occupancy_ps,
        "occupancy_ps_per_kib": per_kib_ps,
        **more,
    }


def stages(**places: Sequence[Data]) -> dict[str, list[Data]]:
    """The stages of a NIC by place; none where none are given."""
    always = dict.fromkeys(("post", "send", "receive", "notify"), ())
    return {place: list(given) for place, given in {**always, **places}.items()}


def card(
    workload: Mapping[str, Any] | None = None,
    *,
    wire_format: str = "thin",
    at: Mapping[str, Sequence[Data]] | None = None,
    **config: Field,
) -> Data:
    """A card; its NIC is ideal but for the stages in `at` and the fields in `config`."""
    base = _FORMATS[wire_format] | {"mtu_bytes": 4096, "rto_ps": 10**9, "ack_latency_ps": 0}
    return {
        "kind": "nic",
        "config": base | config,
        "stages": stages(**(at or {})),
        "workload": dict(workload or {}),
    }


def one_message(dst: int, message_bytes: int, *, start_ps: int = 0) -> Data:
    """One measured message; the next one, much later, ends the run."""
    return {
        "arrivals": "PERIODIC",
        "destinations": [dst],
        "message_bytes": message_bytes,
        "start_ps": start_ps,
        "interval_ps": 10**12,
        "measure_until_ps": start_ps + 1,
    }


def closed(dst: int | Sequence[int], message_bytes: int, *, until_ps: int, window: int = 4) -> Data:
    """A sender that keeps `window` messages outstanding."""
    return {
        "arrivals": "CLOSED",
        "destinations": [dst] if isinstance(dst, int) else list(dst),
        "message_bytes": message_bytes,
        "window": window,
        "measure_until_ps": until_ps,
    }


def poisson(dst: int | Sequence[int], message_bytes: int, *, interval_ps: int, until_ps: int) -> Data:
    """An open loop with exponential gaps."""
    return {
        "arrivals": "POISSON",
        "destinations": [dst] if isinstance(dst, int) else list(dst),
        "message_bytes": message_bytes,
        "interval_ps": interval_ps,
        "measure_until_ps": until_ps,
    }


def switch(groups: Sequence[Sequence[int]], route: Sequence[int], **config: Field) -> Data:
    """A switch; ideal (no latency, endless buffer) but for the fields in `config`."""
    base = {
        "pipeline_latency_ps": 0,
        "cut_through": True,
        "buffer_bytes": 1 << 40,
        "cell_bytes": 1,
        "alpha_log2": 7,
    }
    tables = {"groups": [list(group) for group in groups], "route": list(route)}
    return {"kind": "switch", "config": base | config | tables}


def plan(nodes: Sequence[Data], links: Sequence[tuple[int, int, int, int, Wire]], *, seed: int = 1) -> Data:
    """Nodes get names of their own: n0, n1, ..."""
    return {
        "seed": seed,
        "nodes": [{**node, "name": f"n{index}"} for index, node in enumerate(nodes)],
        "links": [_link(*link) for link in links],
    }


def _link(a: int, a_port: int, b: int, b_port: int, wire: Wire) -> list[Any]:
    """One link; a plain wire has no options."""
    return [
        a,
        a_port,
        b,
        b_port,
        wire.byte_time_ps,
        wire.latency_ps,
        *([wire.options] if wire.options else []),
    ]


def chain(sender: Data, receiver: Data, wires: Sequence[Wire], *, seed: int = 1, **config: Field) -> Data:
    """Card 0, `len(wires) - 1` switches in a row, card 1. Port 1 of a switch looks to card 0, port 2 to card 1."""
    switches = [switch([[1], [2]], [0, 1], **config) for _ in wires[1:]]
    path = [0, *range(2, 2 + len(switches)), 1]
    links = []
    for hop, wire in enumerate(wires):
        a_port = 0 if hop == 0 else 2
        b_port = 0 if hop == len(wires) - 1 else 1
        links.append((path[hop], a_port, path[hop + 1], b_port, wire))
    return plan([sender, receiver, *switches], links, seed=seed)


def star(
    cards: Sequence[Data], *, wires: Sequence[Wire] | None = None, seed: int = 1, **config: Field
) -> Data:
    """All cards at one switch, whose port e + 1 leads to card e."""
    count = len(cards)
    wires = wires or [Wire()] * count
    hub = switch([[number + 1] for number in range(count)], list(range(count)), **config)
    links = [(number, 0, count, number + 1, wires[number]) for number in range(count)]
    return plan([*cards, hub], links, seed=seed)


def leaf_spine(
    cards: Sequence[Data],
    *,
    leaves: int,
    spines: int,
    edge: Sequence[Wire] | None = None,
    core: Sequence[Wire] | None = None,
    seed: int = 1,
    **config: Field,
) -> Data:
    """Card e at leaf e % leaves; a leaf's ports are its cards, then its spines. One leaf needs no spine."""
    count = len(cards)
    local = [[number for number in range(count) if number % leaves == leaf] for leaf in range(leaves)]
    nodes = [_leaf(local, leaf, spines, config) for leaf in range(leaves)]
    ways = [number % leaves for number in range(count)]
    nodes += [
        switch([[1 + leaf] for leaf in range(leaves)], ways, hash_seed=99 + spine, **config)
        for spine in range(spines)
    ]
    edge = edge or [Wire()] * count
    core = core or [Wire()] * (leaves * spines)
    links = [
        (number, 0, count + number % leaves, 1 + local[number % leaves].index(number), edge[number])
        for number in range(count)
    ]
    links += [
        (
            count + leaf,
            1 + len(local[leaf]) + spine,
            count + leaves + spine,
            1 + leaf,
            core[leaf * spines + spine],
        )
        for leaf in range(leaves)
        for spine in range(spines)
    ]
    return plan([*cards, *nodes], links, seed=seed)


def _leaf(local: Sequence[Sequence[int]], leaf: int, spines: int, config: Mapping[str, Any]) -> Data:
    """One leaf: a group for each of its cards, and one for all the spines."""
    mine = list(local[leaf])
    up = [[1 + len(mine) + spine for spine in range(spines)]] if spines else []
    count = sum(len(cards) for cards in local)
    route = [mine.index(number) if number in mine else len(mine) for number in range(count)]
    groups = [[1 + place] for place in range(len(mine))] + up
    return switch(groups, route, hash_seed=7 + leaf, **config)


def with_pacemaker(data: Data) -> Data:
    """Two more cards, one of which never finishes, so that a run drains instead of stopping at the last message."""
    first = len(data["nodes"])
    never = one_message(first + 1, 64, start_ps=FOREVER_PS)
    more = [{**card(never), "name": "pacemaker"}, {**card(), "name": "pacemaker_peer"}]
    return {
        **data,
        "nodes": [*data["nodes"], *more],
        "links": [*data["links"], [first, 0, first + 1, 0, BYTE_400G_PS, 1000]],
    }


def finished(data: Data, *, slice_ps: int | None = None) -> _engine.Twin:
    """The twin after the last source is done, run in one go or in slices."""
    twin = _engine.Twin(build_plan(data))
    if slice_ps is None:
        twin.run(FOREVER_PS)
    else:
        while twin.run(max(twin.now_ps, twin.next_event_ps) + slice_ps):
            pass
    if not twin.done:
        raise MeasurementError("nothing is left to do, but sources are not done", remedy=_REMEDY)
    return twin


def drained(data: Data) -> _engine.Twin:
    """The twin of a plan of closed loops when nothing is left to do; its records are complete."""
    twin = _engine.Twin(build_plan(with_pacemaker(data)))
    if not twin.run(FOREVER_PS) or twin.next_event_ps < FOREVER_PS:
        raise MeasurementError("the pacemaker no longer waits", remedy=_REMEDY)
    return twin


def records_of(twin: _engine.Twin) -> Records:
    """Whole records; raises where a message is lost, doubled or short."""
    return join_records([twin.tx_records()], [twin.rx_records()])


def run(data: Data) -> Records:
    """The records of a plan."""
    return records_of(finished(data))
