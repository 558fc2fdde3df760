"""What an experiment writes about its switches, read into plain values. Knows no profile.

One parser per key; each raises a `SpecError` that says what to write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from testbed.errors import SpecError
from testbed.registry import unknown_name
from testbed.spec.parameters import ParameterValue
from testbed.spec.settings import latency, size, switched, time_above_zero, whole
from testbed.switches.profile import CLASSES, NO_THRESHOLD
from testbed.units import (
    BYTES_PER_KIB,
    PPM_PER_WHOLE,
    PS_PER_S,
    parse_ppm,
    parse_rate,
    parse_size,
)

MAX_ALPHA_LOG2 = 16
MAX_WEIGHT = 1_000

PathKind: TypeAlias = Literal["hash", "flowlet", "least_loaded", "spray", "round_robin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A marking curve: none below `kmin`, `pmax` at `kmax`, all above."""

    kmin_bytes: int
    kmax_bytes: int
    pmax_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaper:
    """A token bucket on one class of every port."""

    traffic_class: int
    ps_per_kib: int
    burst_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PathChoice:
    """How a switch chooses among equal-cost ports."""

    kind: PathKind
    flowlet_gap_ps: int = 0
    """Zero: no flowlets, or each packet for itself where the load decides."""


HASHED = PathChoice(kind="hash")
"""All packets of a flow by one path, whatever its load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trim:
    """What becomes of a frame that would be dropped."""

    size_bytes: int
    traffic_class: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """How long a queue may be paused, and how long it is then drained into nothing."""

    detection_ps: int
    restoration_ps: int


def alpha(value: ParameterValue) -> int:
    """An exponent of two."""
    return whole(value, low=-MAX_ALPHA_LOG2, high=MAX_ALPHA_LOG2)


def ingress_alpha(value: ParameterValue) -> int:
    """An exponent of two, or `none`."""
    return NO_THRESHOLD if value in ("none", NO_THRESHOLD) else alpha(value)


def traffic_class(value: ParameterValue) -> int:
    """One of the eight classes."""
    return whole(value, low=0, high=CLASSES - 1)


def classes(value: ParameterValue) -> tuple[int, ...] | None:
    """`3,4`, each once; `none`: no class; `default`: None, those of the profile."""
    if value in ("none", "default"):
        return () if value == "none" else None
    found = [traffic_class(part.strip()) for part in str(value).split(",")]
    if len(set(found)) < len(found):
        raise SpecError(f"'{value}' names a class twice", remedy="name each class once, e.g. '3,4'")
    return tuple(sorted(found))


def headroom(value: ParameterValue) -> int | None:
    """Bytes for every port, or `auto`: None."""
    return None if value == "auto" else size(value)


def curve(value: ParameterValue) -> Curve | Literal["off", "default"]:
    """`KMIN:KMAX:PMAX`, `step:K`, `default` or `off`."""
    if value == "off" or value == "default":
        return "off" if value == "off" else "default"
    parts = str(value).split(":")
    if len(parts) == 2 and parts[0] == "step":
        k = size(parts[1])
        return Curve(kmin_bytes=k, kmax_bytes=k, pmax_ppm=PPM_PER_WHOLE)
    if len(parts) != 3:
        raise SpecError(
            f"'{value}' is no marking curve",
            remedy="write KMIN:KMAX:PMAX, e.g. '100KB:400KB:20%', or 'step:100KB', 'default' or 'off'",
        )
    found = Curve(
        kmin_bytes=parse_size(parts[0]),
        kmax_bytes=size(parts[1]),
        pmax_ppm=parse_ppm(parts[2]),
    )
    if found.kmin_bytes > found.kmax_bytes:
        raise SpecError(f"'{value}': KMIN is above KMAX", remedy="write the smaller size first")
    if not 0 < found.pmax_ppm <= PPM_PER_WHOLE:
        raise SpecError(f"'{value}': PMAX is not above 0 and up to 100 %", remedy="write e.g. '20%'")
    return found


def ecn_at(value: ParameterValue) -> bool:
    """Whether frames are marked when they come into the queue, not when they leave it."""
    if value not in ("dequeue", "enqueue"):
        raise SpecError(f"'{value}' is no place to mark at", remedy="write 'dequeue' or 'enqueue'")
    return value == "enqueue"


def weights(value: ParameterValue) -> tuple[int, ...] | Literal["default"]:
    """`strict`; `dwrr`: `default`, as shipped; `dwrr:1,1,1,15,14,1,strict,strict`: weight per class, 0 is strict."""
    if value == "strict" or value == "dwrr":
        return () if value == "strict" else "default"
    kind, _, listed = str(value).partition(":")
    parts = [part.strip() for part in listed.split(",")]
    if kind != "dwrr" or len(parts) != CLASSES:
        raise SpecError(
            f"'{value}' is no scheduling",
            remedy=f"write 'strict', 'dwrr', or 'dwrr:' and {CLASSES} of weight or 'strict', class 0 first",
        )
    return tuple(0 if part == "strict" else whole(part, low=1, high=MAX_WEIGHT) for part in parts)


def shapers(value: ParameterValue) -> tuple[Shaper, ...]:
    """`CLASS:RATE:BURST`, several separated by `;`, or `off`."""
    if value == "off":
        return ()
    found = [_shaper(part) for part in str(value).split(";")]
    if len({shaper.traffic_class for shaper in found}) < len(found):
        raise SpecError(f"'{value}' shapes a class twice", remedy="name each class once")
    return tuple(found)


def _shaper(text: str) -> Shaper:
    parts = text.strip().split(":")
    if len(parts) != 3:
        raise SpecError(
            f"'{text}' is no shaper", remedy="write CLASS:RATE:BURST, e.g. '3:100Gbps:64KB', or 'off'"
        )
    per_kib = round(BYTES_PER_KIB * 8 * PS_PER_S / parse_rate(parts[1]))
    return Shaper(traffic_class=traffic_class(parts[0]), ps_per_kib=per_kib, burst_bytes=size(parts[2]))


_WITH_GAP: Mapping[str, PathKind] = {"flowlet": "flowlet", "least_loaded": "least_loaded"}
_WITHOUT_GAP: Mapping[str, PathKind] = {
    "hash": "hash",
    "least_loaded": "least_loaded",
    "spray": "spray",
    "round_robin": "round_robin",
}


def paths(value: ParameterValue) -> PathChoice:
    """`hash`, `flowlet:GAP`, `least_loaded`, `least_loaded:GAP`, `spray` or `round_robin`."""
    kind, colon, gap = str(value).partition(":")
    if colon and kind in _WITH_GAP:
        return PathChoice(kind=_WITH_GAP[kind], flowlet_gap_ps=time_above_zero(gap))
    if not colon and kind in _WITHOUT_GAP:
        return PathChoice(kind=_WITHOUT_GAP[kind])
    known = (*_WITHOUT_GAP, "flowlet:500ns", "least_loaded:500ns")
    raise unknown_name("path choice", str(value), known)


def same_seed(value: ParameterValue) -> bool:
    """Whether all switches hash alike."""
    if value not in ("own", "same"):
        raise SpecError(f"'{value}' is no choice of hash seeds", remedy="write 'own' or 'same'")
    return value == "same"


def trim(value: ParameterValue) -> Trim | None:
    """`SIZE:CLASS` or `off`."""
    if value == "off":
        return None
    length, colon, number = str(value).partition(":")
    if not colon:
        raise SpecError(f"'{value}' is no trimming", remedy="write SIZE:CLASS, e.g. '64B:6', or 'off'")
    found = Trim(size_bytes=parse_size(length), traffic_class=traffic_class(number))
    if found.size_bytes < 64:
        raise SpecError(f"'{value}': no frame is shorter than 64 B", remedy="write at least '64B'")
    return found


def sflow(value: ParameterValue) -> int:
    """One frame in so many; 0: none."""
    return whole(value, low=0, high=1 << 24)


def watchdog(value: ParameterValue) -> Watchdog | None:
    """`DETECTION:RESTORATION` or `off`."""
    if value == "off":
        return None
    detection, colon, restoration = str(value).partition(":")
    if not colon:
        raise SpecError(
            f"'{value}' is no watchdog", remedy="write DETECTION:RESTORATION, e.g. '100us:200us', or 'off'"
        )
    return Watchdog(detection_ps=time_above_zero(detection), restoration_ps=time_above_zero(restoration))


PARSERS: Mapping[str, Callable[[ParameterValue], object]] = {
    "pipeline_latency": latency,
    "cut_through": switched,
    "buffer": size,
    "alpha_log2": alpha,
    "ingress_alpha_log2": ingress_alpha,
    "lossless": classes,
    "lossless_alpha_log2": alpha,
    "headroom": headroom,
    "watchdog": watchdog,
    "ecn": curve,
    "ecn_at": ecn_at,
    "scheduling": weights,
    "shaper": shapers,
    "paths": paths,
    "hash_seed": same_seed,
    "trim": trim,
    "int": switched,
    "sflow": sflow,
    "llr": switched,
    "cbfc": switched,
}
"""Every key of `switch_settings`."""
