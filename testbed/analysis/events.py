"""What the fabric did to frames in one cell, summed over its counters: drops, marks, pauses. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

EVENTS: Mapping[str, str] = {
    "discards": r"(port\d+\.out|no_route)_discards",
    "trimmed": r"port\d+\.c\d\.trimmed",
    "ecn_marked": r"port\d+\.c\d\.ecn_marked",
    "pause_frames": r"port\d+\.c\d\.pfc_tx",
    "pause_ps": r"port\d+\.c\d\.pause_tx_ps",
    "watchdog_storms": r"port\d+\.c\d\.watchdog_storms",
    "fcs_errors": r"(port\d+\.|rx_)fcs_errors",
    "llr_replays": r"port\d+\.llr_replays",
}
"""The counters that each event is summed from. Pauses count where they are sent: a class of a port, stopped once."""

_PATTERNS = {name: re.compile(pattern) for name, pattern in EVENTS.items()}


def events_of(counters: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """The events of a cell that occurred, by name, from the counters of every node; what is zero is left out."""
    found: Counter[str] = Counter()
    for of_node in counters.values():
        for counter, value in of_node.items():
            if value:
                found.update({name: value for name in EVENTS if _PATTERNS[name].fullmatch(counter)})
    return {name: found[name] for name in EVENTS if found[name]}
