"""Which accelerator QEMU can really use here, found out with a guest of 512 bytes.

That /dev/kvm is there says little: on some machines, virtual ones above all, guests hang in it, or it refuses the
processor that a real guest is given. So the probe's guest gets that processor, too; it is never waited for longer than
`PROBE_S`, and for a process that cannot be killed not at all.
"""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed.errors import PreflightError

Accelerator = Literal["kvm", "hvf", "tcg"]
QEMU = "qemu-system-x86_64"
PACKAGES = "apt-get install qemu-system-x86 qemu-utils"
CPUS: Mapping[str, str] = {"kvm": "host", "hvf": "host", "tcg": "Nehalem"}
"""Emulated, one that has SSE4.2, which NumPy needs, but no AVX: programs died in that under QEMU 7.2."""
KVM_DEVICE = Path("/dev/kvm")
PROBE_S = 10.0
"""On a busy machine QEMU may take seconds to start."""
KILL_S = 2.0
_SLOW = "using TCG, about 15 times slower"
_PORT, _VALUE = 0xF4, 0x2A
_EXIT_CODE = _VALUE << 1 | 1
"""What QEMU's isa-debug-exit makes of a value written to it [QEMU, hw/misc/debugexit.c]."""
# mov dx, PORT; mov al, VALUE; out dx, al; hlt; jmp to the hlt
_CODE = bytes((0xBA, _PORT, 0x00, 0xB0, _VALUE, 0xEE, 0xF4, 0xEB, 0xFD))
BOOT_SECTOR = _CODE.ljust(510, b"\0") + b"\x55\xaa"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An accelerator, and what the user should know of it."""

    accelerator: Accelerator
    why: str = ""
    """Empty if there is nothing to say."""


def choose(*, tcg: bool, device: Path = KVM_DEVICE, system: str | None = None) -> Choice:
    """The fastest accelerator that ran a guest just now.

    Args:
        tcg: the user wants TCG, so nothing is tried.
        device: of KVM.
        system: of which operating system; by default this one.

    Raises:
        PreflightError: there is no QEMU here.
    """
    if tcg:
        return Choice(accelerator="tcg")
    if (system or platform.system()) == "Darwin":
        return _tried("hvf", "the hypervisor framework")
    if not device.exists():
        return Choice(accelerator="tcg", why=f"there is no KVM here ({device}): {_SLOW}")
    if not os.access(device, os.R_OK | os.W_OK):
        return Choice(
            accelerator="tcg", why=f"{device} cannot be opened (is this user in the group kvm?): {_SLOW}"
        )
    return _tried("kvm", "KVM")


def _tried(accelerator: Literal["kvm", "hvf"], called: str) -> Choice:
    failure = probe(accelerator)
    if failure is None:
        return Choice(accelerator=accelerator)
    return Choice(accelerator="tcg", why=f"{called} is there but {failure}: {_SLOW}")


def probe_command(accelerator: Accelerator, sector: Path) -> list[str]:
    """QEMU with nothing but a disk of one sector and a way to end."""
    return [
        *(
            QEMU,
            "-accel",
            accelerator,
            "-cpu",
            CPUS[accelerator],
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ),
        *("-m", "16", "-drive", f"file={escaped(sector)},format=raw,if=ide,snapshot=on"),
        *("-device", f"isa-debug-exit,iobase={_PORT:#x},iosize=1"),
    ]


def escaped(path: Path) -> str:
    """A path inside one of QEMU's comma-separated values."""
    return str(path).replace(",", ",,")


def probe(accelerator: Accelerator, *, timeout_s: float = PROBE_S) -> str | None:
    """Run a guest; None if it ran, else how it did not."""
    with tempfile.TemporaryDirectory(prefix="tb-probe-") as directory:
        sector, errors = Path(directory, "sector"), Path(directory, "errors")
        sector.write_bytes(BOOT_SECTOR)
        with errors.open("wb") as file:
            process = _started(probe_command(accelerator, sector), file.fileno())
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return f"did not run a guest within {timeout_s:g} s{_killed(process)}"
        except BaseException:
            _killed(process)
            raise
        if code == _EXIT_CODE:
            return None
        told = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        first = next((line for line in told if "warning:" not in line), f"QEMU ended with {code}")
        return f"did not run a guest ({first.removeprefix(f'{QEMU}: ')})"


def _started(command: list[str], errors: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise no_qemu(command[0]) from error


def no_qemu(program: str) -> PreflightError:
    """The error where a program of QEMU is not installed."""
    return PreflightError(f"there is no {program} here", remedy=PACKAGES)


def _killed(process: subprocess.Popen[bytes]) -> str:
    """Kill the probe; says so if it cannot be killed, and leaves it."""
    process.kill()
    try:
        process.wait(KILL_S)
    except subprocess.TimeoutExpired:
        process.returncode = -9  # nobody waits for it any more
        return f", and cannot be killed (pid {process.pid}; TB_VM_TCG=1 avoids the attempt)"
    return ""
