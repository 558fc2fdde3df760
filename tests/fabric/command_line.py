"""`tb run` as a process of its own, with a state directory of its own, for the tests that end it by force.

The directory is bound over the usual one in a private mount namespace, so that no other run on this machine
cleans up after ours, nor we after it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.fabric.state import STATE_DIRECTORY, Recording, read_state
from testbed.process_table import pids

ROOT = Path(__file__).parents[2]
SMALL = ("topology.leaves=2", "topology.cards=4", "scenarios=load", "nics=transparent", "sizes=4KiB")
LONG = (*SMALL, "records=3_000_000", "emulated_records=3_000_000")
START_DEADLINE_S = 300.0

_BOUND = """
mount --bind "$1" "$2" || exit 99
if [ -n "$3" ]; then mount -t tmpfs -o "size=$3" none "$4" || exit 99; fi
shift 4
exec "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run of a test keeps what it keeps."""

    state: Path
    out: Path
    disk: str = ""
    """Size of a disk of its own for the results, e.g. `1m`."""

    @classmethod
    def below(cls, directory: Path, *, disk: str = "") -> Place:
        place = cls(state=directory / "state", out=directory / "out", disk=disk)
        place.state.mkdir(mode=0o700)
        place.out.mkdir()
        return place

    def command(self, *arguments: str) -> list[str]:
        """The command line `tb ARGUMENTS` in this place."""
        STATE_DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
        bound = ["unshare", "--mount", "sh", "-c", _BOUND, "sh", str(self.state), str(STATE_DIRECTORY)]
        return [*bound, self.disk, str(self.out), sys.executable, "-P", "-m", "testbed.cli", *arguments]

    def run_command(self, overrides: tuple[str, ...], *options: str) -> list[str]:
        """`tb run` with overrides, results to this place."""
        sets = [word for override in overrides for word in ("--set", override)]
        return self.command("run", "--out", str(self.out), *sets, *options)

    def recording(self) -> Recording | None:
        """The state file of the one run here, if there is one."""
        found = list(self.state.glob("*.json"))
        return read_state(found[0]) if found else None

    def children(self) -> dict[str, int]:
        """Every process that the run has noted so far."""
        recording = self.recording()
        return {child.name: child.pid for child in recording.children} if recording else {}

    def left(self) -> list[str]:
        """Files and directories that are left of the run; an empty result directory is none."""
        files = list(self.state.iterdir())
        return sorted(str(path) for path in (*files, *self.out.rglob("*")))


class Ended:
    """A process that has ended: its code, what it said, and how long it took since it was struck."""

    def __init__(self, process: subprocess.Popen[str], struck_at_s: float) -> None:
        self.stdout, self.stderr = process.communicate(timeout=600)
        self.after_s = time.monotonic() - struck_at_s
        self.code = process.returncode

    def errors(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


class Running:
    """A `tb run` under way."""

    def __init__(self, place: Place, process: subprocess.Popen[str]) -> None:
        self.place = place
        self.process = process

    def await_stage(self, words: str) -> None:
        """Read its progress until a line holds these words."""
        assert self.process.stderr is not None
        deadline = time.monotonic() + START_DEADLINE_S
        for line in self.process.stderr:
            if words in line:
                return
            assert time.monotonic() < deadline, f"no '{words}' in its progress"
        raise AssertionError(f"it ended before '{words}'")

    def await_frames(self) -> None:
        """Wait until a switch process has used the processor for 0.1 s: the run is on."""
        self.await_stage("real frames")
        deadline = time.monotonic() + START_DEADLINE_S
        while _cpu_ticks(self.place.children().get("l1", 0)) < 10:
            assert time.monotonic() < deadline, "no frame was sent"
            assert self.process.poll() is None
            time.sleep(0.01)

    def workers(self) -> list[int]:
        """The twin's worker processes."""
        return [pid for pid in _children_of(self.process.pid) if b"spawn_main" in _cmdline(pid)]

    def await_workers_busy(self) -> list[int]:
        deadline = time.monotonic() + START_DEADLINE_S
        while not (busy := [pid for pid in self.workers() if _cpu_ticks(pid) > 100]):
            assert time.monotonic() < deadline, "no worker is busy"
            assert self.process.poll() is None
            time.sleep(0.01)
        return busy

    def strike(self, pid: int, number: signal.Signals) -> Ended:
        """Send a signal to one process, and wait for the run's end."""
        struck_at_s = time.monotonic()
        os.kill(pid, number)
        return Ended(self.process, struck_at_s)

    def strike_group(self, number: signal.Signals) -> Ended:
        """As a terminal does on Ctrl-C: every process of the foreground group."""
        struck_at_s = time.monotonic()
        os.killpg(self.process.pid, number)
        return Ended(self.process, struck_at_s)


@contextmanager
def running(place: Place, overrides: tuple[str, ...], *options: str) -> Iterator[Running]:
    """A run under way; at the end of the context it is dead in any case."""
    process = start(place.run_command(overrides, *options))
    try:
        yield Running(place, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def start(command: list[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=None if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(command: list[str]) -> Ended:
    """A command, run to its end."""
    return Ended(start(command), time.monotonic())


def _cpu_ticks(pid: int) -> int:
    """Processor time that a process has used; 0 of one that is not there."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _children_of(parent: int) -> list[int]:
    found = []
    for pid in pids():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(pid)
    return found


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
