"""Several machines of plain QEMU brought up together: they boot side by side, and are set up one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from testbed.errors import Interrupted, SpecError
from testbed.vm import boxes, qemu, vagrant
from testbed.vm.kvm import Choice
from testbed.vm.qemu_boot import wait_until_open
from testbed.vm.qemu_state import QemuMachine, check_name, load
from testbed.vm.set_up import bring_tree, provision


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a machine shall be like; None is what it is, or what the environment says of one that is made now."""

    cpus: int | None = None
    memory_mib: int | None = None
    box: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a machine is like that is made now, where the user does not say."""

    cpus: int
    memory_mib: int
    box: str | None


class Started:
    """The machines that this command has started; on the way out after an error, what is not of use is ended."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.machines: list[QemuMachine] = []

    def undo(self, error: BaseException) -> None:
        """End every machine if the user stops it all, else those that nobody can use."""
        everything = not isinstance(error, Exception) or isinstance(error, Interrupted)
        with ExitStack() as stack:  # all of them, whatever becomes of one
            for machine in self.machines:
                if everything or not machine.opened:
                    stack.callback(self._end, machine)

    def _end(self, machine: QemuMachine) -> None:
        qemu.end(machine)
        if machine.opened:
            replace(machine, process=None).save()
        else:  # it was never used: there is nothing in it
            qemu.destroy(self._root, machine)


def up(
    root: Path,
    names: Sequence[str],
    *,
    wanted: Wanted,
    defaults: Defaults,
    choose: Callable[[], Choice],
    note: Callable[[str], None],
) -> None:
    """Bring machines up: made if need be, started, trusted, with the tree in them and set up.

    Raises:
        SpecError: a name that cannot be one, a machine of Vagrant, another box than the machine has.
        PreflightError: there is no QEMU here, or no box.
        RemoteError: a guest does not boot or cannot be set up.
    """
    for name in names:
        if name in vagrant.made(root):
            raise SpecError(
                f"{name} is a machine of Vagrant", remedy=f"./tb vm up {name}, or use another name"
            )
    made = {name: load(root, check_name(name)) for name in names}
    box = boxes.find_box(root, wanted.box or defaults.box) if wanted.box or None in made.values() else None
    for name, machine in made.items():
        if machine is not None:
            _check_same(root, name, machine, wanted, box)
    to_start = [name for name, machine in made.items() if machine is None or not machine.is_running()]
    for name in made.keys() - set(to_start):
        note(f"{name}: runs already")
    if not to_start and all(machine and machine.set_up for machine in made.values()):
        return
    choice = choose() if to_start else Choice(accelerator="tcg")
    if choice.why:
        note(choice.why)
    started = Started(root)
    try:
        for name in to_start:
            started.machines.append(_start(root, name, made[name], wanted, defaults, box, choice))
        for index, machine in enumerate(started.machines):
            started.machines[index] = wait_until_open(machine, note)
        running = {machine.name: machine for machine in started.machines}
        for name in names:
            machine = running.get(name) or made[name]
            if machine is not None and not machine.opened:  # a command that was killed has left it so
                machine = wait_until_open(machine, note)
            if machine is not None:
                _set_up(root, machine, note)
    except BaseException as error:
        started.undo(error)
        raise


def _check_same(root: Path, name: str, machine: QemuMachine, wanted: Wanted, box: Path | None) -> None:
    """Refuse what cannot be changed of a machine that is there."""
    if wanted.box and box is not None and boxes.image_of(root, box).path != machine.image:
        raise SpecError(
            f"{name} was made from another box", remedy=f"./tb vm destroy {name}, and make it anew"
        )
    changed = wanted.cpus not in (None, machine.cpus) or wanted.memory_mib not in (None, machine.memory_mib)
    if changed and machine.is_running():
        raise SpecError(
            f"{name} runs with {machine.cpus} cores and {machine.memory_mib} MiB",
            remedy=f"./tb vm halt {name} first",
        )


def _start(
    root: Path,
    name: str,
    machine: QemuMachine | None,
    wanted: Wanted,
    defaults: Defaults,
    box: Path | None,
    choice: Choice,
) -> QemuMachine:
    if machine is None:
        assert box is not None, "a machine that is to be made has a box"
        machine = qemu.create(
            root,
            name,
            box=box,
            cpus=wanted.cpus or defaults.cpus,
            memory_mib=wanted.memory_mib or defaults.memory_mib,
            accelerator=choice.accelerator,
        )
    else:
        machine = replace(
            machine,
            cpus=wanted.cpus or machine.cpus,
            memory_mib=wanted.memory_mib or machine.memory_mib,
        )
    try:
        return qemu.start(machine, choice)
    except BaseException:
        if not machine.opened:
            machine.remove()
        raise


def _set_up(root: Path, machine: QemuMachine, note: Callable[[str], None]) -> None:
    bring_tree(machine.target(), root, note)
    if not machine.set_up:
        provision(machine.target(), note)
        replace(machine, set_up=True).save()
    note(f"{machine.name}: ready; ./tb vm ssh {machine.name}, ./tb vm run EXPERIMENT --host {machine.name}")
