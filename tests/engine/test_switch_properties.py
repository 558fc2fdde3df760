"""What must hold in every fabric whatever is switched on: random small ones, with random features and workloads."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.analysis.depths import SAMPLE_DTYPE, SampleKind
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.validate.plans import (
    FOREVER_PS,
    Data,
    Wire,
    card,
    closed,
    drained,
    finished,
    leaf_spine,
    records_of,
    with_pacemaker,
)
from tests.engine.test_voq import with_voq

BYTE_TIMES_PS = (40, 20, 10)
PACKET_BYTES = 4096
SHAPES = ((1, 0), (2, 1), (2, 2), (3, 2))
FAR_ENOUGH_PS = 3 * 10**7
PORTS = 20
ONE = 1 << 64
TRIM_BYTES = 128

PROPERTIES = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def cards_of(draw: st.DrawFn, count: int, wire_format: str, **config: Any) -> list[Data]:
    """Closed loops; all but the last packets of messages are full, so that bytes can be counted."""
    cards = []
    for number in range(count):
        others = [peer for peer in range(count) if peer != number]
        peers = draw(st.lists(st.sampled_from(others), min_size=1, max_size=3, unique=True))
        packets = draw(st.sampled_from([1, 2, 9]))
        load = closed(peers, packets * PACKET_BYTES, until_ps=FAR_ENOUGH_PS, window=draw(st.integers(1, 6)))
        nic = {"rto_ps": 5 * 10**7 + 7_919_993 * number, "retry_limit": 1000, "ack_latency_ps": 50_000}
        nic |= {"ack_class": 5, "ack_dscp": 5 << 3}
        cards.append(card(load, wire_format=wire_format, **nic | config))
    return cards


@st.composite
def wires(draw: st.DrawFn, count: int, options: Data) -> list[Wire]:
    return [
        Wire(
            byte_time_ps=draw(st.sampled_from(BYTE_TIMES_PS)),
            latency_ps=draw(st.integers(1, 5 * 10**5)),
            options=options,
        )
        for _ in range(count)
    ]


@st.composite
def choices(draw: st.DrawFn) -> Data:
    """How switches choose paths, schedule and mark: what never loses a frame."""
    config: Data = {
        "pipeline_latency_ps": draw(st.integers(0, 5 * 10**5)),
        "cut_through": draw(st.booleans()),
        "cell_bytes": draw(st.sampled_from([1, 254])),
        "path_choice": draw(st.sampled_from(["HASH", "FLOWLET", "LEAST_LOADED", "SPRAY", "ROUND_ROBIN"])),
        "flowlet_gap_ps": draw(st.sampled_from([0, 10**5])),
        "ecn_at_enqueue": draw(st.booleans()),
    }
    if draw(st.booleans()):
        config["ecn"] = [[10_000, 60_000, 300_000]] * 8
    if draw(st.booleans()):
        config["dwrr_quantum_bytes"] = [
            0,
            1000,
            0,
            draw(st.integers(100, 9000)),
            0,
            draw(st.integers(100, 9000)),
            0,
            0,
        ]
    if draw(st.booleans()):
        config["shaper_ps_per_kib"] = [0, 0, 0, draw(st.integers(10_000, 60_000)), 0, 0, 0, 0]
        config["shaper_burst_bytes"] = [draw(st.integers(1, 50_000))] * 8
    return config


def built(
    draw: st.DrawFn, config: Data, *, options: Data | None = None, wire_format: str | None = None, **nic: Any
) -> Data:
    leaves, spines = draw(st.sampled_from(SHAPES))
    count = draw(st.integers(3, 8))
    return leaf_spine(
        cards_of(draw, count, wire_format or draw(st.sampled_from(["thin", "rocev2"])), **nic),
        leaves=leaves,
        spines=spines,
        edge=draw(wires(count, options or {})),
        core=draw(wires(leaves * spines, options or {})),
        seed=draw(st.integers(0, 2**64 - 1)),
        **config,
    )


@st.composite
def lossy(draw: st.DrawFn) -> Data:
    """Small buffers, some of them cut what they cannot take; links that damage frames."""
    config = draw(choices()) | {
        "buffer_bytes": draw(st.sampled_from([15_000, 40_000, 10**6])),
        "alpha_log2": draw(st.integers(-1, 3)),
        "ingress_alpha_log2": draw(st.sampled_from([127, 0, 3])),
        "trim_bytes": draw(st.sampled_from([0, TRIM_BYTES])),
        "trim_class": 6,
    }
    loss = draw(st.sampled_from([0, ONE // 100]))
    return built(draw, config, options={"loss_base_2p64": loss, "llr": draw(st.booleans())})


@st.composite
def lossless(draw: st.DrawFn) -> Data:
    """Pauses or credits, and as much room as they take."""
    generation_ps, reaction_ps = draw(st.integers(0, 10**5)), draw(st.integers(0, 2 * 10**5))
    config = draw(choices()) | {"pfc_generation_ps": generation_ps, "assert_lossless": True}
    if draw(st.booleans()):
        config |= {"credit_bytes": draw(st.sampled_from([16_384, 32_000])), "buffer_bytes": 10**8}
        return built(draw, config, options={"cbfc": True})
    # What comes until the neighbour stops, at the fastest rate, and a frame each at both ends; small frames take
    # up to three times their bytes in cells.
    largest = PACKET_BYTES + 78 + 20
    response_ps = (
        config["pipeline_latency_ps"] + generation_ps + (2 * largest + 84) * 40 + reaction_ps + 2 * 5 * 10**5
    )
    headroom = (response_ps // min(BYTE_TIMES_PS) + 2 * largest) * (1 if config["cell_bytes"] == 1 else 4)
    config |= {
        "lossless_classes": 0xFF,
        "lossless_alpha_log2": draw(st.integers(-4, 0)),
        "buffer_bytes": draw(st.sampled_from([15_000, 100_000])),
        "headroom_bytes": [headroom] * PORTS,
        "xon_offset_bytes": draw(st.sampled_from([0, 5_000])),
        "pause_quanta": draw(st.sampled_from([500, 65_535])),
        "pause_reaction_ps": reaction_ps,
    }
    return built(draw, config, pause_reaction_ps=reaction_ps)


@st.composite
def failing(draw: st.DrawFn) -> Data:
    """Tables that change, ports that go down and up, switches that restart; all is as it was in the end.

    No change sends a frame from a spine to a leaf that is not its own, so none goes round in circles.
    """
    data = draw(
        st.one_of(lossy(), lossless().filter(lambda made: "credit_bytes" not in made["nodes"][-1]["config"]))
    )
    changed = [node["config"] for node in data["nodes"] if node["kind"] == "switch"]
    for config in changed:
        config["assert_lossless"] = False  # one that has restarted does not know that it is to stop
        config["punt_latency_ps"] = draw(st.sampled_from([0, 10**6]))
        config["watched"] = [draw(st.integers(0, 2)) for _ in config["groups"]]
        config["port_states"] = draw(states(sorted({port for group in config["groups"] for port in group})))
        config["restarts"] = draw(restarts())
        config["updates"] = draw(updates(config))
    return data


MOMENTS = st.lists(st.integers(0, FAR_ENOUGH_PS), max_size=4, unique=True).map(sorted)


@st.composite
def states(draw: st.DrawFn, ports: list[int]) -> list[list[int]]:
    found = [[time_ps, draw(st.sampled_from(ports)), draw(st.integers(0, 1))] for time_ps in draw(MOMENTS)]
    return found + [[FAR_ENOUGH_PS + 1, port, 1] for port in ports]


@st.composite
def restarts(draw: st.DrawFn) -> list[list[int]]:
    times = draw(MOMENTS)
    return [[from_ps, until_ps] for from_ps, until_ps in zip(times[::2], times[1::2], strict=False)]


@st.composite
def updates(draw: st.DrawFn, config: Data) -> list[Data]:
    """Fewer ports of a group, other weights, no routes or others than before; by ingress port, too."""
    own = {name: config[name] for name in ("groups", "route", "watched")}
    instead = st.sampled_from([None, None, None, _engine.NO_ROUTE, _engine.DROP_ROUTE, _engine.CPU_ROUTE])

    def routes() -> list[int]:
        return [known if (other := draw(instead)) is None else other for known in config["route"]]

    found = []
    for time_ps in draw(MOMENTS):
        groups = [group[draw(st.integers(0, len(group) - 1)) :] for group in config["groups"]]
        found.append(
            {
                "time_ps": time_ps,
                "groups": groups,
                "weights": [[draw(st.integers(1, 5)) for _ in group] for group in groups],
                "watched": [draw(st.integers(0, 2)) for _ in groups],
                "route": routes(),
                "ingress_routes": [[1, routes()]] if draw(st.booleans()) else [],
            }
        )
    return [*found, {"time_ps": FAR_ENOUGH_PS + 1, **own}]


def switches(data: Data, twin: _engine.Twin) -> list[dict[str, int]]:
    counters = twin.counters()
    return [counters[node["name"]] for node in data["nodes"] if node["kind"] != "nic"]


def cards(data: Data, twin: _engine.Twin) -> list[dict[str, int]]:
    counters = twin.counters()
    return [counters[node["name"]] for node in data["nodes"] if node["kind"] == "nic"]


def total(nodes: list[dict[str, int]], *names: str) -> int:
    """Counters over nodes, and ports where they have any."""
    return sum(value for node in nodes for key, value in node.items() if key.split(".", 1)[-1] in names)


def by_class(nodes: list[dict[str, int]], name: str) -> int:
    return sum(value for node in nodes for key, value in node.items() if key.endswith("." + name))


@given(lossy())
@PROPERTIES
def test_lossy_fabric_every_frame_and_byte_is_accounted_for(data: Data) -> None:
    twin = drained(data)
    records = records_of(twin)
    assert len(records) > 0
    assert twin.frames_in_use == 0
    nodes, nics = switches(data, twin), cards(data, twin)
    cut_through = data["nodes"][-1]["config"]["cut_through"]
    refused = (
        0 if cut_through else total(nodes, "fcs_errors")
    )  # where frames are stored first, damage ends them
    lost = total(nodes, "out_discards") + refused
    assert total(nodes, "in_frames") == total(nodes, "out_frames") + lost
    sent = total(nics, "tx_packets", "tx_acks", "tx_naks")
    assert sent == total(nics, "rx_packets", "rx_acks", "rx_naks", "rx_trimmed", "rx_fcs_errors") + lost
    thin = data["nodes"][0]["config"]["format"] == "THIN"
    if refused == 0 and thin:
        cut_bytes = by_class(nodes, "trimmed") * (PACKET_BYTES + 26 - TRIM_BYTES)
        out = total(nodes, "out_octets") + total(nodes, "out_discard_octets")
        assert total(nodes, "in_octets") == out + cut_bytes


REFUSED = ("no_route_discards", "no_live_port_discards", "acl_discards", "restart_discards", "cpu_frames")


def accounted_for(data: Data) -> None:
    """Every frame that came into a switch has left it, or is counted as lost; and every message is complete."""
    twin = drained(data)
    assert len(records_of(twin)) > 0
    assert twin.frames_in_use == 0
    nodes, nics = switches(data, twin), cards(data, twin)
    stores = not data["nodes"][-1]["config"].get("cut_through", False)
    loss = any(
        link[6]["loss_base_2p64"] for link in data["links"] if len(link) > 6 and "loss_base_2p64" in link[6]
    )
    came = total(nodes, "in_frames") - total(nodes, "pause_frames_rx")
    went = total(nodes, "out_frames") - total(nodes, "pause_frames_tx")
    lost = total(nodes, "out_discards", *REFUSED)
    if (
        stores and loss
    ):  # what is damaged is counted as that, and again only where it would have been refused anyway
        assert went + lost <= came <= went + lost + total(nodes, "fcs_errors")
        return
    assert came == went + lost
    sent = total(nics, "tx_packets", "tx_acks", "tx_naks")
    assert sent == total(nics, "rx_packets", "rx_acks", "rx_naks", "rx_trimmed", "rx_fcs_errors") + lost


@given(failing())
@PROPERTIES
def test_failing_fabric_every_frame_is_accounted_for(data: Data) -> None:
    accounted_for(data)


@given(failing())
@settings(PROPERTIES, max_examples=60)
def test_failing_fabric_of_voq_switches_every_frame_is_accounted_for(data: Data) -> None:
    accounted_for(with_voq(data, voq_limit_bytes=30_000))


@given(failing(), st.integers(1, 10**7))
@settings(PROPERTIES, max_examples=40)
def test_failing_fabric_run_in_slices_and_told_as_it_runs_gives_the_same(data: Data, slice_ps: int) -> None:
    whole = finished(data)
    twin = _engine.Twin(build_plan(told_later(data)))
    orders = sorted(
        (
            (one["time_ps"], node["name"], one)
            for node in data["nodes"]
            for one in node["config"].get("updates", [])
        ),
        key=lambda order: order[0],
    )
    for time_ps, name, one in orders:
        while twin.next_event_ps < time_ps and twin.run(
            min(time_ps, max(twin.now_ps, twin.next_event_ps) + slice_ps)
        ):
            pass
        if not twin.done:
            twin.apply_update(name, time_ps, {key: value for key, value in one.items() if key != "time_ps"})
    twin.run(FOREVER_PS)
    assert records_of(whole).tobytes() == records_of(twin).tobytes()
    assert whole.counters() == twin.counters()


def told_later(data: Data) -> Data:
    """The plan without its updates."""
    nodes = [
        {**node, "config": {name: value for name, value in node["config"].items() if name != "updates"}}
        for node in data["nodes"]
    ]
    return {**data, "nodes": nodes}


@given(lossless())
@PROPERTIES
def test_lossless_fabric_loses_nothing_and_drains(data: Data) -> None:
    twin = drained(data)
    nodes = switches(data, twin)
    assert len(records_of(twin)) > 0
    assert total(nodes, "out_discards") == 0
    assert twin.frames_in_use == 0
    sent = total(cards(data, twin), "tx_packets", "tx_acks", "tx_naks")
    assert sent == total(cards(data, twin), "rx_packets", "rx_acks", "rx_naks")


@given(st.one_of(lossy(), lossless()))
@PROPERTIES
def test_any_fabric_queues_and_buffers_stay_within_their_sizes(data: Data) -> None:
    twin = _engine.Twin(build_plan(with_pacemaker(data)))
    twin.trace_queues(FOREVER_PS, 10**6)
    twin.run(FOREVER_PS)
    samples = np.frombuffer(twin.queue_samples(), SAMPLE_DTYPE)
    config = data["nodes"][-1]["config"]
    headroom = sum(config.get("headroom_bytes", [])) * 8
    used = samples[samples["kind"] == SampleKind.BUFFER]["value"]
    assert not len(used) or int(used.max()) <= config["buffer_bytes"] + headroom
    depths = samples[np.isin(samples["kind"], (SampleKind.QUEUE, SampleKind.PORT, SampleKind.BUFFER))]
    assert not len(depths) or int(depths["value"].max()) < 2**40  # unsigned: none was ever below zero
    last = {tuple(s)[1:5]: int(s["value"]) for s in depths}
    assert len(samples) == 10**6 or not any(last.values()), "all is empty in the end"
    pauses = samples[samples["kind"] == SampleKind.PAUSE_SENT]
    told: dict[tuple[int, int, int], int] = {}
    for line in pauses:
        key = (int(line["entity"]), int(line["port"]), int(line["traffic_class"]))
        assert told.get(key, 0) != int(line["value"]), "stop and go take turns"
        told[key] = int(line["value"])
    assert not any(told.values()), "all may go on in the end"


@given(lossless())
@PROPERTIES
def test_flow_on_one_path_that_loses_nothing_stays_in_order(data: Data) -> None:
    for node in data["nodes"]:
        if node["kind"] == "switch":
            node["config"]["path_choice"] = "HASH"
    twin = drained(data)
    if not records_of(twin)["retransmits"].any():
        assert total(cards(data, twin), "rx_out_of_order", "rx_duplicates") == 0


@given(st.one_of(lossy(), lossless()), st.integers(1, 10**7))
@settings(PROPERTIES, max_examples=40)
def test_any_fabric_run_in_slices_gives_the_same(data: Data, slice_ps: int) -> None:
    whole, sliced = finished(data), finished(data, slice_ps=slice_ps)
    assert records_of(whole).tobytes() == records_of(sliced).tobytes()
