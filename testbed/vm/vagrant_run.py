"""Vagrant's verbs that change machines: run in the tree's root, their output on this terminal."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from testbed.errors import Interrupted, PreflightError, SpecError
from testbed.vm import vagrant
from testbed.vm.kvm import QEMU, Choice
from testbed.vm.places import pins_directory

_NAME = re.compile(r"tb([1-9][0-9]*)")


def up(
    root: Path,
    names: Sequence[str],
    *,
    settings: Mapping[str, str],
    provider: str | None,
    choose: Callable[[], Choice],
    note: Callable[[str], None],
) -> None:
    """`vagrant up` of some machines, several at once.

    Args:
        root: the tree with the Vagrantfile.
        names: tb1, tb2, ...
        settings: TB_VM_* for the Vagrantfile.
        provider: Vagrant chooses without it.
        choose: tells whether KVM runs guests here.
        note: is told what the user should know.
    """
    vagrant.require()
    bad = [name for name in names if not _NAME.fullmatch(name)]
    if bad:
        raise SpecError(
            f"'{bad[0]}' is none of the Vagrantfile's machines",
            remedy="use tb1, tb2, ...; --qemu takes any name",
        )
    environment = {**vagrant.environment(root), **settings}
    numbers = [int(_NAME.sub(r"\1", name)) for name in names]
    environment["TB_VM_COUNT"] = str(max([int(environment["TB_VM_COUNT"]), *numbers]))
    if not environment.get("TB_VM_TCG") and _asks_for_kvm(provider):
        choice = choose()
        environment["TB_VM_TCG"] = "1" if choice.accelerator == "tcg" else "0"
        if choice.why:
            note(choice.why)
    _run(root, up_command(names, provider), environment)


def up_command(names: Sequence[str], provider: str | None) -> list[str]:
    """`vagrant up` of these machines."""
    parallel = ["--parallel"] if len(names) > 1 else []
    return ["vagrant", "up", *names, *parallel, *([f"--provider={provider}"] if provider else [])]


def _asks_for_kvm(provider: str | None) -> bool:
    """Whether a machine would be run by libvirt here, as far as can be told without asking Vagrant."""
    wanted = provider or os.environ.get("VAGRANT_DEFAULT_PROVIDER") or "libvirt"
    return platform.system() == "Linux" and wanted == "libvirt" and shutil.which(QEMU) is not None


def halt(root: Path, names: Sequence[str]) -> None:
    """`vagrant halt` of machines that were made here."""
    _run(root, ["vagrant", "halt", *names], vagrant.environment(root))


def destroy(root: Path, names: Sequence[str]) -> None:
    """`vagrant destroy` of machines that were made here; their host keys are forgotten."""
    _run(root, ["vagrant", "destroy", "--force", *names], vagrant.environment(root))
    for name in names:
        for path in pins_directory(root).glob(vagrant.pins_pattern(name)):
            path.unlink(missing_ok=True)


def _run(root: Path, command: list[str], environment: Mapping[str, str]) -> None:
    """Run Vagrant to its end, which after Ctrl-C and SIGTERM, too, is for itself to find."""
    vagrant.require()
    sys.stdout.flush()
    interrupted = False
    with subprocess.Popen(command, cwd=root, env=dict(environment)) as process:
        while process.poll() is None:
            try:
                process.wait()
            except KeyboardInterrupt:  # Vagrant has it, too, and cleans up
                interrupted = True
            except Interrupted:  # SIGTERM came to this process alone
                process.send_signal(signal.SIGINT)
                interrupted = True
    if interrupted:
        raise Interrupted(
            "interrupted", remedy="./tb vm list shows what is there; ./tb vm destroy removes it"
        )
    if process.returncode != 0:
        raise PreflightError(
            f"`{' '.join(command)}` failed ({process.returncode})",
            remedy="look at what Vagrant says above; without Vagrant: ./tb vm up --qemu",
        )
