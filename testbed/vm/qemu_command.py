"""Command lines of QEMU's programs, as lists of words."""

from __future__ import annotations

from pathlib import Path

from testbed.vm.boxes import Image
from testbed.vm.kvm import CPUS, QEMU, escaped
from testbed.vm.qemu_state import QemuMachine

_ACCELERATORS = {"kvm": "kvm", "hvf": "hvf", "tcg": "tcg,thread=multi"}


def overlay_command(image: Image, disk: Path) -> list[str]:
    """An empty disk over an image: what the machine writes goes there, the image stays as it is."""
    return ["qemu-img", "create", "-q", "-f", "qcow2", "-F", image.format, "-b", str(image.path), str(disk)]


def boot_command(machine: QemuMachine, port: int) -> list[str]:
    """QEMU in the background, SSH of the machine at a port of 127.0.0.1, its console in a file.

    The disk's cache is `unsafe`: what the host loses, when it crashes, is a machine that can be made again.
    """
    return [
        *(QEMU, "-name", machine.name, "-machine", "pc", "-accel", _ACCELERATORS[machine.accelerator]),
        *("-cpu", CPUS[machine.accelerator], "-smp", str(machine.cpus), "-m", str(machine.memory_mib)),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-drive", f"file={escaped(machine.disk)},format=qcow2,if=virtio,cache=unsafe,discard=unmap"),
        *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci"),
        *("-serial", f"file:{machine.console}"),
        *("-pidfile", str(machine.pidfile), "-daemonize"),
    ]


def keygen_command(path: Path, comment: str) -> list[str]:
    """A new key pair without a passphrase."""
    return ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
