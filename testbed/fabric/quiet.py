"""Whether the processes of a control plane are at rest: for applications that do not say so themselves."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

_SAMPLES = 10
_INTERVAL_S = 0.05
_AWAKE_INTERVAL_S = 0.005
_QUEUES = 4
"""The column of /proc/net/tcp that holds `tx_queue:rx_queue` [proc(5)]."""


def is_quiet(netns_pids: Collection[int], pids: Iterable[int], *, awake: bool = False) -> bool:
    """Whether nothing waits in a TCP queue of the namespaces and every thread sleeps, ten times in half a second.

    `awake`: they are connected, and something has just reached them; then ten times in 50 ms. Whoever passes it on is
    running, or it lies in a queue.
    """
    watched = list(pids)
    for _ in range(_SAMPLES):
        if not all(map(_queues_are_empty, netns_pids)) or any(not _sleeps(pid) for pid in watched):
            return False
        time.sleep(_AWAKE_INTERVAL_S if awake else _INTERVAL_S)
    return True


def _queues_are_empty(netns_pid: int) -> bool:
    lines = Path(f"/proc/{netns_pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return all(line.split()[_QUEUES] == "00000000:00000000" for line in lines)


def _sleeps(pid: int) -> bool:
    return all(state in "SI" for state in _thread_states(pid))


def _thread_states(pid: int) -> Iterator[str]:
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            yield path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
        except OSError:
            continue  # it has ended
