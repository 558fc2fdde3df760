"""Where a message's time went, and how much of the difference between two NICs' tails is host software. Pure.

A record's latency is the sum of four components, exactly:

=================== ============================= ==========================================================
component           from, to                      what it is
=================== ============================= ==========================================================
source_software_ps  intended_ps, posted_ps        the sender's software, until its NIC has the work
source_nic_ps       posted_ps, first_byte_ps      the sender's NIC, and waiting for its turn on the wire
network_ps          first_byte_ps, delivered_ps   serialisation, links, switches and the receiver's NIC
notification_ps     delivered_ps, completed_ps    until the receiver has been told
=================== ============================= ==========================================================

*Host software* is source_software + notification; the rest is source_nic + network. A device-initiated NIC
has a source_software and a notification too: what its device needs for them.

Attribution at a quantile. A percentile is one message's latency, and how that one message's time divides is
chance. So the percentile's window is taken instead: all messages whose latency lies between the bounds of
the percentile's 95 % interval, bounds and ties included. The means of the components over the window of NIC
a are subtracted from those over the window of NIC b. The differences of the four components add up to the
difference of the windows' mean latencies (each is rounded to a picosecond), which is close to, but not the
same as, the difference of the percentiles. A bound that lies outside the sample reaches to its end. Where the
percentile is not stated there is no window, and no attribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from testbed.analysis.percentiles import Percentile, nearest_rank, percentiles
from testbed.analysis.records import TIMES, Records, latencies_ps, require_forward
from testbed.units import PPM_PER_WHOLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """The four parts of a latency: mean values, or differences of mean values."""

    source_software_ps: int
    source_nic_ps: int
    network_ps: int
    notification_ps: int

    @property
    def host_software_ps(self) -> int:
        """What host software took, at both ends."""
        return self.source_software_ps + self.notification_ps

    @property
    def rest_ps(self) -> int:
        """What the NICs and the fabric took."""
        return self.source_nic_ps + self.network_ps

    @property
    def total_ps(self) -> int:
        """The sum of the parts."""
        return self.host_software_ps + self.rest_ps

    def minus(self, other: Components) -> Components:
        """Part by part."""
        return Components(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class TailPart:
    """The mean components of the slowest messages, or of those around a percentile."""

    quantile_ppm: int
    messages: int
    mean: Components


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """How the tails of two NICs differ: positive where b takes longer than a."""

    quantile_ppm: int
    difference: Components
    """Mean components around b's percentile, less those around a's."""

    @property
    def host_software_ps(self) -> int:
        """How much of the difference is host software."""
        return self.difference.host_software_ps

    @property
    def rest_ps(self) -> int:
        """How much of the difference is the NICs and the fabric."""
        return self.difference.rest_ps


def mean_components(records: Records) -> Components | None:
    """The mean of each component over all records; None without records."""
    require_forward(records)
    return _mean(records)


def components_beyond(records: Records, quantile_ppm: int) -> TailPart | None:
    """The mean components of the messages slower than a percentile; None if no message is."""
    latency = latencies_ps(records)
    if len(latency) == 0:
        return None
    rank = nearest_rank(len(latency), quantile_ppm)
    threshold = np.partition(latency, rank - 1)[rank - 1]
    return _part(records, latency > threshold, quantile_ppm)


def tail_window(records: Records, quantile_ppm: int) -> TailPart | None:
    """The mean components of the messages inside a percentile's 95 % interval; None if it is not stated.

    The records are in canonical order.
    """
    latency = latencies_ps(records)
    return window_of(records, percentiles(latency, (quantile_ppm,))[0])


def window_of(records: Records, percentile: Percentile) -> TailPart | None:
    """`tail_window` for a percentile that is already known."""
    if percentile.value_ps is None:
        return None
    latency = latencies_ps(records)
    inside = np.ones(len(latency), np.bool_)
    if percentile.low_ps is not None:
        inside &= latency >= np.uint64(percentile.low_ps)
    if percentile.high_ps is not None:
        inside &= latency <= np.uint64(percentile.high_ps)
    return _part(records, inside, percentile.quantile_ppm)


def attribution(records_a: Records, records_b: Records, quantile_ppm: int) -> Attribution | None:
    """How b's tail differs from a's at a quantile, component by component, as defined above."""
    return attribute(tail_window(records_a, quantile_ppm), tail_window(records_b, quantile_ppm))


def attribute(window_a: TailPart | None, window_b: TailPart | None) -> Attribution | None:
    """`attribution` from windows that are already known."""
    if window_a is None or window_b is None:
        return None
    if window_a.quantile_ppm != window_b.quantile_ppm:
        raise ValueError("windows of two different quantiles cannot be compared")
    return Attribution(quantile_ppm=window_a.quantile_ppm, difference=window_b.mean.minus(window_a.mean))


def share_ppm(part: int, whole: int) -> int:
    """part / whole in parts per million, rounded; 0 of nothing."""
    return 0 if whole == 0 else (2 * part * PPM_PER_WHOLE + whole) // (2 * whole)


def _part(records: Records, chosen: npt.NDArray[np.bool_], quantile_ppm: int) -> TailPart | None:
    part = records[chosen]
    require_forward(part)
    mean = _mean(part)
    return None if mean is None else TailPart(quantile_ppm=quantile_ppm, messages=len(part), mean=mean)


def _mean(records: Records) -> Components | None:
    if len(records) == 0:
        return None
    spans = (_rounded_mean(records[later] - records[earlier]) for earlier, later in pairwise(TIMES))
    return Components(**dict(zip((f.name for f in fields(Components)), spans, strict=True)))


def _rounded_mean(values: npt.NDArray[np.uint64]) -> int:
    """The mean, rounded to a whole number, from an exact sum."""
    total = exact_sum(values)
    return (2 * total + len(values)) // (2 * len(values))


def exact_sum(values: npt.NDArray[np.uint64], *, chunk: int = 1 << 20) -> int:
    """The sum as a Python integer: chunks whose sum could overflow 64 bits are added one by one."""
    parts: Sequence[npt.NDArray[np.uint64]] = [values[i : i + chunk] for i in range(0, len(values), chunk)]
    fits = np.uint64(2**63 // chunk)
    return sum(int(p.sum()) if bool((p < fits).all()) else sum(p.tolist()) for p in parts)
