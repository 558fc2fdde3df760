"""The shared buffer against the dynamic threshold of Choudhury and Hahne (1998), written out here again.

A queue with q cells takes a frame of c cells iff q + c <= alpha * free and c <= free, where free counts before the
frame; cells are free again when the transmission of their frame starts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from testbed.validate.measure import THIN_HEADER_BYTES, depths_bytes, hub_counters, slot_ps, twin_of
from testbed.validate.plans import FOREVER_PS, Data, Wire, card, closed, one_message, star
from testbed.validate.row import Oracle, Row

CHOUDHURY_HAHNE = (
    "Choudhury and Hahne, Dynamic Queue Length Thresholds for Shared-Memory Packet Switches, ToN 1998"
)
BUFFER_BYTES = 166_600_000
"""Shared pool of a Tomahawk 5 (sonic-buildimage, arista_7060x6_64pe), and its cell."""
CELL_BYTES = 254
FRAME_CELLS = 16
FRAME_BYTES = FRAME_CELLS * CELL_BYTES
"""A frame of whole cells, so that bytes and cells say the same."""
SLOT_PS = slot_ps(FRAME_BYTES)
ALPHAS_LOG2 = (-3, -1, 0, 1, 3)
LATENCY_PS = 100_000


def _alpha(alpha_log2: int) -> Fraction:
    return Fraction(2) ** alpha_log2


# ----------------------------------------------------------------------------------------- steady-state share


def overloaded(queues: int, alpha_log2: int) -> Data:
    """Each of `queues` outputs is fed by one sender at twice its rate; the senders start one after the other."""
    payload = FRAME_BYTES - THIN_HEADER_BYTES
    endless: Data = {"reliability": "go_back_n", "mtu_bytes": payload, "rto_ps": 10**12}
    load = closed(0, 1000 * payload, until_ps=FOREVER_PS, window=50)
    senders = [
        card(
            load | {"destinations": [queues + number], "start_ps": number * SLOT_PS // queues},
            window_pkts=60_000,
            **endless,
        )
        for number in range(queues)
    ]
    wires = [Wire(byte_time_ps=10)] * queues + [Wire()] * queues
    return star(
        [*senders, *[card(**endless) for _ in range(queues)]],
        wires=wires,
        buffer_bytes=BUFFER_BYTES,
        cell_bytes=CELL_BYTES,
        alpha_log2=alpha_log2,
    )


def steady_share(quick: bool) -> list[Row]:
    """Occupancy of each of n overloaded queues."""
    queues = (1, 2, 8, 64) if quick else range(1, 65)
    return [row for alpha_log2 in ALPHAS_LOG2 for n in queues for row in _share_rows(n, alpha_log2)]


def _share_rows(queues: int, alpha_log2: int) -> Iterator[Row]:
    alpha = _alpha(alpha_log2)
    expected = float(alpha * BUFFER_BYTES / (1 + alpha * queues))
    data = overloaded(queues, alpha_log2)
    twin = twin_of(data)
    pairs = [(1 + number, 1 + queues + number) for number in range(queues)]
    filled_ps = LATENCY_PS + round(expected / FRAME_BYTES * SLOT_PS * 1.3) + 20 * SLOT_PS
    samples = []
    for step in range(9):  # an odd part of a slot apart, so that each sample sees another phase
        twin.run(filled_ps + step * SLOT_PS * 5 // 8)
        samples.append(depths_bytes(hub_counters(twin, data), pairs))
    depths = np.concatenate(samples)
    found = (
        ("the farthest", float(depths[np.argmax(np.abs(depths - expected))]), 2 + alpha),
        ("their mean", float(depths.mean()), 1),
    )
    for which, measured, frames in found:
        yield Row(
            oracle="buffer-share",
            case=f"alpha {float(alpha):g}, {queues} queues, {which}",
            expected=expected,
            measured=measured,
            unit="byte",
            tolerance=float(frames * FRAME_BYTES),
            source=f"alpha B / (1 + alpha n); {CHOUDHURY_HAHNE}",
        )


# ---------------------------------------------------------------------------------------------- first drop


def first_drop(quick: bool) -> list[Row]:
    """How much is queued in all when the first frame is refused, and how many are refused."""
    receivers = (1, 3) if quick else (1, 2, 3, 4, 7, 8)
    cells = (254, 4_200) if quick else (1, 192, 254, 420, 4_200)
    reserved = (0, 30_000)
    cases = itertools.product(ALPHAS_LOG2, receivers, cells, reserved)
    return [row for case in cases for row in _drop_rows(*case)]


def _drop_rows(alpha_log2: int, receivers: int, cell_bytes: int, reserved_bytes: int) -> Iterator[Row]:
    buffer_bytes, frame_bytes, senders = 2**18, 4_122, 150
    waiting, dropped = admitted_frames(
        frame_cells=-(-frame_bytes // cell_bytes),
        buffer_cells=buffer_bytes // cell_bytes,
        reserved_cells=reserved_bytes // cell_bytes,
        alpha=_alpha(alpha_log2),
        outputs=[sender % receivers for sender in range(senders)],
    )
    sources = [
        card(one_message(sender % receivers, frame_bytes - THIN_HEADER_BYTES)) for sender in range(senders)
    ]
    data = star(
        [*[card() for _ in range(receivers)], *sources],
        buffer_bytes=buffer_bytes,
        cell_bytes=cell_bytes,
        reserved_bytes=reserved_bytes,
        alpha_log2=alpha_log2,
    )
    twin = twin_of(data)
    twin.run(LATENCY_PS + 1)  # all have come, and nothing has left but what found the output idle
    counters = hub_counters(twin, data)
    case = f"alpha 2^{alpha_log2}, {cell_bytes:,} B cells, {reserved_bytes:,} B reserved"
    for port in range(receivers):
        counts = (
            ("holds", waiting[port] * frame_bytes, counters[f"port{1 + port}.queue_watermark_bytes"], "byte"),
            ("refused", dropped[port], counters[f"port{1 + port}.out_discards"], "frames"),
        )
        for what, expected, measured, unit in counts:
            yield Row(
                oracle="buffer-drop",
                case=f"{case}, queue {1 + port} of {receivers} {what}",
                expected=expected,
                measured=measured,
                unit=unit,
                source=f"q + c <= alpha free, frame by frame in integers; {CHOUDHURY_HAHNE}",
            )


def admitted_frames(
    *, frame_cells: int, buffer_cells: int, reserved_cells: int, alpha: Fraction, outputs: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Frames waiting and frames refused for each output, when frames for `outputs` come in that order at once.

    The first for each output finds it idle. Cells up to `reserved_cells` are the queue's own, beyond the shared ones.
    """
    count = max(outputs) + 1
    idle, waiting, refused, free = [True] * count, [0] * count, [0] * count, buffer_cells
    for output in outputs:
        before = max(0, waiting[output] * frame_cells - reserved_cells)
        after = max(0, (waiting[output] + 1) * frame_cells - reserved_cells)
        if idle[output]:
            idle[output] = False
        elif after == before or (after <= alpha * free and after - before <= free):
            waiting[output] += 1
            free -= after - before
        else:
            refused[output] += 1
    return waiting, refused


