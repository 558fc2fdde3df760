"""`tb vm up`, `halt`, `destroy`, `list`, `ssh`: virtual machines, by Vagrant or by plain QEMU."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from testbed.cli.output import JsonOption, print_json, stdout, table
from testbed.errors import PreflightError, SpecError

if TYPE_CHECKING:
    from testbed.vm.kvm import Choice
    from testbed.vm.machines import Machine

NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="tb1, tb2, ...; all by default.")
]
_WORDS = "testbed.vm.words"


class WordsAfterDashes(TyperCommand):
    """Keeps what comes after `--` apart, as it is written."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  # private to typer
        """Take the words away before options and arguments are read."""
        if "--" in args:
            at = args.index("--")
            ctx.meta[_WORDS] = args[at + 1 :]
            args = args[:at]
        return super().parse_args(ctx, args)


def up(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="tb1, tb2, ...; tb1 by default.")
    ] = None,
    qemu: Annotated[bool, typer.Option("--qemu", help="Without Vagrant: QEMU alone.")] = False,
    count: Annotated[int | None, typer.Option(min=1, max=64, help="Machines tb1 to tbN.")] = None,
    cpus: Annotated[int | None, typer.Option(min=1, max=256, help="Cores of each.")] = None,
    memory: Annotated[
        int | None, typer.Option(metavar="MiB", min=1024, max=1_048_576, help="Memory of each.")
    ] = None,
    box: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="The box; for --qemu an image, too.")
    ] = None,
    tcg: Annotated[bool, typer.Option("--tcg", help="Without KVM: slow, and works anywhere.")] = False,
    provider: Annotated[
        str | None, typer.Option(help="libvirt, virtualbox, ...; Vagrant chooses by default.")
    ] = None,
) -> None:
    """Make and start virtual machines, with the tree in them, set up.

    [bold]Examples[/]

      ./tb vm up                            one machine, tb1, by Vagrant

      ./tb vm up --count 3 --cpus 4         three, for a sweep

      ./tb vm box && ./tb vm up --qemu      without Vagrant
    """
    from testbed.cli.run import ended_by_signal
    from testbed.vm import settings
    from testbed.vm.machines import to_stderr
    from testbed.vm.places import ROOT

    wanted_names = _names_to_make(names or [], count)
    forced = True if tcg else settings.tcg()

    def choose() -> Choice:
        return _choose(forced)

    with ended_by_signal():
        if qemu:
            from testbed.vm import qemu_up

            if provider is not None:
                raise SpecError("--provider is Vagrant's", remedy="leave out --provider, or --qemu")
            qemu_up.up(
                ROOT,
                wanted_names,
                wanted=qemu_up.Wanted(cpus=cpus, memory_mib=memory, box=box),
                defaults=qemu_up.Defaults(
                    cpus=settings.number("TB_VM_CPUS"),
                    memory_mib=settings.number("TB_VM_MEMORY"),
                    box=settings.box(),
                ),
                choose=choose,
                note=to_stderr,
            )
            return
        from testbed.vm import qemu_state, vagrant_run

        for name in wanted_names:
            if qemu_state.load(ROOT, name) is not None:
                raise SpecError(f"{name} is a machine of plain QEMU", remedy=f"./tb vm up --qemu {name}")
        given = {"TB_VM_CPUS": cpus, "TB_VM_MEMORY": memory, "TB_VM_BOX": settings.box(box)}
        given["TB_VM_TCG"] = "1" if tcg else None
        told = {name: str(value) for name, value in given.items() if value is not None}
        vagrant_run.up(ROOT, wanted_names, settings=told, provider=provider, choose=choose, note=to_stderr)


def halt(names: NamesArgument = None) -> None:
    """Shut machines down; ./tb vm up starts them again.

    [bold]Examples[/]

      ./tb vm halt

      ./tb vm halt tb2
    """
    from testbed.vm import machines

    machines.halt(names or [], note=machines.to_stderr)


def destroy(names: NamesArgument = None) -> None:
    """Remove machines with everything in them.

    [bold]Examples[/]

      ./tb vm destroy

      ./tb vm destroy tb2
    """
    from testbed.vm import machines

    machines.destroy(names or [], note=machines.to_stderr)


def list_(as_json: JsonOption = False) -> None:
    """List the machines that were made here.

    [bold]Examples[/]

      ./tb vm list

      ./tb vm list --json
    """
    from testbed.vm.machines import machines

    found = machines()
    if as_json:
        print_json([machine_json(machine) for machine in found])
        return
    if not found:
        typer.echo("there are no machines here; ./tb vm up makes one")
        return
    columns = ["name", "provider", "state", "address", "cpus>", "memory>"]
    stdout().print(table(columns, [_row(machine) for machine in found]), markup=False, highlight=False)


def machine_json(machine: Machine) -> dict[str, Any]:
    """What `--json` prints of a machine; null is what only Vagrant knows, and the address of one that is halted."""
    target = machine.target
    return {
        "name": machine.name,
        "provider": machine.provider,
        "accelerator": machine.accelerator or None,
        "state": machine.state,
        "host": target.host if target else None,
        "port": target.port if target else None,
        "user": target.user if target else None,
        "cpus": machine.cpus,
        "memory_mib": machine.memory_mib,
    }


def _row(machine: Machine) -> tuple[str, ...]:
    target = machine.target
    provider = f"{machine.provider} ({machine.accelerator})" if machine.accelerator else machine.provider
    return (
        machine.name,
        provider,
        machine.state,
        f"{target.user}@{target.host}:{target.port}" if target else "–",
        "–" if machine.cpus is None else str(machine.cpus),
        "–" if machine.memory_mib is None else f"{machine.memory_mib:,} MiB",
    )


def ssh(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="By default the one that runs.")] = None,
) -> None:
    """Log in to a machine, or run a command in it: what comes after -- goes to its shell.

    [bold]Examples[/]

      ./tb vm ssh

      ./tb vm ssh tb2 -- tb check
    """
    from testbed.registry import unknown_name
    from testbed.vm.machines import names, targets_of
    from testbed.vm.openssh import no_openssh, ssh_command

    known = names()
    if name is not None and name not in known:
        error = unknown_name("machine", name, known)
        raise SpecError(str(error), remedy=error.remedy if known else "make one with ./tb vm up")
    (target,) = targets_of([name] if name else [], identity=None, directory=None)
    command = ssh_command(target, context.meta.get(_WORDS, []))
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvp(command[0], command)
    except FileNotFoundError as error:
        raise no_openssh() from error


def _names_to_make(names: list[str], count: int | None) -> list[str]:
    from testbed.vm import settings

    if names and count is not None:
        raise SpecError("names and --count say the same twice", remedy="give names, or --count")
    if names:
        return list(dict.fromkeys(names))
    return [f"tb{number}" for number in range(1, (count or settings.number("TB_VM_COUNT")) + 1)]


def _choose(forced: bool | None) -> Choice:
    """The accelerator; TB_VM_TCG=0 makes it an error if only TCG works."""
    from testbed.vm.kvm import choose

    choice = choose(tcg=forced is True)
    if forced is False and choice.accelerator == "tcg":
        raise PreflightError(f"TB_VM_TCG is 0, and {choice.why}", remedy="leave TB_VM_TCG out")
    return choice
