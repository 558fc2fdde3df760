"""Whether a real server is who it should be: known, unknown, pinned, changed, revoked."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.errors import RemoteError
from testbed.vm.ssh import Trust, connect
from tests.remote.sshd import ALIAS, Sshd, fingerprint, make_key


def test_known_key_is_trusted(shared_sshd: Sshd) -> None:
    with connect(shared_sshd.target(), Trust()) as connection:
        assert connection.learned == ""


def test_unknown_key_is_refused_with_its_fingerprint(shared_sshd: Sshd, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    with pytest.raises(RemoteError, match="not known") as caught:
        connect(shared_sshd.target(known_hosts=(file,)), Trust())
    assert shared_sshd.fingerprint in str(caught.value)
    assert f"--host-key {shared_sshd.fingerprint}" in caught.value.remedy
    assert not file.exists()


@pytest.mark.parametrize("answer", [True, False])
def test_unknown_key_is_the_users_decision(shared_sshd: Sshd, tmp_path: Path, answer: bool) -> None:
    questions: list[str] = []

    def confirm(question: str) -> bool:
        questions.append(question)
        return answer

    target = shared_sshd.target(known_hosts=(tmp_path / ".ssh" / "known_hosts",))
    if answer:
        with connect(target, Trust(confirm=confirm)) as connection:
            assert str(target.known_hosts[0]) in connection.learned
        connect(target, Trust()).close()
    else:
        with pytest.raises(RemoteError, match="was not trusted"):
            connect(target, Trust(confirm=confirm))
        assert not target.known_hosts[0].exists()
    assert len(questions) == 1
    for part in (shared_sshd.fingerprint, "ssh-ed25519", "box", "127.0.0.1"):
        assert part in questions[0]


def test_pinned_key_is_trusted_and_kept_as_openssh_reads_it(shared_sshd: Sshd, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    target = shared_sshd.target(known_hosts=(file,), key_alias="")
    with connect(target, Trust(host_key=shared_sshd.fingerprint)) as connection:
        assert shared_sshd.fingerprint in connection.learned
    found = subprocess.run(
        ["ssh-keygen", "-F", f"[127.0.0.1]:{target.port}", "-l", "-f", str(file)],
        capture_output=True,
        text=True,
    )
    assert shared_sshd.fingerprint in found.stdout


def test_pin_of_another_key_is_refused(shared_sshd: Sshd, tmp_path: Path) -> None:
    pin = "SHA256:" + "A" * 43
    with pytest.raises(RemoteError, match="not the one that was given") as caught:
        connect(shared_sshd.target(), Trust(host_key=pin))
    assert {pin, shared_sshd.fingerprint} <= set(str(caught.value).replace(",", " ").split())


def test_names_hashed_by_openssh_are_known(shared_sshd: Sshd, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(shared_sshd.known_hosts.read_text())
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert ALIAS not in file.read_text()
    connect(shared_sshd.target(known_hosts=(file,)), Trust()).close()


def test_changed_key_is_refused_with_line_and_both_fingerprints(sshd: Sshd) -> None:
    before = sshd.fingerprint
    sshd.restart_with_new_host_key()
    with pytest.raises(RemoteError, match=f"{sshd.known_hosts}, line 1") as caught:
        connect(sshd.target(), Trust(confirm=lambda _: True))
    assert before in str(caught.value)
    assert sshd.fingerprint in str(caught.value)
    # the remedy works
    subprocess.run(caught.value.remedy.partition(": ")[2], shell=True, check=True, capture_output=True)
    connect(sshd.target(), Trust(host_key=sshd.fingerprint)).close()


def test_revoked_key_is_refused(shared_sshd: Sshd, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("@revoked " + shared_sshd.known_hosts.read_text())
    target = shared_sshd.target(known_hosts=(shared_sshd.known_hosts, file))
    with pytest.raises(RemoteError, match="revoked"):
        connect(target, Trust(confirm=lambda _: True))


def test_key_of_the_known_type_is_asked_for_though_the_server_prefers_another(tmp_path: Path) -> None:
    bits = {"rsa": "2048", "ecdsa": "256"}
    others = {kind: make_key(tmp_path / kind, "-t", kind, "-b", bits[kind]) for kind in bits}
    with Sshd(tmp_path / "d", options=tuple(f"HostKey {path}" for path in others.values())) as server:
        for path in (*others.values(), server.host_key):
            public = path.with_suffix(".pub")
            server.known_hosts.write_text(f"{ALIAS} {public.read_text()}")
            connect(server.target(), Trust(host_key=fingerprint(public))).close()


def test_key_confirmed_is_appended_to_the_last_file(shared_sshd: Sshd, tmp_path: Path) -> None:
    first, last = tmp_path / "first", tmp_path / "last"
    first.write_text("# nothing\n")
    target = replace(shared_sshd.target(), known_hosts=(first, last))
    connect(target, Trust(confirm=lambda _: True)).close()
    assert first.read_text() == "# nothing\n"
    assert last.read_text().startswith(f"{ALIAS} ssh-ed25519 ")
