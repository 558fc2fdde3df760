"""Path choice against balls into bins: n flows (packets, flowlets) over n equal paths.

The k-th path is k steps longer than the first, so that a frame's latency tells which one it took.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from testbed.validate.measure import (
    CONFIDENCE,
    THIN_HEADER_BYTES,
    independent_half_width,
    share_half_width,
)
from testbed.validate.plans import Data, Field, Wire, card, finished, plan, records_of, switch
from testbed.validate.row import Oracle, Row

Paths = npt.NDArray[np.int64]

BALLS = "balls into bins: P(max <= k) = n! [x^n] (sum_(j<=k) x^j / j!)^m / m^n"
PAYLOAD_BYTES = 64
BYTE_PS = 1
LATENCY_PS = 1_000
STEP_PS = 2_000
GAP_PS = 500_000
"""Of flowlets."""
INTERVAL_PS = 2 * GAP_PS
"""Longer than all paths differ, so that nothing is overtaken, and than the gap."""


# --------------------------------------------------------------------------------------------- closed forms


def most_balls(balls: int, bins: int) -> npt.NDArray[np.float64]:
    """P(the fullest bin holds k balls), for k = 0 .. balls."""
    whole = math.factorial(balls) / float(bins) ** balls
    at_most = [
        whole * _power([1 / math.factorial(j) for j in range(k + 1)], bins, balls) for k in range(balls + 1)
    ]
    return np.diff(np.array([0.0, *at_most]))


def _power(polynomial: Sequence[float], exponent: int, degree: int) -> float:
    """The coefficient of x^degree in a polynomial's power."""
    result, base = np.ones(1), np.array(polynomial)
    while exponent:
        if exponent & 1:
            result = np.convolve(result, base)[: degree + 1]
        base = np.convolve(base, base)[: degree + 1]
        exponent >>= 1
    return float(result[degree]) if len(result) > degree else 0.0


# ----------------------------------------------------------------------------------------------------- runs


def parallel_paths(loads: Sequence[Data], receivers: int, paths: int, **config: Field) -> Data:
    """Senders at one switch, receivers at another, and `paths` links between them; answers take the first."""
    senders = len(loads)
    endpoints = senders + receivers
    near, far = endpoints, endpoints + 1
    # Ports of the near switch: 1 .. senders, then the paths; of the far one: 1 .. receivers, then the paths.
    near_switch = switch(
        [[1 + senders + path for path in range(paths)], *[[1 + number] for number in range(senders)]],
        [*range(1, 1 + senders), *[0] * receivers],
        **config,
    )
    far_switch = switch(
        [[1 + receivers], *[[1 + number] for number in range(receivers)]],
        [*[0] * senders, *range(1, 1 + receivers)],
    )
    short = Wire(byte_time_ps=BYTE_PS, latency_ps=LATENCY_PS)
    links = [(number, 0, near, 1 + number, short) for number in range(senders)]
    links += [(senders + number, 0, far, 1 + number, short) for number in range(receivers)]
    links += [
        (
            near,
            1 + senders + path,
            far,
            1 + receivers + path,
            Wire(byte_time_ps=BYTE_PS, latency_ps=LATENCY_PS + path * STEP_PS),
        )
        for path in range(paths)
    ]
    cards = [*[card(load) for load in loads], *[card() for _ in range(receivers)]]
    return plan([*cards, near_switch, far_switch], links)


def stream(
    destinations: Sequence[int], messages: int, *, arrivals: str = "PERIODIC", start_ps: int = 0
) -> Data:
    """One small message after the other."""
    return {
        "arrivals": arrivals,
        "destinations": list(destinations),
        "message_bytes": PAYLOAD_BYTES,
        "start_ps": start_ps,
        "interval_ps": INTERVAL_PS,
        "measure_until_ps": start_ps + messages * INTERVAL_PS,
    }


def paths_taken(data: Data) -> tuple[Any, Paths]:
    """The records of a run in the order of sending, and the path that each took."""
    records = np.sort(records_of(finished(data)), order=["first_byte_ps", "src"])
    alone_ps = 3 * LATENCY_PS + (PAYLOAD_BYTES + THIN_HEADER_BYTES + 8) * BYTE_PS
    extra_ps = (records["delivered_ps"] - records["first_byte_ps"]).astype(np.int64) - alone_ps
    return records, np.rint(extra_ps / STEP_PS).astype(np.int64)


