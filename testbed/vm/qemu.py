"""Machines of plain QEMU: made, started, stopped, removed. What waits for the guest is in `qemu_boot`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from testbed.errors import PreflightError, RemoteError, SpecError
from testbed.run.files import storing
from testbed.vm import boxes, openssh
from testbed.vm.kvm import Choice, no_qemu
from testbed.vm.places import qemu_directory
from testbed.vm.processes import Known, known, remove_partials
from testbed.vm.qemu_command import boot_command, overlay_command
from testbed.vm.qemu_state import QemuMachine, check_name, load_all

POWEROFF_S = 300.0
"""How long a guest may take to shut down; one under TCG takes some 20 s, and more on a busy machine."""
END_S = 60.0
_START_S = 300
_TRIES = 3
"""Another process may take the port that was free a moment ago."""


def create(root: Path, name: str, *, box: Path, cpus: int, memory_mib: int, accelerator: str) -> QemuMachine:
    """Make a machine that was never up: its disk, laid over the image of a box, and its state."""
    directory = qemu_directory(root) / check_name(name)
    image = boxes.image_of(root, box)
    partial = directory.with_name(f".{name}.{os.getpid()}.new")
    machine = QemuMachine(
        name=name,
        directory=partial,
        image=image.path,
        cpus=cpus,
        memory_mib=memory_mib,
        accelerator=accelerator,
    )
    try:
        with storing(directory):
            remove_partials(directory)
            partial.mkdir(mode=0o700, parents=True)
        _run(overlay_command(image, machine.disk))
        machine.save()
        with storing(directory):
            partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return replace(machine, directory=directory)


def start(machine: QemuMachine, choice: Choice) -> QemuMachine:
    """Start its QEMU; the machine as it is then. Its guest has only begun to boot."""
    if not machine.image.is_file():
        raise SpecError(
            f"{machine.name}: the image of its box is gone: {machine.image}",
            remedy=f"./tb vm destroy {machine.name}, and make it anew",
        )
    for tries_left in reversed(range(_TRIES)):
        machine.console.unlink(missing_ok=True)
        started = replace(machine, port=free_port(), accelerator=choice.accelerator)
        try:
            return _started(started)
        except PreflightError as error:
            if not tries_left or "host forwarding" not in str(error):
                raise
    raise AssertionError("the last try returns or raises")


def _started(machine: QemuMachine) -> QemuMachine:
    """Start QEMU and note who it is; if that does not come to its end, QEMU does."""
    end(
        replace(machine, process=_process_of(machine))
    )  # of a command that was killed before it could note it
    machine.pidfile.unlink(missing_ok=True)
    started = machine
    try:
        _run(boot_command(machine, machine.port), timeout_s=_START_S)
        started = replace(machine, process=_process_of(machine))
        started.save()
    except BaseException:
        end(replace(started, process=_process_of(machine)))
        raise
    return started


def _process_of(machine: QemuMachine) -> Known | None:
    """Who QEMU says it is."""
    try:
        return known(int(machine.pidfile.read_text(encoding="ascii")))
    except (FileNotFoundError, ValueError):
        return None


def free_port() -> int:
    """A port of the loopback address that nobody has now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def halt(machine: QemuMachine, note: Callable[[str], None]) -> None:
    """Shut the guest down, and end its QEMU if that does not help; nothing if it does not run."""
    if machine.process is None or not machine.is_running():
        return
    # Nobody gets into one that was never opened. The connection may go down with the machine: its end is what counts.
    said = openssh.run(machine.target(), ["sudo", "poweroff"]) if machine.opened else None
    heard = said is not None and said.exit_code in (0, openssh.LOST)
    shut_down = heard and machine.process.wait(machine.mark(), POWEROFF_S)
    if not shut_down:
        note(f"{machine.name}: did not shut down by itself, so its QEMU is ended")
        end(machine)
    replace(machine, process=None).save()


def end(machine: QemuMachine) -> None:
    """End a machine's QEMU at once, as if its plug were pulled."""
    process = machine.process
    if process is None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        process.end(number, machine.mark())
        if process.wait(machine.mark(), END_S):
            return
    raise RemoteError(
        f"{machine.name}: its QEMU (pid {process.pid}) does not end, even on SIGKILL",
        remedy=f"look at /proc/{process.pid}/stack; a kernel that hangs in KVM needs a reboot, TB_VM_TCG=1 avoids it",
    )


def destroy(root: Path, machine: QemuMachine) -> None:
    """Remove a machine with all that it wrote, and its box's image if no other needs it."""
    end(machine)
    end(replace(machine, process=_process_of(machine)))  # one that was started and never noted
    machine.remove()
    boxes.remove_unused(root, [other.image for other in load_all(root).values()])


def _run(command: list[str], *, timeout_s: float | None = None) -> None:
    """Run one of QEMU's programs, which must succeed."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_s,
        )
    except FileNotFoundError as error:
        raise no_qemu(command[0]) from error
    except subprocess.TimeoutExpired as error:
        raise PreflightError(
            f"{command[0]} did not start within {timeout_s:g} s", remedy="try again with --tcg"
        ) from error
    if done.returncode != 0:
        raise PreflightError(
            f"{command[0]} failed: {done.stderr.strip() or done.returncode}",
            remedy="give it less memory (--memory) or room on the disk, or try --tcg",
        )
