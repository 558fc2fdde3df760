"""The same checks as `fuzz_control`, with inputs that libFuzzer finds by what they reach.

Needs `pip install atheris`, which the testbed does not. `python -m tests.fuzz.fuzz_control_atheris [DIRECTORY]
-runs=1000000 -timeout=5 -rss_limit_mb=600 tests/fuzz/corpus/control`; new inputs go to the first directory.
"""

from __future__ import annotations

import random
import sys

import atheris

with atheris.instrument_imports(include=["nic_emulator.control"]):
    from tests.fuzz.fuzz_control import Pair, Tally


def feed(data: bytes) -> None:
    """One input to a new NIC, and again once that has ended, if it was started."""
    pair, tally = Pair(), Tally()
    pair.feed(data, random.Random(1), tally)
    if pair.card.state == "running":
        pair.end()
        pair.feed(data, random.Random(2), tally)


if __name__ == "__main__":
    atheris.Setup(sys.argv, feed)
    atheris.Fuzz()