def hashed_flows(paths: int, flows: int, cards: int = 256, **config: Field) -> Paths:
    """The path of each of so many flows, from as many switches as it takes, each with a seed of its own."""
    found: list[Paths] = []
    seed = 0
    while sum(map(len, found)) < flows:
        seed += 1
        loads = [
            # Senders take turns inside an interval, so that frames do not wait for each other.
            stream(range(cards, 2 * cards), 2 * cards, start_ps=sender * INTERVAL_PS // cards)
            for sender in range(cards)
        ]
        records, taken = paths_taken(
            parallel_paths(loads, cards, paths, hash_seed=seed * 0x9E3779B97F4A7C15 % 2**64, **config)
        )
        _, first = np.unique(records["src"].astype(np.int64) << 16 | records["dst"], return_index=True)
        found.append(np.random.default_rng(seed).permutation(taken[first]))
    return np.concatenate(found)[:flows]


def packets_of_one_flow(paths: int, packets: int, **config: Field) -> Paths:
    """The path of each packet of one sender to one receiver, further apart than a flowlet's gap."""
    return paths_taken(parallel_paths([stream([1], packets)], 1, paths, **config))[1]


# ----------------------------------------------------------------------------------------------------- rows


def _load_rows(oracle: str, what: str, taken: Paths, paths: int) -> list[Row]:
    """Mean of the fullest path's load over draws of as many balls as there are paths."""
    draws = taken[: len(taken) // paths * paths].reshape(-1, paths)
    fullest = np.array([np.bincount(draw, minlength=paths).max() for draw in draws])
    chances = most_balls(paths, paths)
    loads = np.arange(len(chances))
    mean = float((chances * loads).sum())
    deviation = math.sqrt(float((chances * loads**2).sum()) - mean**2)
    case = f"{paths} {what} over {paths} paths, {len(draws):,} draws"
    rows = [
        Row(
            oracle=oracle,
            case=f"{case}, mean of the fullest path",
            expected=mean,
            measured=float(fullest.mean()),
            unit=what,
            tolerance=independent_half_width(deviation, len(draws)),
            source=BALLS,
        )
    ]
    apart = float(chances[1])
    if apart * len(draws) > 1:  # else there is nothing to count
        rows.append(
            Row(
                oracle=oracle,
                case=f"{case}, no path used twice",
                expected=100 * apart,
                measured=100 * float((fullest == 1).mean()),
                unit="%",
                tolerance=100 * share_half_width(apart, len(draws)),
                source="prod (1 - i / m)",
            )
        )
    return rows


def _uniform_row(oracle: str, case: str, taken: Paths, shares: Sequence[float]) -> Row:
    """Chi-square of the loads of all paths."""
    counts = np.bincount(taken, minlength=len(shares))
    freedom = len(shares) - 1
    low, high = stats.chi2.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], freedom)
    return Row(
        oracle=oracle,
        case=f"{case}, {len(taken):,} draws, chi-square",
        expected=freedom,
        measured=float(stats.chisquare(counts, np.array(shares) * len(taken)).statistic),
        unit="",
        tolerance=float(max(high - freedom, freedom - low)),
        source=f"chi-square of {freedom} degrees of freedom",
    )


def flow_hash(quick: bool) -> list[Row]:
    """The hash of a switch over many flows and seeds."""
    rows = []
    for paths in (8, 16) if quick else (8, 16, 32, 64):
        taken = hashed_flows(paths, paths * (1_000 if quick else 10_000), cards=64 if quick else 256)
        rows += _load_rows("flow-hash", "flows", taken, paths)
        rows.append(_uniform_row("flow-hash", f"{paths} paths", taken, [1 / paths] * paths))
    return rows


