"""What host software on a data path costs: jitter of each crossing, and stalls of the core it runs on.

Fitted to the published tail of a user-space RPC over InfiniBand: RAMCloud infud echo of 100 B, round trip median
3.9 us, p90 5.0, p99 5.6, p99.9 9.4 (https://ramcloud.atlassian.net/wiki/x/AYA1Mw). A round trip crosses software four
times, so a quantile 1 - p of the round trip's excess over its median is read as the quantile 1 - p/4 of one crossing:
97.5 % 1.1 us, 99.75 % 1.7 us. The 5.5 us beyond p99.9 are read as stalls of the core (interrupts, scheduling), which
come at a rate in time and not per message: with the lengths below the probability that a crossing meets more than
5.5 us is 6.6 us / interval, which is p = 0.001/4 for an interval of 26.4 ms.
"""

from __future__ import annotations

from nic_emulator.profile import const
from testbed.spec.sourced import Sourced

_FIT = "fitted to RAMCloud infud echo, https://ramcloud.atlassian.net/wiki/x/AYA1Mw (nic_emulator/host_software.py)"


def _table(points: tuple[tuple[int, int, str, str], ...]) -> tuple[tuple[Sourced, Sourced], ...]:
    return tuple((const(ppm, "ppm", mark, why), const(ps, "ps", mark, why)) for ppm, ps, mark, why in points)


HOST_JITTER = _table(
    (
        (0, 0, "E", "a crossing never beats its constant part"),
        (500_000, 50_000, "assumed", "typical spread of a polling thread"),
        (900_000, 200_000, "assumed", "between the median and the fitted 97.5 %"),
        (975_000, 1_100_000, "E", _FIT),
        (997_500, 1_700_000, "E", _FIT),
        (1_000_000, 2_000_000, "assumed", "end of the table; longer delays are stalls"),
    )
)
HOST_STALL_INTERVAL = const(26_400_000_000, "ps", "E", _FIT)
HOST_STALL = _table(
    (
        (0, 2_000_000, "assumed", "shortest interrupt that matters"),
        (500_000, 8_000_000, "assumed", "device interrupt with its softirq"),
        (900_000, 20_000_000, "assumed", "timer tick with scheduler work"),
        (1_000_000, 50_000_000, "assumed", "end of the table"),
    )
)
