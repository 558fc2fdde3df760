"""N cards send to one at the same instant: when each message is complete, how deep the queue gets, what is dropped.

All frames reach the switch at one instant; the first takes the idle egress and the others queue up in port order.
Dynamic threshold (Choudhury and Hahne 1998): a queue with q cells takes c more iff q + c <= alpha * (cells free).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from testbed.analysis.depths import SAMPLE_DTYPE, SampleKind
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.validate.plans import NO_ROUTE, Data, Wire, card, finished, one_message, records_of, star

FRAME_BYTES = 4122
SLOT_PS = (FRAME_BYTES + 20) * 20
LAST_BIT_PS = (FRAME_BYTES + 8) * 20
PORT = "port1."


def incast(senders: int, *, packets: int = 1, receivers: int = 1, **config: Any) -> Data:
    """Card r < receivers gets from the senders whose number is r modulo `receivers`."""
    sources = [card(one_message(n % receivers, packets * 4096), rto_ps=10**9) for n in range(senders)]
    return star([*[card() for _ in range(receivers)], *sources], **config)


def port_counters(data: Data, port: int = 1) -> dict[str, int]:
    """Counters of one port of the hub."""
    hub = finished(data).counters()[data["nodes"][-1]["name"]]
    return {name.split(".")[1]: value for name, value in hub.items() if name.startswith(f"port{port}.")}


@pytest.mark.parametrize("cut", [True, False], ids=["cut_through", "stored"])
@pytest.mark.parametrize("senders", [1, 2, 8, 63])
def test_incast_kth_message_completes_k_slots_later(senders: int, cut: bool) -> None:
    records = records_of(finished(incast(senders, cut_through=cut, pipeline_latency_ps=600_000)))
    first = 2 * 100_000 + 600_000 + LAST_BIT_PS * (1 if cut else 2)
    assert records["completed_ps"].tolist() == [first + k * SLOT_PS for k in range(senders)]
    assert records["src"].tolist() == list(range(1, senders + 1))


@pytest.mark.parametrize("packets", [2, 5, 16])
def test_incast_of_long_messages_the_last_completes_when_all_bytes_are_through(packets: int) -> None:
    records = records_of(finished(incast(8, packets=packets)))
    assert int(records["completed_ps"].max()) == 2 * 100_000 + (8 * packets - 1) * SLOT_PS + LAST_BIT_PS


@pytest.mark.parametrize("senders", [1, 2, 8, 63])
def test_incast_peak_queue_is_all_but_one_frame(senders: int) -> None:
    assert port_counters(incast(senders))["queue_watermark_bytes"] == (senders - 1) * FRAME_BYTES


@pytest.mark.parametrize("packets", [2, 5, 16])
def test_incast_of_long_messages_peak_queue(packets: int) -> None:
    # A round of 8 arrives in each slot and one frame leaves; at the last round the arrivals come before the departure.
    assert (
        port_counters(incast(8, packets=packets))["queue_watermark_bytes"] == (7 * packets + 1) * FRAME_BYTES
    )


def test_incast_queue_trace_is_a_staircase() -> None:
    twin = _engine.Twin(build_plan(incast(4)))
    twin.trace_queues(10**12, 100)
    twin.run(10**13)
    samples = np.frombuffer(twin.queue_samples(), SAMPLE_DTYPE)
    samples = samples[samples["kind"] == SampleKind.PORT]
    assert (samples["value"] // FRAME_BYTES).tolist() == [1, 2, 3, 2, 1, 0]
    assert samples["time_ps"].tolist() == [100_000] * 3 + [100_000 + k * SLOT_PS for k in (1, 2, 3)]


def queue_limit(buffer_cells: int, frame_cells: int, alpha_log2: int, reserved_cells: int = 0) -> int:
    """How many frames one queue takes when nothing leaves: the largest m with
    m c - R <= alpha (B - max(0, (m - 1) c - R)) and m c - R <= B."""
    alpha, c, b, r = Fraction(2) ** alpha_log2, frame_cells, buffer_cells, reserved_cells
    beyond = int((alpha * (b + r + c) + r) / (c * (1 + alpha)))  # once the reserved cells are full
    if (beyond - 1) * c < r:
        beyond = int((r + alpha * b) / c)
    return min(max(beyond, r // c), (b + r) // c)


CASES = [
    (2**17, 254, 0, 0),
    (2**17, 254, 1, 0),
    (2**17, 254, -1, 0),
    (2**18, 254, -4, 0),
    (2**17, 208, 3, 0),
    (2**17, 192, 7, 0),
    (2**17, 1, -2, 0),
    (2**17, 5000, 0, 0),
    (2**17, 254, 0, 30_000),
    (2**16, 254, -7, 20_000),
    (2**17, 254, 2, 4_000),
    (2**17, 254, -16, 4_317),
    (2**17, 254, -16, 4_318),
]


@pytest.mark.parametrize(("buffer_bytes", "cell_bytes", "alpha_log2", "reserved_bytes"), CASES)
def test_threshold_drops_the_first_frame_beyond_it_and_none_before(
    buffer_bytes: int, cell_bytes: int, alpha_log2: int, reserved_bytes: int
) -> None:
    config = {
        "buffer_bytes": buffer_bytes,
        "cell_bytes": cell_bytes,
        "alpha_log2": alpha_log2,
        "reserved_bytes": reserved_bytes,
    }
    frame_cells = -(-FRAME_BYTES // cell_bytes)
    reserved_cells = reserved_bytes // cell_bytes
    limit = queue_limit(buffer_bytes // cell_bytes, frame_cells, alpha_log2, reserved_cells)
    fits = incast(1 + limit, **config)  # one more than queues: it is on the wire
    over = incast(2 + limit, **config)
    assert port_counters(fits)["out_discards"] == 0
    assert port_counters(fits)["queue_watermark_bytes"] == limit * FRAME_BYTES
    assert port_counters(over)["out_discards"] == 1
    assert port_counters(over)["out_discard_octets"] == FRAME_BYTES
    twin = finished(over)
    records = records_of(twin)
    assert records["retransmits"].tolist() == [0] * (1 + limit) + [1]
    shared = max(0, limit * frame_cells - reserved_cells) * cell_bytes
    assert twin.counters()[over["nodes"][-1]["name"]]["buffer_watermark_bytes"] == shared


def test_queue_limit_formula_matches_the_rule_frame_by_frame() -> None:
    for buffer_bytes, cell_bytes, alpha_log2, reserved_bytes in CASES:
        cells, frame = buffer_bytes // cell_bytes, -(-FRAME_BYTES // cell_bytes)
        reserved, admitted = reserved_bytes // cell_bytes, 0
        while True:
            used, after = max(0, admitted * frame - reserved), max(0, (admitted + 1) * frame - reserved)
            if after > used and (after > Fraction(2) ** alpha_log2 * (cells - used) or after > cells):
                break
            admitted += 1
        assert admitted == queue_limit(cells, frame, alpha_log2, reserved), (buffer_bytes, alpha_log2)


@pytest.mark.parametrize("receivers", [2, 3])
@pytest.mark.parametrize("alpha_log2", [-3, -1, 0, 1])
def test_threshold_shrinks_with_what_other_queues_hold(receivers: int, alpha_log2: int) -> None:
    senders, cell_bytes, buffer_bytes = 60, 254, 2**17
    frame, free = -(-FRAME_BYTES // cell_bytes), buffer_bytes // cell_bytes
    queued, idle, drops = [0] * receivers, [True] * receivers, [0] * receivers
    for sender in range(senders):  # in port order, all at one instant
        port = sender % receivers
        if idle[port]:
            idle[port] = False
        elif queued[port] + frame > Fraction(2) ** alpha_log2 * free or frame > free:
            drops[port] += 1
        else:
            queued[port] += frame
            free -= frame
    data = incast(
        senders, receivers=receivers, buffer_bytes=buffer_bytes, cell_bytes=cell_bytes, alpha_log2=alpha_log2
    )
    assert sum(drops) > 0
    twin = _engine.Twin(build_plan(data))
    twin.run(10**9)  # up to the time-out, when all that were dropped come again
    hub = twin.counters()[data["nodes"][-1]["name"]]
    assert [hub[f"port{1 + port}.out_discards"] for port in range(receivers)] == drops


def test_buffer_is_free_again_once_frames_have_left() -> None:
    config = {"buffer_bytes": 2**17, "cell_bytes": 254, "alpha_log2": 0}
    data = incast(9, **config)
    for node in data["nodes"][1:10]:
        node["workload"] |= {"interval_ps": 10**7, "measure_until_ps": 10**9}
    twin = finished(data)
    assert twin.messages >= 900
    hub = twin.counters()["n10"]
    assert (hub["port1.out_discards"], hub["buffer_watermark_bytes"]) == (0, 8 * 17 * 254)


def test_unequal_cards_a_slow_receiver_queues_at_its_own_rate() -> None:
    data = incast(4)
    data["links"][0][4] = 80
    records = records_of(finished(data))
    first = 2 * 100_000 + (FRAME_BYTES + 8) * 80
    assert records["completed_ps"].tolist() == [first + k * (FRAME_BYTES + 20) * 80 for k in range(4)]


def test_frame_that_has_to_wait_is_stored_whole_before_it_leaves() -> None:
    # Both arrive at 100 ns; the output is free again 84 byte times later, when most of the long frame is still to come.
    data = star([card(), card(one_message(0, 1)), card(one_message(0, 4096))])
    records = records_of(finished(data))
    whole_ps = 100_000 + LAST_BIT_PS
    assert records["completed_ps"].tolist() == [200_000 + 72 * 20, whole_ps + 100_000 + LAST_BIT_PS]


def test_higher_class_overtakes_waiting_frames_and_never_the_one_on_the_wire() -> None:
    data = incast(4)
    data["nodes"][4]["config"]["data_class"] = 6
    records = records_of(finished(data))
    order = sorted(range(4), key=lambda place: int(records[place]["completed_ps"]))
    assert [int(records[place]["src"]) for place in order] == [1, 4, 2, 3]


def test_switch_without_route_counts_and_drops() -> None:
    data = incast(1, buffer_bytes=2**20)
    data["nodes"][-1]["config"]["route"] = [NO_ROUTE, 1]
    data["nodes"][1]["config"] |= {"retry_limit": 0, "rto_ps": 10**6}
    twin = _engine.Twin(build_plan(data))
    with pytest.raises(_engine.StreamError):
        twin.run(10**12)
    assert twin.counters()["n2"]["no_route_discards"] == 1


def test_wire_defaults_are_400g() -> None:
    assert Wire().byte_time_ps == 8 * 10**12 // (400 * 10**9)
