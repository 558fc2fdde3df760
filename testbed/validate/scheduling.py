"""Which class sends: shares of deficit round robin, strict priority, and the rate of a shaper."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from testbed.run.join import RX_DTYPE
from testbed.validate.measure import THIN_HEADER_BYTES, Times, slot_ps, twin_of
from testbed.validate.plans import FOREVER_PS, Data, Field, Wire, card, closed, star
from testbed.validate.row import Oracle, Row

DWRR = "Shreedhar and Varghese 1995: served within one quantum and one frame of the share, while all classes wait"
LATENCY_PS = 10_000


def deliveries(
    frames_bytes: Sequence[int], classes: Sequence[int], until_ps: int, **config: Field
) -> list[Times]:
    """When each message of each sender was delivered: every one keeps its class waiting at one output at all times."""
    nic: Data = {"mtu_bytes": 9_000, "reliability": "go_back_n", "window_pkts": 60_000, "rto_ps": 10**12}
    cards = [card(**nic)]
    for frame_bytes, traffic_class in zip(frames_bytes, classes, strict=True):
        # Far more outstanding than the output can send in a round, so that the class never runs dry.
        load = closed(0, frame_bytes - THIN_HEADER_BYTES, until_ps=FOREVER_PS, window=2_000)
        cards.append(card(load, data_class=traffic_class, ack_class=7, **nic))
    data = star(cards, wires=[Wire(latency_ps=LATENCY_PS)] * len(cards), cut_through=False, **config)
    twin = twin_of(data)
    twin.run(until_ps)
    records = np.frombuffer(twin.rx_records(), RX_DTYPE)
    return [
        np.sort(records["delivered_ps"][records["src"] == 1 + number]).astype(np.int64)
        for number in range(len(classes))
    ]


def by_class(values: dict[int, int]) -> list[int]:
    """A list for all 8 classes; 0 where none is named."""
    return [values.get(c, 0) for c in range(8)]


# ------------------------------------------------------------------------------------------------------- DWRR


def dwrr(quick: bool) -> list[Row]:
    """Bytes of each of several classes that all wait, over windows of any length."""
    cases = (
        ({0: 15_000, 1: 14_000}, (1_526, 1_526)),
        ({0: 2_048, 3: 4_096, 5: 8_192}, (1_026, 4_122, 64)),
        ({1: 30_000, 2: 10_000, 4: 20_000, 6: 5_000}, (4_122, 9_026, 1_526, 300)),
    )
    slots = 2_000 if quick else 20_000
    return [row for quanta, frames in cases for row in _dwrr_rows(quanta, frames, slots)]


def _dwrr_rows(quanta: dict[int, int], frames: Sequence[int], slots: int) -> list[Row]:
    """The largest lag or lead of each class behind or ahead of its share, over windows from one instant on."""
    frame_of = dict(zip(quanta, frames, strict=True))
    found = deliveries(frames, list(quanta), slots * slot_ps(4_122), dwrr_quantum_bytes=by_class(quanta))
    whole = sum(quanta.values())
    begin_ps = 200 * slot_ps(9_026)
    windows = np.linspace(begin_ps, slots * slot_ps(4_122), 400).astype(np.int64)
    served = np.array(
        [
            np.diff(np.searchsorted(times, windows)).cumsum() * frame_of[c]
            for times, c in zip(found, quanta, strict=True)
        ]
    )
    total = served.sum(axis=0)
    rows = []
    for place, (c, quantum) in enumerate(quanta.items()):
        share = quantum / whole
        worst = int(np.argmax(np.abs(served[place] - share * total)))
        rows.append(
            Row(
                oracle="dwrr",
                case=f"class {c}, quantum {quantum:,} of {whole:,}, {frame_of[c]:,} B frames",
                expected=share * float(total[worst]),
                measured=float(served[place][worst]),
                unit="byte",
                tolerance=_dwrr_bound(c, quanta, frame_of),
                source=DWRR,
            )
        )
    return rows


def _dwrr_bound(c: int, quanta: dict[int, int], frame_of: dict[int, int]) -> float:
    """In k rounds a class gets k quanta, give or take a quantum and a frame; its share of the whole moves with all."""
    share = quanta[c] / sum(quanta.values())
    slack = {other: quantum + frame_of[other] for other, quantum in quanta.items()}
    return (1 - 2 * share) * slack[c] + share * sum(slack.values())


# ----------------------------------------------------------------------------------------------------- strict


def strict(quick: bool) -> list[Row]:
    """A strict class that always waits leaves nothing to a lower one, nor to any DWRR class."""
    slots = 1_000 if quick else 10_000
    plain = deliveries((4_122, 4_122), (5, 2), slots * slot_ps(4_122))
    mixed = deliveries(
        (4_122, 4_122, 4_122),
        (1, 4, 6),
        slots * slot_ps(4_122),
        dwrr_quantum_bytes=by_class({4: 9_000, 6: 9_000}),
    )
    settled_ps = 200 * slot_ps(4_122)  # both start at once, and the first frame may be of either
    cases = (
        ("class 2 below a waiting class 5", plain[1]),
        ("DWRR class 4 beside a strict class 1", mixed[1]),
        ("DWRR class 6 beside a strict class 1", mixed[2]),
    )
    return [
        Row(
            oracle="strict",
            case=case,
            expected=0,
            measured=int((times > settled_ps).sum()),
            unit="frames",
            source="strict priority: a lower class waits while a higher one has a frame",
        )
        for case, times in cases
    ]


# ----------------------------------------------------------------------------------------------------- shaper


def shaper(quick: bool) -> list[Row]:
    """A class that always waits gets its rate: in any window at most a burst more, in a long one no less."""
    slots = 2_000 if quick else 20_000
    cases = itertools.product((100, 37), (4_122, 65_536))
    return [row for gbps, burst in cases for row in _shaper_rows(gbps, burst, slots)]


def _shaper_rows(gbps: int, burst_bytes: int, slots: int) -> list[Row]:
    frame_bytes, c = 4_122, 3
    per_kib_ps = round(8 * 1024 * 1000 / gbps)
    until_ps = slots * slot_ps(frame_bytes)
    (times,) = deliveries(
        (frame_bytes,),
        (c,),
        until_ps,
        shaper_ps_per_kib=by_class({c: per_kib_ps}),
        shaper_burst_bytes=by_class({c: burst_bytes}),
    )
    frame_ps = frame_bytes * per_kib_ps / 1024  # at the shaped rate
    # From the start of frame i to that of frame j there are j - i + 1 frames; most beyond the rate over all i <= j.
    ahead = frame_bytes * (np.arange(len(times)) - (times - times[0]) / frame_ps)
    most = frame_bytes + float((ahead - np.minimum.accumulate(ahead)).max())
    case = f"{gbps} Gb/s, burst of {burst_bytes:,} B"
    return [
        Row(
            oracle="shaper",
            case=f"{case}, most in any window beyond the rate",
            expected=burst_bytes + frame_bytes,
            measured=most,
            unit="byte",
            # The model's times are whole: a picosecond for each frame.
            tolerance=1 + len(times) * frame_bytes / frame_ps,
            relation="at_most",
            source="token bucket: r t + b, and the frame that the last token lets go",
        ),
        Row(
            oracle="shaper",
            case=f"{case}, time of {len(times):,} frames",
            expected=(len(times) - 1) * frame_ps / 1e6,
            measured=float(times[-1] - times[0]) / 1e6,
            unit="us",
            tolerance=(burst_bytes / frame_bytes + 1) * frame_ps / 1e6,
            source="token bucket: n frames take n L / r, less the burst",
        ),
    ]


ORACLES = (
    Oracle(
        name="dwrr",
        subject="scheduling",
        description="bytes of each waiting class against its share, at any time",
        tolerance="a quantum and a frame of its own, and its share of the others'",
        run=dwrr,
    ),
    Oracle(
        name="strict",
        subject="scheduling",
        description="strict priority starves what is below it",
        tolerance="none: integers",
        run=strict,
    ),
    Oracle(
        name="shaper",
        subject="scheduling",
        description="a shaped class gets its rate, and never a burst more",
        tolerance="a picosecond for each frame; of a long window the burst and one frame",
        run=shaper,
    ),
)
