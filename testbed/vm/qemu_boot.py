"""From a QEMU that was started to a machine that can be trusted: its host keys, its answer, a key of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from testbed.errors import PreflightError, RemoteError
from testbed.vm import console, openssh
from testbed.vm.host_keys import known_hosts_text, shown_fingerprint, write_private
from testbed.vm.insecure_key import PRIVATE_KEY
from testbed.vm.qemu_command import keygen_command
from testbed.vm.qemu_state import QemuMachine

BOOT_S = {"kvm": 300.0, "hvf": 300.0, "tcg": 1800.0}
"""How long a guest may take until it answers."""
NOTE_EVERY_S = 10.0
_LOOK_EVERY_S = 0.5
_REPLACE_KEY = 'umask 077; cat > "$HOME/.ssh/.new"; mv "$HOME/.ssh/.new" "$HOME/.ssh/authorized_keys"'


@dataclass(slots=True, kw_only=True)
class Patience:
    """Waits for one machine, and tells every few seconds how long it has."""

    machine: QemuMachine
    note: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _began_s: float = field(init=False)
    _noted_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._began_s = self._noted_s = self.clock()

    def waited_s(self) -> float:
        """For how long."""
        return self.clock() - self._began_s

    def a_moment(self, what: str) -> None:
        """Wait a moment for something; `RemoteError` if the machine is gone or it has taken too long."""
        name, limit_s = self.machine.name, BOOT_S[self.machine.accelerator]
        if not self.machine.is_running():
            raise RemoteError(
                f"{name}: its QEMU ended while it booted{self._last_words()}",
                remedy="try again; --tcg avoids KVM",
            )
        if self.waited_s() >= limit_s:
            raise RemoteError(
                f"{name}: {what} did not come within {limit_s:g} s{self._last_words()}",
                remedy="give it more memory or cores, or a quieter machine; was the box made by ./tb vm box?",
            )
        if self.clock() - self._noted_s >= NOTE_EVERY_S:
            self._noted_s = self.clock()
            self.note(f"{name}: waiting for {what}, {self.waited_s():.0f} s")
        self.sleep(_LOOK_EVERY_S)

    def _last_words(self) -> str:
        lines = console.last_lines(self.machine.console)
        return (
            "; its console ends with\n" + "\n".join(f"  {line}" for line in lines)
            if lines
            else "; its console is empty"
        )


def wait_until_open(machine: QemuMachine, note: Callable[[str], None]) -> QemuMachine:
    """Wait until the machine answers to its own key, and to no other; the machine as it is then.

    At its first boot its host keys are taken from its console, which only this machine can write to, and its published
    key is replaced by one that is made here.
    """
    patience = Patience(machine=machine, note=note)
    if not machine.known_hosts.is_file():
        _pin(machine, patience)
    if not machine.opened:
        machine = _open(machine, patience)
    _wait_for_answer(machine, patience)
    note(f"{machine.name}: up after {patience.waited_s():.0f} s")
    return machine


def _pin(machine: QemuMachine, patience: Patience) -> None:
    while not (keys := console.host_keys(console.read(machine.console))):
        patience.a_moment("its host keys on the console")
    write_private(machine.known_hosts, known_hosts_text(machine.name, keys))
    patience.note(f"{machine.name}: host key {shown_fingerprint(keys)}, told by its console")


def _open(machine: QemuMachine, patience: Patience) -> QemuMachine:
    """Log in with the published key, and put the machine's own in its place."""
    published = machine.directory / "published_key"
    write_private(published, PRIVATE_KEY)
    try:
        own = _own_key(machine)
        by_published = replace(machine.target(), identity_files=(published,))
        while (said := openssh.run(by_published, ["true"])).exit_code != 0:
            if _refused(said.stderr):
                raise RemoteError(
                    f"{machine.name}: does not let us in: {said.stderr.strip()}",
                    remedy="use a box that knows Vagrant's published key, as those of ./tb vm box do",
                )
            patience.a_moment("its SSH server")
        openssh.must_run(by_published, ["sh", "-c", _REPLACE_KEY], stdin=own)
        opened = replace(machine, opened=True)
        opened.save()
        return opened
    finally:
        published.unlink(missing_ok=True)


def _own_key(machine: QemuMachine) -> str:
    """Make the machine's own key, if it is not there; its public half."""
    public = Path(f"{machine.key}.pub")
    if not public.is_file():
        machine.key.unlink(missing_ok=True)
        command = keygen_command(machine.key, f"{machine.name} of ./tb vm")
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise openssh.no_openssh() from error
        if done.returncode != 0:
            raise PreflightError(
                f"ssh-keygen made no {machine.key}: {done.stderr.strip()}",
                remedy="see whether that disk is full",
            )
    return public.read_text(encoding="ascii")


def _wait_for_answer(machine: QemuMachine, patience: Patience) -> None:
    while (said := openssh.run(machine.target(), ["true"])).exit_code != 0:
        if _refused(said.stderr):
            raise RemoteError(
                f"{machine.name}: {said.stderr.strip()}",
                remedy=f"./tb vm destroy {machine.name}, and make it anew",
            )
        patience.a_moment("its SSH server")


def _refused(told: str) -> bool:
    """Whether waiting does not help: the key is refused, or the host key is another one."""
    return "Permission denied" in told or "verification failed" in told.lower()
