"""Machines that are known here, made by Vagrant or by plain QEMU, and the targets that hosts' names mean."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from testbed.errors import SpecError
from testbed.registry import unknown_name
from testbed.vm import qemu, qemu_state, vagrant, vagrant_run
from testbed.vm.hosts import host_target
from testbed.vm.places import ROOT
from testbed.vm.target import Target

State = Literal["running", "halted", "absent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A virtual machine of this tree."""

    name: str
    provider: str
    """What runs it: libvirt, virtualbox, qemu, ..."""
    state: State
    target: Target | None
    """How it is reached while it runs. Its host key may not be known yet: `targets_of` sees to that."""
    cpus: int | None = None
    """None where only Vagrant knows."""
    memory_mib: int | None = None
    accelerator: str = ""
    """kvm, hvf or tcg; empty where only Vagrant knows."""


def to_stderr(text: str) -> None:
    """Tell the user something that is no result."""
    print(text, file=sys.stderr)


def machines(root: Path = ROOT) -> list[Machine]:
    """All machines of a tree, in the order of their names; asks Vagrant only if it has made some here."""
    found = [_of_qemu(machine) for machine in qemu_state.load_all(root).values()]
    return sorted([*found, *_of_vagrant(root)], key=lambda machine: qemu_state.natural(machine.name))


def names(root: Path = ROOT) -> list[str]:
    """The names of all machines of a tree, without asking Vagrant."""
    return sorted({*qemu_state.load_all(root), *vagrant.made(root)}, key=qemu_state.natural)


def targets_of(
    hosts: Sequence[str],
    *,
    identity: Path | None,
    directory: str | None,
    root: Path = ROOT,
    note: Callable[[str], None] = to_stderr,
) -> list[Target]:
    """What the user's hosts mean; without any, the one machine that runs here.

    The host key of a machine of Vagrant is taken at its first use, and `note` tells of it.

    Args:
        hosts: names of machines, `[user@]host[:port]`, or aliases of ~/.ssh/config.
        identity: the only private key to use.
        directory: where the tree is on them.
        root: the tree whose machines are meant.
        note: is told, in one line, what the user should know.

    Raises:
        SpecError: a text that is no host, one that is there twice, a machine that does not run.
    """
    if identity is not None and not identity.is_file():
        raise SpecError(
            f"--identity {identity}: there is no such file", remedy="give the file of a private key"
        )
    twice = sorted({host for host in hosts if hosts.count(host) > 1})
    if twice:
        raise SpecError(f"'{twice[0]}' is there more than once", remedy="name each host once")
    found = [_target(root, host, note) for host in hosts] if hosts else [_only(root, note)]
    changes: dict[str, object] = {}
    if identity is not None:
        changes["identity_files"] = (identity.absolute(),)
    if directory is not None:
        changes["tree"] = directory
    return [replace(target, **changes) for target in found]  # type: ignore[arg-type]


def _target(root: Path, host: str, note: Callable[[str], None]) -> Target:
    machine = qemu_state.load(root, host)
    if machine is not None:
        if not machine.is_running():
            raise _halted(host, "--qemu ")
        return machine.target()
    made = vagrant.made(root)
    if host in made:
        return _vagrant_target(root, made[host], note)
    return host_target(host, machines=names(root))


def _vagrant_target(root: Path, made: vagrant.Made, note: Callable[[str], None]) -> Target:
    if vagrant.state_word(vagrant.statuses(root).get(made.name)) != "running":
        raise _halted(made.name, "")
    target = vagrant.target(root, made, vagrant.access(root, [made.name])[made.name])
    vagrant.pin(root, made, note)
    return target


def _only(root: Path, note: Callable[[str], None]) -> Target:
    """The one machine that runs here."""
    running = [machine for machine in machines(root) if machine.state == "running"]
    if not running:
        known = names(root)
        raise SpecError(
            f"no machine runs here ({', '.join(known)}: halted)" if known else "there are no machines here",
            remedy="make one with ./tb vm up, or name another with --host user@machine",
        )
    if len(running) > 1:
        listed = ",".join(machine.name for machine in running)
        raise SpecError(
            f"{len(running)} machines run here: {listed}",
            remedy=f"choose: --host {running[0].name}, or --hosts {listed}",
        )
    return _target(root, running[0].name, note)


def _halted(name: str, option: str) -> SpecError:
    return SpecError(f"{name} does not run", remedy=f"start it: ./tb vm up {option}{name}")


def _of_qemu(machine: qemu_state.QemuMachine) -> Machine:
    running = machine.is_running()
    return Machine(
        name=machine.name,
        provider="qemu",
        state="running" if running else "halted",
        target=machine.target() if running else None,
        cpus=machine.cpus,
        memory_mib=machine.memory_mib,
        accelerator=machine.accelerator,
    )


def _of_vagrant(root: Path) -> list[Machine]:
    made = vagrant.made(root)
    if not made:
        return []
    if not vagrant.installed():
        return [
            Machine(name=one.name, provider=one.provider, state="absent", target=None)
            for one in made.values()
        ]
    statuses = vagrant.statuses(root)
    running = [
        name for name, status in statuses.items() if name in made and vagrant.state_word(status) == "running"
    ]
    ways = vagrant.access(root, running) if running else {}
    return [
        Machine(
            name=one.name,
            provider=one.provider,
            state=vagrant.state_word(statuses.get(one.name)),
            target=vagrant.target(root, one, ways[one.name]) if one.name in ways else None,
        )
        for one in made.values()
    ]


def halt(hosts: Sequence[str], *, note: Callable[[str], None], root: Path = ROOT) -> None:
    """Shut machines down, all of them without names; those that do not run stay as they are."""
    ours, of_vagrant = _chosen(root, hosts, note)
    for machine in ours:
        note(f"{machine.name}: shutting down" if machine.is_running() else f"{machine.name}: does not run")
        qemu.halt(machine, note)
    if of_vagrant:
        vagrant_run.halt(root, of_vagrant)


def destroy(hosts: Sequence[str], *, note: Callable[[str], None], root: Path = ROOT) -> None:
    """Remove machines with all that is in them, all of them without names."""
    ours, of_vagrant = _chosen(root, hosts, note)
    for machine in ours:
        qemu.destroy(root, machine)
        note(f"{machine.name}: removed")
    if of_vagrant:
        vagrant_run.destroy(root, of_vagrant)


def _chosen(
    root: Path, hosts: Sequence[str], note: Callable[[str], None]
) -> tuple[list[qemu_state.QemuMachine], list[str]]:
    """Machines of plain QEMU, and the names of Vagrant's; `SpecError` for a name that is neither's."""
    ours, made = qemu_state.load_all(root), vagrant.made(root)
    known = names(root)
    for host in hosts:
        if host not in known:
            error = unknown_name("machine", host, known)
            raise SpecError(str(error), remedy=error.remedy if known else "make one with ./tb vm up")
    chosen = list(dict.fromkeys(hosts)) or known
    if not chosen:
        note("there are no machines here")
    return [ours[name] for name in chosen if name in ours], [
        name for name in chosen if name in made and name not in ours
    ]
