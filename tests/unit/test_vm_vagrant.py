from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import PreflightError, RemoteError, SpecError
from testbed.vm import vagrant
from tests.unit.vm_fakes import ED25519, SSH_CONFIG, STATUS, install


def make(root: Path, name: str, identifier: str = "a1", provider: str = "libvirt") -> vagrant.Made:
    directory = root / ".vagrant" / "machines" / name / provider
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "id").write_text(identifier, encoding="ascii")
    return vagrant.Made(name=name, provider=provider, identifier=identifier)


def test_parse_status_reads_provider_and_state_of_each_machine() -> None:
    assert vagrant.parse_status(STATUS) == {
        "tb1": vagrant.Status(provider="libvirt", state="running"),
        "tb2": vagrant.Status(provider="libvirt", state="shutoff"),
        "tb3": vagrant.Status(provider="libvirt", state="not_created"),
    }


def test_parse_status_leaves_out_lines_that_are_no_rows() -> None:
    assert vagrant.parse_status("a warning of Ruby, state,x\n\n,,\n1,tb1\n") == {}


def test_rows_undo_vagrants_escapes() -> None:
    assert vagrant.rows(r"1,tb1,ui,a%!(VAGRANT_COMMA) b\nc") == [["1", "tb1", "ui", "a, b\nc"]]


@pytest.mark.parametrize(
    ("state", "word"),
    [("running", "running"), ("shutoff", "halted"), ("poweroff", "halted"), ("not_created", "absent")],
)
def test_state_word_is_one_of_three(state: str, word: str) -> None:
    assert vagrant.state_word(vagrant.Status(provider="p", state=state)) == word


def test_parse_ssh_config_undoes_quotes_and_keeps_all_keys() -> None:
    found = vagrant.parse_ssh_config(SSH_CONFIG)
    assert found["tb1"] == vagrant.Access(
        host="192.168.121.9",
        user="vagrant",
        port=22,
        identity_files=(Path("/a tree/.vagrant/machines/tb1/libvirt/private_key"), Path("/other key")),
    )
    assert (found["tb4"].port, found["tb4"].user) == (2200, "vagrant")


def test_parse_ssh_config_of_a_machine_behind_another_is_refused() -> None:
    with pytest.raises(PreflightError, match="through something else"):
        vagrant.parse_ssh_config('Host tb1\n  HostName h\n  ProxyCommand "ssh x nc %h %p"\n')


def test_made_lists_machines_with_an_id_and_needs_no_vagrant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    make(tmp_path, "tb1")
    make(tmp_path, "tb2", identifier="")
    assert list(vagrant.made(tmp_path)) == ["tb1"]


def test_statuses_without_a_machine_does_not_call_vagrant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = install(tmp_path / "bin", "vagrant", "exit 1", monkeypatch)
    assert vagrant.statuses(tmp_path) == {}
    assert not calls.exists()


def test_environment_counts_every_machine_that_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TB_VM_COUNT", "2")
    monkeypatch.setenv("VAGRANT_CWD", "/elsewhere")
    make(tmp_path, "tb5")
    found = vagrant.environment(tmp_path)
    assert found["TB_VM_COUNT"] == "5"
    assert "VAGRANT_CWD" not in found


def test_environment_names_the_box_from_where_the_user_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.box").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TB_VM_BOX", "my.box")
    assert vagrant.environment(tmp_path / "tree")["TB_VM_BOX"] == str(tmp_path / "my.box")
    monkeypatch.setenv("TB_VM_BOX", "debian/bookworm64")
    assert vagrant.environment(tmp_path / "tree")["TB_VM_BOX"] == "debian/bookworm64"


def test_environment_with_a_count_that_is_no_number_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TB_VM_COUNT", "two")
    with pytest.raises(SpecError, match="TB_VM_COUNT is 'two'"):
        vagrant.environment(tmp_path)


def test_made_takes_an_empty_place_of_vagrants_files_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "tb1")
    monkeypatch.setenv("VAGRANT_DOTFILE_PATH", "")
    assert list(vagrant.made(tmp_path)) == ["tb1"]


def test_error_of_vagrant_is_told_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "tb1")
    install(
        tmp_path / "bin",
        "vagrant",
        "echo '1,,error-exit,Vagrant::Errors::X,no%!(VAGRANT_COMMA) no'; exit 1",
        monkeypatch,
    )
    with pytest.raises(PreflightError, match="no, no"):
        vagrant.statuses(tmp_path)


def test_pin_takes_the_keys_once_and_tells_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make(tmp_path, "tb1")
    calls = install(tmp_path / "bin", "vagrant", f"printf 'ssh-ed25519 {ED25519} root@vm\\r\\n'", monkeypatch)
    told: list[str] = []
    vagrant.pin(tmp_path, machine, told.append)
    vagrant.pin(tmp_path, machine, told.append)
    path = vagrant.pin_file(tmp_path, machine)
    assert path.read_text(encoding="ascii") == f"tb1 ssh-ed25519 {ED25519}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(calls.read_text(encoding="ascii").splitlines()) == 1
    assert len(told) == 1
    assert "SHA256:" in told[0]


def test_pin_of_a_machine_made_anew_replaces_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", "vagrant", f"echo ssh-ed25519 {ED25519}", monkeypatch)
    machines = [make(tmp_path, "tb1", "one"), make(tmp_path, "tb1", "two"), make(tmp_path, "tb10", "one")]
    for machine in machines:
        vagrant.pin(tmp_path, machine, lambda _: None)
    kept = [vagrant.pin_file(tmp_path, machine).exists() for machine in machines]
    assert kept == [False, True, True]


def test_pin_without_a_key_is_an_error_and_pins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make(tmp_path, "tb1")
    install(tmp_path / "bin", "vagrant", f"echo ssh-ed25519 {ED25519[:20]}", monkeypatch)
    with pytest.raises(RemoteError, match="does not tell its host keys"):
        vagrant.pin(tmp_path, machine, lambda _: None)
    assert not vagrant.pin_file(tmp_path, machine).exists()
