"""N senders to one receiver at the same instant: when all is there, how deep the queue gets, what is dropped first."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.validate.measure import THIN_HEADER_BYTES, hub_counters, slot_ps
from testbed.validate.plans import Data, Field, card, finished, one_message, records_of, star
from testbed.validate.row import Oracle, Row

PAYLOAD_BYTES = 4_096
FRAME_BYTES = PAYLOAD_BYTES + THIN_HEADER_BYTES
LATENCY_PS = 100_000
PIPELINE_PS = 600_000
CELL_BYTES = 254
FRAME_CELLS = -(-FRAME_BYTES // CELL_BYTES)


def burst(senders: int, packets: int, **config: Field) -> Data:
    """Endpoint 0 gets one message of so many packets from each of the others, all at time zero."""
    sources = [card(one_message(0, packets * PAYLOAD_BYTES)) for _ in range(senders)]
    return star([card(), *sources], pipeline_latency_ps=PIPELINE_PS, **config)


def completion(quick: bool) -> list[Row]:
    """When the last byte is in, and the peak of the queue."""
    senders = (2, 16, 128) if quick else (2, 4, 8, 16, 32, 64, 128)
    return [row for n in senders for packets in (1, 4, 16) for row in _completion_rows(n, packets)]


def _completion_rows(senders: int, packets: int) -> Iterator[Row]:
    data = burst(senders, packets)
    twin = finished(data)
    # N b / C, and what one frame alone takes; its last gap need not pass before its last bit is in.
    transfer_ps = senders * packets * slot_ps(FRAME_BYTES) - 12 * 20
    yield Row(
        oracle="incast-time",
        case=f"{senders} senders of {packets} packets",
        expected=2 * LATENCY_PS + PIPELINE_PS + transfer_ps,
        measured=int(records_of(twin)["completed_ps"].max()),
        unit="ps",
        source="N b / C behind the first bit, with preambles and gaps",
    )
    # All but the frame on the wire; with p packets each, one frame leaves in each slot in which N come.
    peak = (senders - 1) * packets + (packets > 1)
    yield Row(
        oracle="incast-time",
        case=f"{senders} senders of {packets} packets, peak queue",
        expected=peak * FRAME_BYTES,
        measured=hub_counters(twin, data)["port1.queue_watermark_bytes"],
        unit="byte",
        source="Q = (N - 1) b; of p packets each, (N - 1) p + 1 frames, since arrivals come before departures",
    )


def first_drop(quick: bool) -> list[Row]:
    """The largest burst that a threshold lets through, and what the next sender's frame does."""
    alphas = (0,) if quick else (-2, -1, 0, 1, 3)
    return [row for alpha_log2 in alphas for row in _drop_rows(alpha_log2)]


def _drop_rows(alpha_log2: int) -> Iterator[Row]:
    buffer_cells = 100 * FRAME_CELLS
    waiting = _largest_queue(buffer_cells, alpha_log2)
    for senders, lost in ((1 + waiting, 0), (2 + waiting, 1)):
        data = burst(
            senders, 1, buffer_bytes=buffer_cells * CELL_BYTES, cell_bytes=CELL_BYTES, alpha_log2=alpha_log2
        )
        yield Row(
            oracle="incast-drop",
            case=f"{senders} senders, alpha 2^{alpha_log2}",
            expected=lost,
            measured=hub_counters(finished(data), data)["port1.out_discards"],
            unit="drops",
            source="drop iff the queue with the frame exceeds alpha (B - Q); Choudhury and Hahne 1998",
        )


def _largest_queue(buffer_cells: int, alpha_log2: int) -> int:
    """Frames that wait in one queue when the next is refused: the largest m with m c <= alpha (B - (m - 1) c)."""
    numerator, denominator = (1 << alpha_log2, 1) if alpha_log2 >= 0 else (1, 1 << -alpha_log2)
    frames = 0
    while (frames + 1) * FRAME_CELLS * denominator <= numerator * (buffer_cells - frames * FRAME_CELLS) and (
        (frames + 1) * FRAME_CELLS <= buffer_cells
    ):
        frames += 1
    return frames


ORACLES = (
    Oracle(
        name="incast-time",
        subject="incast",
        description="N to 1: completion of the last message, and the peak of the queue",
        tolerance="none: picoseconds and bytes",
        run=completion,
    ),
    Oracle(
        name="incast-drop",
        subject="incast",
        description="N to 1: the burst that fits, and the first frame that does not",
        tolerance="none: integers",
        run=first_drop,
    ),
)