def spray(quick: bool) -> list[Row]:
    """Each packet on its own."""
    rows = []
    for paths in (8,) if quick else (8, 16, 32, 64):
        taken = packets_of_one_flow(paths, paths * (1_000 if quick else 10_000), path_choice="SPRAY")
        rows += _load_rows("spray", "packets", taken, paths)
        rows.append(_uniform_row("spray", f"{paths} paths", taken, [1 / paths] * paths))
    return rows


FLOWLET = {"path_choice": "FLOWLET", "flowlet_gap_ps": GAP_PS, "flowlet_entries": 1024}


def flowlet(quick: bool) -> list[Row]:
    """Packets further apart than the gap choose anew, closer ones stay together."""
    rows = []
    draws = 1_000 if quick else 10_000
    for paths in (8,) if quick else (8, 16, 32):
        rows += _load_rows("flowlet", "flowlets", packets_of_one_flow(paths, paths * draws, **FLOWLET), paths)
    # Exponential gaps of this mean: a packet begins a flowlet with probability exp(-gap / mean), and changes its path
    # if it does not draw the same again.
    paths, packets = 8, 10 * draws
    data = parallel_paths([stream([1], packets, arrivals="POISSON")], 1, paths, **FLOWLET)
    _, taken = paths_taken(data)
    chance = math.exp(-GAP_PS / INTERVAL_PS) * (1 - 1 / paths)
    rows.append(
        Row(
            oracle="flowlet",
            case=f"packets that change their path, mean distance {INTERVAL_PS / GAP_PS:g} gaps, {len(taken):,} packets",
            expected=100 * chance,
            measured=100 * float((np.diff(taken) != 0).mean()),
            unit="%",
            tolerance=100 * share_half_width(chance, len(taken) - 1),
            source="exp(-gap / mean) (1 - 1 / m)",
        )
    )
    return rows


def balanced(quick: bool) -> list[Row]:
    """Round robin and least loaded spread a burst evenly."""
    del quick
    return [_burst_row(choice, paths) for choice in ("ROUND_ROBIN", "LEAST_LOADED") for paths in (4, 16)]


def _burst_row(choice: str, paths: int) -> Row:
    """128 senders at one instant: the fullest path."""
    senders = 128
    loads = [stream([senders + number], 1) for number in range(senders)]
    data = parallel_paths(loads, senders, paths, path_choice=choice, load_quantum_bytes=1, flowlet_gap_ps=0)
    twin = finished(data)
    counters = twin.counters()[data["nodes"][-2]["name"]]
    sent = [counters[f"port{1 + senders + path}.out_frames"] for path in range(paths)]
    return Row(
        oracle="balance",
        case=f"{choice.lower().replace('_', ' ')}, {senders} packets at once over {paths} paths, the fullest",
        expected=senders // paths,
        measured=max(sent),
        unit="packets",
        source="n / m",
    )


def weighted(quick: bool) -> list[Row]:
    """Paths of unequal weight."""
    weights = [1, 1, 2, 4]
    config: dict[str, Any] = {"weights": [weights, *[[1]] * 64]}
    taken = hashed_flows(len(weights), 4_000 if quick else 50_000, cards=64, **config)
    shares = [weight / sum(weights) for weight in weights]
    return [_uniform_row("weights", f"weights {weights}", taken, shares)]


_INTERVAL = "99.9 % interval of as many independent draws"
ORACLES = (
    Oracle(
        name="flow-hash",
        subject="paths",
        description="n flows over n paths: the fullest path, and the evenness of all",
        tolerance=_INTERVAL,
        run=flow_hash,
    ),
    Oracle(
        name="spray",
        subject="paths",
        description="n packets over n paths, each on its own",
        tolerance=_INTERVAL,
        run=spray,
    ),
    Oracle(
        name="flowlet",
        subject="paths",
        description="n flowlets over n paths; when a flow begins a new one",
        tolerance=_INTERVAL,
        run=flowlet,
    ),
    Oracle(
        name="balance",
        subject="paths",
        description="a burst over paths in turn, or to the least loaded",
        tolerance="none: integers",
        run=balanced,
    ),
    Oracle(
        name="weights",
        subject="paths",
        description="flows over paths of unequal weight",
        tolerance=_INTERVAL,
        run=weighted,
    ),
)
