"""What the engine's own errors mean to a user: whose fault, and what to do. Both clocks tell them alike."""

from __future__ import annotations

import re

from testbed.errors import MeasurementError, NicError, TestbedError
from testbed.units import format_time

_MEANINGS: dict[str, tuple[type[TestbedError], str]] = {
    "StreamError": (
        NicError,
        "the peer did not answer: look for failures, faults and drops on the way there and back, or lower the load;"
        " a failure must be over before the last retry (docs/failures.md): let it end sooner, give the traffic another"
        " path (control.failover=on), or set a longer nic.retransmission_timeout",
    ),
    "LosslessDropError": (
        MeasurementError,
        "give that port more headroom (switch.headroom), or take the class out of switch.lossless",
    ),
    "DeadlockError": (
        MeasurementError,
        "take the class out of switch.lossless, break the cycle of paths, or set switch.watchdog",
    ),
}


def engine_error(text: str, name: str) -> TestbedError | None:
    """The error for a user, from the engine's text and the name of its class, or a text with that name in it."""
    found = next((meaning for known, meaning in _MEANINGS.items() if known in name), None)
    readable = re.sub(r"\b(\d+) ps\b", lambda match: format_time(int(match[1])), text)
    return found[0](readable, remedy=found[1]) if found else None
