"""What is kept of a machine that was made without Vagrant: `.vm/qemu/NAME/`, and machine.json in it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed.errors import SpecError, TestbedError
from testbed.vm.host_keys import write_private
from testbed.vm.places import qemu_directory
from testbed.vm.processes import Known
from testbed.vm.target import VM_TREE, Target

SCHEMA_VERSION = 1
"""History. 1: name, image, cpus, memory_mib, accelerator, port, process, opened, set_up."""
GUEST_USER = "vagrant"
"""The user in every box [Vagrant's documentation on base boxes]."""
NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_NAME_REMEDY = "a name is a letter, then at most 31 of a-z, 0-9 and -, e.g. tb1"


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuMachine:
    """A machine of plain QEMU."""

    name: str
    directory: Path
    image: Path
    """The box's image, which the machine's disk is laid over."""
    cpus: int
    memory_mib: int
    accelerator: str
    """kvm, hvf or tcg."""
    port: int = 0
    """Of 127.0.0.1, through which SSH is reached; 0 while it was never up."""
    process: Known | None = None
    """QEMU, if it was started and not seen to end."""
    opened: bool = False
    """Whether its own key opens it, and the published one does not."""
    set_up: bool = False
    """Whether the tree was brought there and set up."""

    @property
    def disk(self) -> Path:
        """What the machine has written."""
        return self.directory / "disk.qcow2"

    @property
    def console(self) -> Path:
        """What its serial console printed since it was started."""
        return self.directory / "console.log"

    @property
    def pidfile(self) -> Path:
        """Where QEMU writes its pid."""
        return self.directory / "qemu.pid"

    @property
    def key(self) -> Path:
        """The private key that opens it, and no other machine."""
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Its host keys, as its console told them."""
        return self.directory / "known_hosts"

    def is_running(self) -> bool:
        """Whether its QEMU lives."""
        return self.process is not None and self.process.is_alive(self.mark())

    def mark(self) -> str:
        """What only the command line of this machine's QEMU has."""
        return str(self.pidfile)

    def target(self) -> Target:
        """How it is reached."""
        return Target(
            name=self.name,
            host="127.0.0.1",
            user=GUEST_USER,
            port=self.port,
            identity_files=(self.key,),
            known_hosts=(self.known_hosts,),
            key_alias=self.name,
            tree=VM_TREE,
        )

    def save(self) -> None:
        """Write machine.json."""
        fields = asdict(self) | {"image": str(self.image), "schema_version": SCHEMA_VERSION}
        del fields["directory"]
        write_private(self.directory / "machine.json", json.dumps(fields, indent=2) + "\n")

    def remove(self) -> None:
        """Remove all that was kept of it."""
        shutil.rmtree(self.directory)


def check_name(name: str) -> str:
    """The name of a machine to be made; `SpecError` if it cannot be one."""
    if not NAME.fullmatch(name):
        raise SpecError(f"'{name}' is no name for a machine", remedy=_NAME_REMEDY)
    return name


def load(root: Path, name: str) -> QemuMachine | None:
    """A machine that was made here; None if there is none of that name."""
    if not NAME.fullmatch(name):
        return None
    directory = qemu_directory(root) / name
    try:
        text = (directory / "machine.json").read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return _from_json(directory, json.loads(text))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(directory) from error


def load_all(root: Path) -> dict[str, QemuMachine]:
    """All machines that were made here, by name."""
    directory = qemu_directory(root)
    names = sorted((path.parent.name for path in directory.glob("*/machine.json")), key=natural)
    found = ((name, load(root, name)) for name in names)
    return {name: machine for name, machine in found if machine is not None}


def natural(name: str) -> tuple[str, int]:
    """Orders tb2 before tb10."""
    letters = name.rstrip("0123456789")
    return letters, int(name[len(letters) :] or 0)


def _from_json(directory: Path, fields: dict[str, object]) -> QemuMachine:
    if fields["schema_version"] != SCHEMA_VERSION:
        raise ValueError("another version")
    process = fields["process"]
    return QemuMachine(
        name=directory.name,
        directory=directory,
        image=Path(_text(fields["image"])),
        cpus=_number(fields["cpus"]),
        memory_mib=_number(fields["memory_mib"]),
        accelerator=_text(fields["accelerator"]),
        port=_number(fields["port"]),
        process=_process(process) if process is not None else None,
        opened=fields["opened"] is True,
        set_up=fields["set_up"] is True,
    )


def _process(fields: object) -> Known:
    if not isinstance(fields, dict):
        raise TypeError("no process")
    return Known(pid=_number(fields["pid"]), started=_text(fields["started"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("no number")
    return value


def _unreadable(directory: Path) -> TestbedError:
    return SpecError(
        f"{directory / 'machine.json'} cannot be read as the state of a machine",
        remedy=f"end its QEMU if it runs (pid in {directory / 'qemu.pid'}), and remove {directory}",
    )
