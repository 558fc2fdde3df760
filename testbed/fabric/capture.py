"""Captures the frames at one interface of a live fabric with tcpdump, and finds them in what it wrote."""

from __future__ import annotations

import os
import re
import select
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from types import TracebackType
from typing import Literal

from testbed.errors import FabricError, PreflightError
from testbed.fabric.state import RunState

_START_DEADLINE_S = 120.0
_STOP_DEADLINE_S = 120.0
_ANSWER_DEADLINE_S = 0.5
_STILL_ANSWERS = 4
_POLL_INTERVAL_S = 0.005
BUFFER_KIB = 16 * 1024
"""Of the ring that the kernel fills and tcpdump empties. A frame takes 16 KiB of it, whatever its length."""
_PROGRESS = re.compile(r"(\d+) packets? captured, (\d+) packets? received")
_COUNT = re.compile(r"(\d+) packets? (captured|received by filter|dropped by kernel)")
_FILE_HEADER_BYTES = 24
_RECORD_HEADER = struct.Struct("=4I")
"""Seconds, microseconds, bytes kept, bytes of the packet [pcap-savefile(5)]."""

Direction = Literal["both", "in", "out"]
"""Of frames at an interface, as its node sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureCounts:
    """What tcpdump says at its end."""

    captured_pkts: int
    received_pkts: int
    """By the kernel, in both directions."""
    dropped_pkts: int
    """Lost for want of buffer: the file is not whole unless this is 0."""


def capture_command(
    *,
    netns_pid: int,
    interface: str,
    path: Path,
    snap_bytes: int = 0,
    direction: Direction = "both",
    buffer_kib: int = BUFFER_KIB,
) -> list[str]:
    """tcpdump in a node's namespace: whole frames (snap 0), no name resolution, still as root."""
    enter = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/proc/{netns_pid}/ns/net", "--"]
    options = ["-n", "-U", "-Z", "root", "-B", str(buffer_kib), "-s", str(snap_bytes)]
    if direction != "both":
        # Not the filter `inbound`: libpcap applies it itself, and wrongly, to what is in the ring by then.
        options += ["-Q", direction]
    return [*enter, "tcpdump", *options, "--immediate-mode", "-i", interface, "-w", str(path)]


class Capture:
    """A running capture; `stop` ends it and makes the file whole."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        self._process = process
        self.path = path

    @property
    def pid(self) -> int:
        """tcpdump's."""
        return self._process.pid

    def stop(self) -> CaptureCounts:
        """End tcpdump, after it has written every frame that came before."""
        deadline = time.monotonic() + _STOP_DEADLINE_S
        try:
            self._wait_until_drained(deadline)
            self._process.send_signal(signal.SIGINT)
            _, text = self._process.communicate(timeout=_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.communicate()
            raise FabricError(f"tcpdump did not end; {self.path} is not whole", remedy="try again") from error
        return parse_counts(text.decode())

    def _wait_until_drained(self, deadline: float) -> None:
        """On SIGINT tcpdump drops what it has not read yet, so ask it (SIGUSR1) until it has read all.

        With one direction asked for the kernel counts frames of the other that tcpdump leaves out: then all is read
        when its own count stands still.
        """
        counts: list[str] = []
        while self._process.poll() is None and time.monotonic() < deadline:
            self._process.send_signal(signal.SIGUSR1)
            progress = _PROGRESS.findall(self._read_news())
            if progress and progress[-1][0] == progress[-1][1]:
                return
            counts += [captured for captured, _received in progress[-1:]]
            if len(counts) >= _STILL_ANSWERS and len(set(counts[-_STILL_ANSWERS:])) == 1:
                return
            time.sleep(_POLL_INTERVAL_S)

    def _read_news(self) -> str:
        """What tcpdump has said since; it says nothing while it is busy."""
        assert self._process.stderr is not None
        ready, _, _ = select.select([self._process.stderr], [], [], _ANSWER_DEADLINE_S)
        return os.read(self._process.stderr.fileno(), 1 << 16).decode() if ready else ""

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self.stop()


def parse_counts(text: str) -> CaptureCounts:
    """Read tcpdump's closing lines."""
    found = {what: int(number) for number, what in _COUNT.findall(text)}
    if "captured" not in found:
        last = text.strip().rpartition("\n")[2]
        raise FabricError(
            f"tcpdump failed: {last or 'it said nothing'}", remedy="look at the interface and the disk"
        )
    return CaptureCounts(
        captured_pkts=found["captured"],
        received_pkts=found.get("received by filter", 0),
        dropped_pkts=found.get("dropped by kernel", 0),
    )


def frame_places(data: bytes | mmap) -> Iterator[slice]:
    """Where the frames of a pcap file of tcpdump's on this machine are in its bytes; one that was cut off is none."""
    whole_bytes = len(data)
    start = _FILE_HEADER_BYTES + _RECORD_HEADER.size
    while start <= whole_bytes:
        end = start + _RECORD_HEADER.unpack_from(data, start - _RECORD_HEADER.size)[2]
        if end > whole_bytes:
            return
        yield slice(start, end)
        start = end + _RECORD_HEADER.size


def start_capture(
    *,
    netns_pid: int,
    interface: str,
    path: Path,
    state: RunState | None = None,
    snap_bytes: int = 0,
    direction: Direction = "both",
    buffer_kib: int = BUFFER_KIB,
) -> Capture:
    """Capture an interface into a pcap file; every frame after the return is in it.

    tcpdump ends with the calling thread at the latest.
    """
    command = capture_command(
        netns_pid=netns_pid,
        interface=interface,
        path=path,
        snap_bytes=snap_bytes,
        direction=direction,
        buffer_kib=buffer_kib,
    )
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise PreflightError("setpriv was not found", remedy="install util-linux") from error
    if state:
        state.record_child(f"capture of {interface}", process.pid)
    capture = Capture(process, path)
    _wait_for_start(process, path)
    return capture


def _wait_for_start(process: subprocess.Popen[bytes], path: Path) -> None:
    """tcpdump writes the file's header (-U) once it listens."""
    deadline = time.monotonic() + _START_DEADLINE_S
    while not (path.exists() and path.stat().st_size > 0):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            _, text = process.communicate()
            raise FabricError(
                f"tcpdump did not start: {text.decode().strip().replace(chr(10), '; ')}",
                remedy="install tcpdump, and check that the directory of the capture can be written",
            )
        time.sleep(_POLL_INTERVAL_S)
