"""What the fabric tests share: what is on this machine now, and a run state of its own per test."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.errors import PreflightError
from testbed.fabric.capacity import check_machine
from testbed.fabric.state import RunState
from testbed.process_table import pids, stat_of


def why_not() -> str | None:
    """Why no fabric can be built here."""
    try:
        check_machine()
    except PreflightError as error:
        return f"{error} ({error.remedy})"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_not()
    here = Path(__file__).parent
    for item in items:
        if reason and here in item.path.parents and item.get_closest_marker("fabric"):
            item.add_marker(pytest.mark.skip(reason=reason))


MARK = "TESTBED_TEST_MARK"
"""In the environment of a test, and so of every process that it starts, whoever their parent is now."""


def marked_processes() -> frozenset[str]:
    """Living processes that this test, or what it started, has started."""
    wanted = f"{MARK}={os.environ[MARK]}".encode()
    found = set()
    for pid in pids():
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if pid != os.getpid() and wanted in environment and (stat := stat_of(pid)):
                found.add(f"{stat.command} (pid {pid})")
    return frozenset(found)


@dataclass(frozen=True)
class Traces:
    """What a fabric could leave behind."""

    interfaces: frozenset[str]
    processes: frozenset[str]
    """A namespace without a name lives no longer than the processes in it."""
    namespaces: frozenset[str]
    """Those with a name."""

    @classmethod
    def now(cls) -> Traces:
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        named = Path("/run/netns")
        return cls(
            interfaces=frozenset(line.split(": ")[1] for line in links.splitlines()),
            processes=marked_processes(),
            namespaces=frozenset(os.listdir(named) if named.is_dir() else []),
        )

    def left_since(self, before: Traces) -> dict[str, frozenset[str]]:
        found = {
            "interfaces": self.interfaces - before.interfaces,
            "processes": self.processes - before.processes,
            "namespaces": self.namespaces - before.namespaces,
        }
        return {what: left for what, left in found.items() if left}


def wait_for_nothing_left(before: Traces, *, deadline_s: float) -> float:
    """Seconds until nothing is left; fails at the deadline."""
    began = time.monotonic()
    while left := Traces.now().left_since(before):
        assert time.monotonic() - began < deadline_s, f"still there: {left}"
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Traces:
    """What was there before the test."""
    monkeypatch.setenv(MARK, str(tmp_path))
    return Traces.now()


@pytest.fixture
def nothing_left(before: Traces) -> Iterator[None]:
    """Fails a test after which an interface, a namespace or a process is there that was not before."""
    yield
    assert Traces.now().left_since(before) == {}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[RunState]:
    with RunState.create("test", directory=tmp_path / "state") as state:
        yield state
