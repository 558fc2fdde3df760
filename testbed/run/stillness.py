"""How long a clock has stood still while somebody looked: time in which this process did not run itself is left out.

A machine may stop for seconds as a whole: a virtual one whose host has other work, or a laptop that sleeps. All
processes stop then, and what is seen right afterwards says nothing about any of them.
"""

from __future__ import annotations

import math
from typing import TypeAlias

STOPPED_S = 3.0
"""Of a process that has been stopped, or is traced."""
_ASLEEP_S = 60.0
"""Of one that sleeps or waits for a disk, as a busy one does for a moment."""
_LONGEST_STEP_S = 0.1
"""Between two looks: more than that, and this process did not run."""

Look: TypeAlias = tuple[int, ...]


class Stillness:
    """Tells for how long what it is shown has not changed."""

    def __init__(self) -> None:
        self._last: Look | None = None
        self._looked_at_s = 0.0
        self._still_s = 0.0

    def seen_s(self, now: Look, at_s: float) -> float:
        """Show what is there at a time of a monotonic clock; seconds of stillness, to which a look adds 0.1 at most."""
        step_s = min(at_s - self._looked_at_s, _LONGEST_STEP_S)
        self._still_s = self._still_s + step_s if now == self._last else 0.0
        self._last, self._looked_at_s = now, at_s
        return self._still_s


def patience_s(state: str) -> float:
    """For how long a clock may stand still while its holder is in a state of /proc/PID/stat."""
    if state == "R":
        return math.inf
    return STOPPED_S if state in "TtXZ" else _ASLEEP_S