# ------------------------------------------------------------------------------------------- release order


def release_order(quick: bool) -> list[Row]:
    """A full buffer; one more frame comes just before, at, and just after a transmission starts."""
    del quick
    return [row for other in (False, True) for late_ps in (-1, 0, 1) for row in _release_rows(late_ps, other)]


def _release_rows(late_ps: int, other: bool) -> Iterator[Row]:
    """Four senders fill a buffer of three frames at time 0; the first frame leaves at once, the next a slot later.

    The late frame is for the same output, or (`other`) waits for a second output behind two frames of its own.
    """
    frames, payload = 3, FRAME_BYTES - THIN_HEADER_BYTES
    first = [card(one_message(0, payload)) for _ in range(1 + frames)]
    # The second output is busy with a frame that starts half a slot in, when the buffer is full.
    busy = card(one_message(1, payload, start_ps=SLOT_PS // 2))
    late = card(one_message(int(other), payload, start_ps=SLOT_PS + late_ps))
    data = star(
        [card(), card(), *first, busy, late],
        buffer_bytes=frames * FRAME_BYTES,
        cell_bytes=CELL_BYTES,
        alpha_log2=7,
    )
    twin = twin_of(data)
    twin.run(LATENCY_PS + SLOT_PS + SLOT_PS // 4)
    counters = hub_counters(twin, data)
    port = 1 + int(other)
    when = {-1: "1 ps before", 0: "at", 1: "1 ps after"}[late_ps]
    yield Row(
        oracle="buffer-release",
        case=f"frame for the {'other' if other else 'same'} output {when} the start of a transmission",
        expected=0 if late_ps > 0 else 1,
        measured=counters[f"port{port}.out_discards"],
        unit="drops",
        source=f"cells are free from the start of transmission on, arrivals first at a tie; {CHOUDHURY_HAHNE}",
    )


ORACLES = (
    Oracle(
        name="buffer-share",
        subject="buffer",
        description="occupancy of each of n overloaded queues: alpha B / (1 + alpha n)",
        tolerance="of the mean one frame, of each queue 2 + alpha: a frame elsewhere moves its threshold by alpha",
        run=steady_share,
    ),
    Oracle(
        name="buffer-drop",
        subject="buffer",
        description="what each queue holds when the first frame is refused, and how many are",
        tolerance="none: integers",
        run=first_drop,
    ),
    Oracle(
        name="buffer-release",
        subject="buffer",
        description="a cell is free again once its frame's transmission starts, not earlier",
        tolerance="none: integers",
        run=release_order,
    ),
)
