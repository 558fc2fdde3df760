"""Running the programs that make a box: found before anything is built, logged, and never outliving the build."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.errors import PreflightError

TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "grub-mkimage": "grub-common",
    "sfdisk": "fdisk",
    "qemu-img": "qemu-utils",
    "tar": "tar",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "chroot": "coreutils",
}
"""Which program is in which package of the distribution."""
GRUB_FILES = Path("/usr/lib/grub/i386-pc")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_FILES = {GRUB_FILES / "boot.img": "grub-pc-bin", KEYRING: "debian-archive-keyring"}

_SYSTEM_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_END_S = 60
"""How long the processes of a program that was killed may take to be gone."""
_LOG_LINES = 12
_TIED = ("setpriv", "--pdeathsig", "KILL")
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def search_path() -> str:
    """PATH with the directories of the system's tools, which an ordinary user's lacks."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_PATHS))


def missing_packages(
    find: Callable[[str], str | None] = lambda tool: shutil.which(tool, path=search_path()),
    exists: Callable[[Path], bool] = Path.exists,
) -> list[str]:
    """Packages of the distribution that building a box needs and this machine lacks."""
    tools = {package for tool, package in TOOLS.items() if find(tool) is None}
    return sorted(tools | {package for path, package in _FILES.items() if not exists(path)})


def require_tools() -> None:
    """Raise `PreflightError` that names the packages this machine lacks."""
    missing = missing_packages()
    if missing:
        raise PreflightError(
            f"building a box needs packages that are not installed: {', '.join(missing)}",
            remedy=f"sudo apt-get install --no-install-recommends {' '.join(missing)}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Runs programs with one log file and one environment."""

    log: Path
    environment: Mapping[str, str]
    """All that programs see of the environment, besides PATH."""

    def run(self, argv: Sequence[str | Path], *, what: str, remedy: str) -> str:
        """Run a program to its end and return what it printed on stdout and stderr.

        `what` and `remedy` make the `PreflightError` of a program that fails. If this process is interrupted
        meanwhile, the program and all that it started are killed and gone when this returns; if it is killed, the
        kernel kills the program.
        """
        command = [str(part) for part in argv]
        with self.log.open("ab") as log:
            log.write(f"+ {' '.join(command)}\n".encode())
            log.flush()
            began = log.tell()
            code = self._run(command, log.fileno())
        with self.log.open("rb") as log:
            log.seek(began)
            output = log.read().decode(errors="replace")
        if code != 0:
            last = "\n".join(f"    | {line}" for line in output.splitlines()[-_LOG_LINES:])
            raise PreflightError(
                f"{what} failed: {command[0]} ended with {code}\n{last}\nlog: {self.log}", remedy=remedy
            )
        return output

    def _run(self, command: list[str], log: int) -> int:
        """The exit code. Every process below holds the pipe's end open, so its end says that all are gone."""
        gone, held = os.pipe()
        process: subprocess.Popen[bytes] | None = None
        interrupts = _Interrupts()
        try:
            try:
                interrupts.hold()  # one that ended Popen itself would leave a process that nobody knows
                process = subprocess.Popen(
                    [*_TIED, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**self.environment, "PATH": search_path()},
                    start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the program
                    pass_fds=(held,),
                )
            finally:
                os.close(held)
            interrupts.release()
            return process.wait()
        except BaseException:
            if process is not None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                _wait_for_end(gone)
            raise
        finally:
            interrupts.restore()
            os.close(gone)


class _Interrupts:
    """Keeps back what would interrupt this process, for a moment in which that would do harm."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._came: list[int] = []

    def hold(self) -> None:
        """From now on, only note signals. Outside the main thread there is nothing to do: none arrive there."""
        if threading.current_thread() is threading.main_thread():
            for number in _INTERRUPTS:
                self._before[number] = signal.signal(number, lambda came, _: self._came.append(came))

    def restore(self) -> None:
        """Signals have their effect again."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def release(self) -> None:
        """The same, and what came meanwhile has its effect now."""
        self.restore()
        for number in self._came:
            signal.raise_signal(number)


def _wait_for_end(pipe: int) -> None:
    """Return when no process holds the other end of a pipe, or after a minute."""
    deadline = time.monotonic() + _END_S
    while (left_s := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([pipe], [], [], left_s)
        if readable and not os.read(pipe, 4096):
            return


def in_namespaces(*argv: str | Path, proc: Path | None = None) -> list[str]:
    """A command line in mount and process namespaces of its own: its mounts and processes end with it."""
    at = "--mount-proc" if proc is None else f"--mount-proc={proc}"
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", at, *(str(part) for part in argv)]
