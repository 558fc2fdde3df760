from __future__ import annotations

import time
from pathlib import Path

import pytest

from testbed.errors import PreflightError
from testbed.vm import kvm, processes
from testbed.vm.kvm import BOOT_SECTOR, Choice, choose, probe
from tests.unit.vm_fakes import install


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "kvm"
    path.touch()
    return path


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Path:
    return install(tmp_path / "bin", kvm.QEMU, body, monkeypatch)


def test_boot_sector_is_one_that_a_bios_boots() -> None:
    assert len(BOOT_SECTOR) == 512
    assert BOOT_SECTOR[-2:] == b"\x55\xaa"


def test_choose_kvm_that_runs_a_guest_says_nothing(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake(tmp_path, monkeypatch, "exit 85")
    assert choose(tcg=False, device=device, system="Linux") == Choice(accelerator="kvm")
    assert "-accel kvm -cpu host" in calls.read_text(encoding="ascii")


def test_choose_kvm_that_hangs_is_tcg_and_the_process_is_ended(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    fake(tmp_path, monkeypatch, f"echo $$ > {pid}; trap '' TERM; exec sleep 600")
    monkeypatch.setattr(kvm.probe, "__kwdefaults__", {"timeout_s": 0.5})
    choice = choose(tcg=False, device=device, system="Linux")
    assert choice.accelerator == "tcg"
    assert choice.why == (
        "KVM is there but did not run a guest within 0.5 s: using TCG, about 15 times slower"
    )
    assert processes.known(int(pid.read_text(encoding="ascii"))) is None


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("echo 'Could not access KVM kernel module' >&2; exit 1", "Could not access KVM kernel module"),
        ("exit 0", "(QEMU ended with 0)"),
        (
            f"echo '{kvm.QEMU}: warning: no such feature' >&2; echo '{kvm.QEMU}: error: no MSR' >&2; "
            "echo 'Assertion failed' >&2; exit 134",
            "(error: no MSR)",
        ),
    ],
)
def test_choose_kvm_that_fails_is_tcg_with_what_qemu_says(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch, body: str, told: str
) -> None:
    fake(tmp_path, monkeypatch, body)
    choice = choose(tcg=False, device=device, system="Linux")
    assert choice.accelerator == "tcg"
    assert told in choice.why


def test_choose_without_a_device_or_with_tcg_wanted_tries_nothing(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake(tmp_path, monkeypatch, "exit 85")
    assert choose(tcg=True, device=device) == Choice(accelerator="tcg")
    without = choose(tcg=False, device=tmp_path / "none", system="Linux")
    assert without.accelerator == "tcg"
    assert "no KVM here" in without.why
    assert not calls.exists()


def test_choose_with_a_device_that_is_closed_to_this_user_names_the_group(
    device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, _: path != device)
    assert "group kvm" in choose(tcg=False, device=device, system="Linux").why


def test_choose_on_macos_tries_its_hypervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake(tmp_path, monkeypatch, "exit 85")
    assert choose(tcg=False, system="Darwin") == Choice(accelerator="hvf")
    assert "-accel hvf" in calls.read_text(encoding="ascii")


def test_probe_without_qemu_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreflightError) as caught:
        probe("kvm")
    assert "qemu-system-x86" in caught.value.remedy


def test_probe_with_a_process_that_cannot_be_killed_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch, "exec sleep 5")
    monkeypatch.setattr("subprocess.Popen.kill", lambda _: None)
    monkeypatch.setattr(kvm, "KILL_S", 0.1)
    began = time.monotonic()
    told = probe("kvm", timeout_s=0.1)
    assert told is not None
    assert "cannot be killed" in told
    assert time.monotonic() - began < 4
