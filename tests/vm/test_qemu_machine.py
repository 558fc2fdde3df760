"""A machine of plain QEMU, from a box to its end: booted with TCG, trusted by its console, with the tree in it.

It does not test KVM, which many machines that run tests do not have, nor the set-up itself, which the tests with
Vagrant do by the same script.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vm.sandbox import IN_NAMESPACES, INIT, child_of, wait_for

pytestmark = [pytest.mark.vm, pytest.mark.slow]
UP_S, VERB_S = 3600, 900
SCRIPT = '#!/bin/bash\necho "set up by $(id -un)" | sudo tee -a /etc/set-up-here\n'

Verb = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def tree(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of its own, so that the machines of the real one are left alone; its set-up is short."""
    from testbed.vm.tree import tree_files

    root = tmp_path_factory.mktemp("a tree")
    for name, path in tree_files(repository).items():
        if not name.startswith("build/"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / name)
    (root / "tools" / "provision.sh").write_text(SCRIPT, encoding="ascii")
    return root


@pytest.fixture(scope="module")
def verb(tree: Path) -> Iterator[Verb]:
    """Runs `tb vm ...` in that tree; its machines end with the tests, even when these are killed."""
    outer = subprocess.Popen([*IN_NAMESPACES, *INIT, "sleep", "infinity"], stdin=subprocess.DEVNULL)
    inside = wait_for("process 1", lambda: child_of(outer.pid), lambda: f"exit code {outer.poll()}")
    enter = ("nsenter", "--target", str(inside), "--mount", "--pid", "--", "env", "-C", str(tree))
    environment = {**os.environ, "PYTHONPATH": str(tree), "TB_VM_TCG": "1"}

    def run(*words: str, timeout_s: float = VERB_S) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*enter, sys.executable, "-P", "-m", "testbed.cli", "vm", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    try:
        yield run
        assert run("destroy").returncode in (0, 2)
        assert not list(tree.glob(".vm/qemu/*/qemu.pid"))
    finally:
        outer.kill()
        outer.wait()


@pytest.fixture(scope="module")
def machine(verb: Verb, bare_box: Path) -> str:
    """A machine that is up."""
    done = verb("up", "lab1", "--qemu", "--box", str(bare_box), "--memory", "1024", timeout_s=UP_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "host key SHA256:" in done.stderr
    return "lab1"


def test_machine_that_is_up_is_listed_with_its_address(verb: Verb, machine: str) -> None:
    (row,) = json.loads(verb("list", "--json").stdout)
    assert (row["name"], row["provider"], row["accelerator"], row["state"]) == (
        "lab1",
        "qemu",
        "tcg",
        "running",
    )
    assert (row["host"], row["memory_mib"]) == ("127.0.0.1", 1024)


def test_ssh_runs_a_command_and_returns_its_exit_code(verb: Verb, machine: str) -> None:
    done = verb("ssh", machine, "--", "cat /etc/set-up-here && test -x /vagrant/tb && exit 5")
    assert (done.returncode, done.stdout) == (5, "set up by vagrant\n")


def test_published_key_does_not_open_the_machine(
    tree: Path, verb: Verb, machine: str, tmp_path: Path
) -> None:
    from dataclasses import replace

    from testbed.vm import openssh
    from testbed.vm.insecure_key import PRIVATE_KEY
    from testbed.vm.qemu_state import load

    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text(PRIVATE_KEY, encoding="ascii")
    made = load(tree, machine)
    assert made is not None
    said = openssh.run(replace(made.target(), identity_files=(key,)), ["true"])
    assert said.exit_code == openssh.LOST
    assert "Permission denied" in said.stderr
    assert openssh.run(made.target(), ["true"]).exit_code == 0


def test_another_host_key_is_refused(tree: Path, verb: Verb, machine: str) -> None:
    from testbed.vm.qemu_state import load

    made = load(tree, machine)
    assert made is not None
    pinned = made.known_hosts.read_text(encoding="ascii")
    made.known_hosts.write_text(
        f"{machine} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2PvbPYbLnvWpYV3hdL2Nn1wdLvFkVLYJwcQ7JwzWLn\n",
        encoding="ascii",
    )
    try:
        done = verb("ssh", machine, "--", "true")
    finally:
        made.known_hosts.write_text(pinned, encoding="ascii")
    assert done.returncode == 255
    assert "verification failed" in done.stderr.lower()


def test_machine_that_was_halted_comes_up_again_with_what_it_had(verb: Verb, machine: str) -> None:
    assert verb("ssh", machine, "--", "echo kept > kept").returncode == 0
    assert verb("halt", machine).returncode == 0
    assert [row["state"] for row in json.loads(verb("list", "--json").stdout)] == ["halted"]
    done = verb("up", machine, "--qemu", timeout_s=UP_S)
    assert done.returncode == 0, done.stderr
    again = verb("ssh", machine, "--", "cat kept /etc/set-up-here")
    assert again.stdout == "kept\nset up by vagrant\n"  # set up once


def test_destroy_removes_the_machine_with_its_files(tree: Path, verb: Verb, machine: str) -> None:
    assert verb("destroy", machine).returncode == 0
    assert json.loads(verb("list", "--json").stdout) == []
    assert [path for path in (tree / ".vm").rglob("*") if path.is_file()] == []
