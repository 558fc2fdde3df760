"""ECN marking against its curve: 0 up to Kmin, rising to Pmax at Kmax, 1 beyond; and a step, as DCTCP has it.

M senders send one frame each at the same instant, again and again. The first finds the output idle, the others leave in
the order of their ports; so the depth that each sender's frame meets is known without looking into the switch: when it
leaves, all behind it are there, and when it came, all ahead of it were.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from testbed.validate.measure import THIN_HEADER_BYTES, share_half_width, slot_ps
from testbed.validate.plans import Wire, card, finished, records_of, star
from testbed.validate.row import Oracle, Row

Shares = npt.NDArray[np.float64]

FRAME_BYTES = 1_026
CURVE = "p = Pmax (q - Kmin) / (Kmax - Kmin); RED as in DCQCN (Zhu et al. 2015), alibaba-edu/HPCC switch-mmu"
STEP = "marked iff the queue exceeds K; DCTCP (Alizadeh et al. 2010)"
BINS = 20
DEPTHS_PER_BIN = 5
KMIN_FRAMES = 10
KMAX_FRAMES = KMIN_FRAMES + BINS * DEPTHS_PER_BIN
PMAX_PPM = 200_000
SENDERS = KMAX_FRAMES + 10
DATA_CLASS = 3


def marked_share(
    packets: int, *, kmin_bytes: int, kmax_bytes: int, pmax_ppm: int, at_enqueue: bool
) -> Shares:
    """The share of each sender's frames that were marked."""
    rounds = -(-packets // SENDERS)
    interval_ps = (SENDERS + 10) * slot_ps(FRAME_BYTES)
    load = {
        "arrivals": "PERIODIC",
        "destinations": [0],
        "message_bytes": FRAME_BYTES - THIN_HEADER_BYTES,
        "interval_ps": interval_ps,
        "measure_until_ps": rounds * interval_ps,
    }
    ecn = [[0, 0, 0]] * 8
    ecn[DATA_CLASS] = [kmin_bytes, kmax_bytes, pmax_ppm]
    data = star(
        [card(), *[card(load, data_class=DATA_CLASS)] * SENDERS],
        wires=[Wire(latency_ps=10_000)] * (1 + SENDERS),
        ecn=ecn,
        ecn_at_enqueue=at_enqueue,
    )
    records = records_of(finished(data))
    counts = np.bincount(records["src"], minlength=1 + SENDERS)[1:]
    marks = np.bincount(records["src"], weights=records["marks"] > 0, minlength=1 + SENDERS)[1:]
    return np.asarray(marks / counts, dtype=np.float64)


def depths_frames(at_enqueue: bool) -> npt.NDArray[np.int64]:
    """The depth at which each sender's frame is judged, in frames; that of the first, which does not wait, is 0.

    On leaving, itself and those behind it; on coming, those ahead of it without the one on the wire.
    """
    place = np.arange(SENDERS)
    depth = np.maximum(place - 1, 0) if at_enqueue else SENDERS - place
    depth[0] = 0
    return depth


def curve(quick: bool) -> list[Row]:
    """The share of marked frames in each of 20 bins between Kmin and Kmax, and outside."""
    packets = 100_000 if quick else 1_000_000
    return [row for at_enqueue in (False, True) for row in _curve_rows(packets, at_enqueue)]


def _curve_rows(packets: int, at_enqueue: bool) -> list[Row]:
    shares = marked_share(
        packets,
        kmin_bytes=KMIN_FRAMES * FRAME_BYTES,
        kmax_bytes=KMAX_FRAMES * FRAME_BYTES,
        pmax_ppm=PMAX_PPM,
        at_enqueue=at_enqueue,
    )
    depth = depths_frames(at_enqueue)
    when = "on coming" if at_enqueue else "on leaving"
    rounds = -(-packets // SENDERS)
    rows = []
    for number in range(BINS):
        low = KMIN_FRAMES + number * DEPTHS_PER_BIN
        inside = (depth > low) & (depth <= low + DEPTHS_PER_BIN)
        chance = float((PMAX_PPM / 1e6 * (depth[inside] - KMIN_FRAMES) / (KMAX_FRAMES - KMIN_FRAMES)).mean())
        count = int(inside.sum()) * rounds
        rows.append(
            _row(
                f"{when}, bin {number + 1} of {BINS}, {count:,} frames",
                float(shares[inside].mean()),
                chance,
                share_half_width(chance, count, comparisons=BINS),
            )
        )
    below, beyond = depth <= KMIN_FRAMES, depth > KMAX_FRAMES
    rows.append(_row(f"{when}, up to Kmin", float(shares[below].max()), 0, 0))
    if beyond.any():
        rows.append(_row(f"{when}, beyond Kmax", float(shares[beyond].min()), 1, 0))
    return rows


def _row(case: str, measured: float, expected: float, tolerance: float) -> Row:
    return Row(
        oracle="ecn-curve",
        case=case,
        expected=100 * expected,
        measured=100 * measured,
        unit="%",
        tolerance=100 * tolerance,
        source=CURVE,
    )


def step(quick: bool) -> list[Row]:
    """How many of a burst are marked with Kmin = Kmax = K."""
    del quick
    return [
        _step_row(threshold, at_enqueue)
        for at_enqueue in (False, True)
        for threshold in (0, 1, 65, SENDERS - 2)
    ]


def _step_row(threshold_frames: int, at_enqueue: bool) -> Row:
    threshold_bytes = max(1, threshold_frames * FRAME_BYTES)
    shares = marked_share(
        10 * SENDERS,
        kmin_bytes=threshold_bytes,
        kmax_bytes=threshold_bytes,
        pmax_ppm=1_000_000,
        at_enqueue=at_enqueue,
    )
    return Row(
        oracle="ecn-step",
        case=f"{'on coming' if at_enqueue else 'on leaving'}, K {threshold_frames} of {SENDERS} frames",
        expected=int((depths_frames(at_enqueue) > threshold_frames).sum()),
        measured=float(shares.sum()),
        unit="frames",
        source=STEP,
    )


ORACLES = (
    Oracle(
        name="ecn-curve",
        subject="ecn",
        description="share of marked frames in each of 20 bins between Kmin and Kmax",
        tolerance="99.9 % binomial interval of all bins at once (Bonferroni)",
        run=curve,
    ),
    Oracle(
        name="ecn-step",
        subject="ecn",
        description="step marking: a frame is marked iff the queue exceeds K",
        tolerance="none: integers",
        run=step,
    ),
)
