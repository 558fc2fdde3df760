from __future__ import annotations

from pathlib import Path

import pytest

from testbed.cli.run import ended_by_signal
from testbed.errors import Interrupted, PreflightError, SpecError
from testbed.vm import kvm, machines, vagrant, vagrant_run
from tests.unit.test_vm_vagrant import make
from tests.unit.vm_fakes import install

SLOW = kvm.Choice(accelerator="tcg", why="slow")
TELLS = 'echo "$TB_VM_COUNT $TB_VM_CPUS $TB_VM_TCG"'


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TB_VM_TCG", "TB_VM_COUNT", "TB_VM_CPUS", "VAGRANT_DEFAULT_PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    install(tmp_path / "bin", kvm.QEMU, "exit 1", monkeypatch)


def up(root: Path, *names: str, provider: str | None = None, **settings: str) -> list[str]:
    told: list[str] = []
    vagrant_run.up(root, names, settings=settings, provider=provider, choose=lambda: SLOW, note=told.append)
    return told


def test_up_of_several_is_parallel_and_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    calls = install(tmp_path / "bin", "vagrant", TELLS, monkeypatch)
    assert up(tmp_path, "tb1", "tb3", TB_VM_CPUS="4") == ["slow"]
    assert calls.read_text(encoding="ascii") == "up tb1 tb3 --parallel\n"
    assert capfd.readouterr().out == "3 4 1\n"


def test_up_with_virtualbox_does_not_try_kvm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    calls = install(tmp_path / "bin", "vagrant", TELLS, monkeypatch)
    assert up(tmp_path, "tb1", provider="virtualbox") == []
    assert calls.read_text(encoding="ascii") == "up tb1 --provider=virtualbox\n"
    monkeypatch.setenv("VAGRANT_DEFAULT_PROVIDER", "virtualbox")
    assert up(tmp_path, "tb1") == []
    assert capfd.readouterr().out == "1  \n1  \n"


def test_up_leaves_what_the_user_says_of_tcg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path / "bin", "vagrant", TELLS, monkeypatch)
    assert up(tmp_path, "tb1", TB_VM_TCG="0") == []
    assert capfd.readouterr().out == "1  0\n"


def test_up_with_an_empty_word_of_tcg_tries_kvm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path / "bin", "vagrant", TELLS, monkeypatch)
    monkeypatch.setenv("TB_VM_TCG", "")
    assert up(tmp_path, "tb1") == ["slow"]
    assert capfd.readouterr().out == "1  1\n"


def test_up_of_a_name_that_the_vagrantfile_lacks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = install(tmp_path / "bin", "vagrant", "", monkeypatch)
    with pytest.raises(SpecError, match="lab1"):
        up(tmp_path, "lab1")
    assert not calls.exists()


def test_up_that_fails_is_an_error_with_vagrants_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", "vagrant", "exit 4", monkeypatch)
    with pytest.raises(PreflightError, match=r"`vagrant up tb1` failed \(4\)"):
        up(tmp_path, "tb1")


def test_up_that_is_ended_interrupts_vagrant_and_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = 'trap "touch $1; exit 1" INT; sleep 1; kill -TERM $0; for i in $(seq 300); do sleep 0.1; done'
    vagrant = f"exec env --default-signal=INT sh -c '{waits}' $PPID {tmp_path}/ended"
    install(tmp_path / "bin", "vagrant", vagrant, monkeypatch)
    with pytest.raises(Interrupted, match="interrupted") as caught, ended_by_signal():
        up(tmp_path, "tb1")
    assert "./tb vm list" in caught.value.remedy
    assert (tmp_path / "ended").exists()


def test_up_without_vagrant_names_the_packages_and_the_way_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreflightError) as caught:
        up(tmp_path, "tb1")
    assert "apt-get install vagrant vagrant-libvirt" in caught.value.remedy
    assert "./tb vm up --qemu" in caught.value.remedy


def test_destroy_calls_vagrant_and_forgets_the_host_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = install(tmp_path / "bin", "vagrant", "", monkeypatch)
    machine = make(tmp_path, "tb1")
    pin = vagrant.pin_file(tmp_path, machine)
    pin.parent.mkdir(parents=True)
    pin.touch()
    machines.destroy(["tb1"], note=lambda _: None, root=tmp_path)
    assert calls.read_text(encoding="ascii") == "destroy --force tb1\n"
    assert not pin.exists()


def test_halt_and_destroy_of_an_unknown_machine_suggest_the_nearest(tmp_path: Path) -> None:
    make(tmp_path, "tb1")
    for verb in (machines.halt, machines.destroy):
        with pytest.raises(SpecError, match="did you mean 'tb1'"):
            verb(["tb"], note=lambda _: None, root=tmp_path)
