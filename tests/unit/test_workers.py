from __future__ import annotations

import signal
from types import FrameType

import pytest

from testbed.run.workers import in_workers

MORE_THAN_A_PIPE_HOLDS = bytes(1 << 20)
MOST_S = 30


def never_done(_job: bytes) -> None:
    signal.pause()


def too_late(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"no end within {MOST_S} s")


def test_workers_given_up_while_jobs_are_handed_out_end_at_once() -> None:
    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(MOST_S)
    try:
        jobs = [MORE_THAN_A_PIPE_HOLDS] * 64
        with pytest.raises(LookupError), in_workers(never_done, jobs, kind="a", remedy="none"):
            raise LookupError
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
