from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.errors import SpecError
from testbed.vm import processes
from testbed.vm.machines import destroy, halt, machines, names, targets_of
from testbed.vm.qemu_state import QemuMachine, load, load_all
from testbed.vm.target import Target
from tests.unit.test_vm_vagrant import make
from tests.unit.vm_fakes import ED25519, SSH_CONFIG, STATUS, install

VAGRANT = f"""case $1 in
status) cat "{{root}}/status";;
ssh-config) cat "{{root}}/ssh-config";;
ssh) echo ssh-ed25519 {ED25519};;
esac"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """How a Vagrant was called that has tb1 running and tb2 halted."""
    (tmp_path / "status").write_text(STATUS, encoding="ascii")
    (tmp_path / "ssh-config").write_text(SSH_CONFIG, encoding="ascii")
    return install(tmp_path / "bin", "vagrant", VAGRANT.format(root=tmp_path), monkeypatch)


def qemu(root: Path, name: str, *, process: processes.Known | None = None) -> QemuMachine:
    machine = QemuMachine(
        name=name,
        directory=root / ".vm" / "qemu" / name,
        image=root / "box.img",
        cpus=2,
        memory_mib=1024,
        accelerator="tcg",
        port=40022,
        process=process,
    )
    machine.save()
    return machine


def running(monkeypatch: pytest.MonkeyPatch) -> processes.Known:
    """A process that lives, and is taken for a QEMU."""
    monkeypatch.setattr(QemuMachine, "mark", lambda _: "")
    process = processes.known(os.getpid())
    assert process is not None
    return process


def test_state_file_that_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    saved = qemu(tmp_path, "tb1", process=processes.Known(pid=7, started="x 1"))
    assert load(tmp_path, "tb1") == saved


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"schema_version": 2}', '{"schema_version": 1, "image": 3}']
)
def test_state_file_that_is_damaged_is_refused_with_what_to_remove(tmp_path: Path, text: str) -> None:
    path = qemu(tmp_path, "tb1").directory / "machine.json"
    path.write_text(text, encoding="ascii")
    with pytest.raises(SpecError) as caught:
        load(tmp_path, "tb1")
    assert str(path.parent) in caught.value.remedy


def test_load_all_counts_as_people_do(tmp_path: Path) -> None:
    for name in ("tb10", "tb2", "lab"):
        qemu(tmp_path, name)
    assert list(load_all(tmp_path)) == ["lab", "tb2", "tb10"]


def test_load_of_a_name_that_leaves_the_directory_finds_nothing(tmp_path: Path) -> None:
    qemu(tmp_path, "tb1")
    assert load(tmp_path, "../qemu/tb1") is None


def test_machine_whose_pid_is_another_process_by_now_is_halted(tmp_path: Path) -> None:
    process = processes.known(os.getpid())
    assert process is not None
    by_mark = qemu(tmp_path, "tb1", process=process)
    by_time = qemu(tmp_path, "tb2", process=processes.Known(pid=process.pid, started="other 1"))
    assert not by_mark.is_running()
    assert not by_time.is_running()
    assert [machine.state for machine in machines(tmp_path)] == ["halted", "halted"]


def test_machines_of_both_kinds_are_listed_without_pinning(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "tb1")
    make(tmp_path, "tb2")
    qemu(tmp_path, "q1", process=running(monkeypatch))
    found = machines(tmp_path)
    assert [(machine.name, machine.provider, machine.state) for machine in found] == [
        ("q1", "qemu", "running"),
        ("tb1", "libvirt", "running"),
        ("tb2", "libvirt", "halted"),
    ]
    assert [machine.target.host if machine.target else "" for machine in found] == [
        "127.0.0.1",
        "192.168.121.9",
        "",
    ]
    assert "ssh tb1" not in calls.read_text(encoding="ascii")


def test_targets_of_a_machine_of_qemu_does_not_ask_vagrant(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "tb1")
    machine = qemu(tmp_path, "q1", process=running(monkeypatch))
    found = targets_of(["q1"], identity=None, directory=None, root=tmp_path)
    assert found == [
        Target(
            name="q1",
            host="127.0.0.1",
            user="vagrant",
            port=40022,
            identity_files=(machine.key,),
            known_hosts=(machine.known_hosts,),
            key_alias="q1",
            tree="/vagrant",
        )
    ]
    assert not calls.exists()


def test_targets_of_a_machine_of_vagrant_is_pinned_by_the_file_it_names(tmp_path: Path, calls: Path) -> None:
    make(tmp_path, "tb1")
    told: list[str] = []
    (target,) = targets_of(["tb1"], identity=None, directory=None, root=tmp_path, note=told.append)
    assert (target.host, target.tree, target.key_alias) == ("192.168.121.9", "/vagrant", "tb1")
    assert target.known_hosts[0].read_text(encoding="ascii") == f"tb1 ssh-ed25519 {ED25519}\n"
    assert len(told) == 1


def test_targets_of_nothing_is_the_one_machine_that_runs(tmp_path: Path, calls: Path) -> None:
    make(tmp_path, "tb1")
    make(tmp_path, "tb2")
    qemu(tmp_path, "q1")
    found = targets_of([], identity=None, directory=None, root=tmp_path, note=lambda _: None)
    assert [target.name for target in found] == ["tb1"]


def test_targets_of_nothing_without_a_machine_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no machines here") as caught:
        targets_of([], identity=None, directory=None, root=tmp_path)
    assert "./tb vm up" in caught.value.remedy


def test_targets_of_nothing_with_two_that_run_lists_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tb1", "tb2"):
        qemu(tmp_path, name, process=running(monkeypatch))
    with pytest.raises(SpecError, match="2 machines run here: tb1,tb2") as caught:
        targets_of([], identity=None, directory=None, root=tmp_path)
    assert "--hosts tb1,tb2" in caught.value.remedy


@pytest.mark.parametrize("name", ["tb2", "q1"])
def test_targets_of_a_machine_that_is_halted_says_how_to_start_it(
    tmp_path: Path, calls: Path, name: str
) -> None:
    make(tmp_path, "tb2")
    qemu(tmp_path, "q1")
    with pytest.raises(SpecError, match=f"{name} does not run") as caught:
        targets_of([name], identity=None, directory=None, root=tmp_path)
    assert caught.value.remedy.endswith(name)


def test_targets_of_a_host_takes_identity_and_directory(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch()
    (target,) = targets_of(["ann@192.0.2.1"], identity=key, directory="a tree", root=tmp_path)
    assert (target.user, target.identity_files, target.tree) == ("ann", (key,), "a tree")


def test_targets_of_an_identity_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--identity"):
        targets_of(["ann@192.0.2.1"], identity=tmp_path / "no", directory=None, root=tmp_path)


def test_targets_of_a_host_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="more than once"):
        targets_of(["ann@a.b", "ann@a.b"], identity=None, directory=None, root=tmp_path)


def test_names_are_those_of_both_kinds(tmp_path: Path) -> None:
    make(tmp_path, "tb2")
    qemu(tmp_path, "tb10")
    assert names(tmp_path) == ["tb2", "tb10"]


@pytest.mark.parametrize("verb", [halt, destroy])
def test_without_a_machine_that_is_said(tmp_path: Path, verb: Callable[..., None]) -> None:
    told: list[str] = []
    verb([], note=told.append, root=tmp_path)
    assert told == ["there are no machines here"]
