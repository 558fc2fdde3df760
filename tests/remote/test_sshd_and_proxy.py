"""The server and the proxy that the other tests here rest on, seen by OpenSSH's own client and by plain sockets."""

from __future__ import annotations

import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote import sshd as sshd_module
from tests.remote.proxy import Proxy
from tests.remote.sshd import (
    ALIAS,
    EXTRACTED,
    PRIVILEGE_SEPARATION,
    REPOSITORY,
    PrivilegeSeparation,
    Sshd,
    sshd_program,
)


def openssh(server: Sshd, *command: str) -> subprocess.CompletedProcess[str]:
    words = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={server.known_hosts}"]
    words += ["-o", f"HostKeyAlias={ALIAS}", "-o", "IdentitiesOnly=yes", "-i", str(server.user_key)]
    words += ["-p", str(server.port), "root@127.0.0.1", *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)


def test_sshd_lets_the_key_in_and_has_a_home_of_its_own(shared_sshd: Sshd) -> None:
    done = openssh(shared_sshd, "pwd; echo $HOME")
    assert done.stdout.split() == [str(shared_sshd.home)] * 2, done.stderr


def test_sshd_restarted_has_another_host_key_and_the_same_port(sshd: Sshd) -> None:
    before, port = sshd.fingerprint, sshd.port
    sshd.restart_with_new_host_key()
    assert (sshd.fingerprint != before, sshd.port) == (True, port)
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in openssh(sshd, "true").stderr


def test_sshd_stopped_ends_its_sessions(sshd: Sshd) -> None:
    words = [
        "ssh",
        "-F",
        "none",
        "-o",
        f"UserKnownHostsFile={sshd.known_hosts}",
        "-o",
        f"HostKeyAlias={ALIAS}",
    ]
    words += ["-i", str(sshd.user_key), "-p", str(sshd.port), "root@127.0.0.1", "echo up; sleep 60"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdout is not None
        try:
            assert client.stdout.readline() == b"up\n"
            sshd.stop()
            assert client.wait(timeout=10) == 255
        finally:
            client.kill()


def test_directory_of_sshd_exists_while_one_runs(shared_sshd: Sshd, sshd: Sshd) -> None:
    sshd.stop()
    assert PRIVILEGE_SEPARATION.is_dir()
    assert openssh(shared_sshd, "echo fine").stdout == "fine\n"


def test_directory_of_sshd_is_removed_by_the_last_one_if_tests_made_it(tmp_path: Path) -> None:
    path = tmp_path / "run-sshd"
    first, second = PrivilegeSeparation(path), PrivilegeSeparation(path)
    first.hold()
    second.hold()
    first.release()
    assert path.is_dir()
    second.release()
    assert not path.exists()


def test_directory_of_sshd_is_left_alone_if_it_was_there(tmp_path: Path) -> None:
    directory = PrivilegeSeparation(tmp_path)
    directory.hold()
    directory.release()
    assert tmp_path.is_dir()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Proxy, socket.socket]]:
    """A client's socket, the proxy, and the server's end of the connection."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Proxy(server.getsockname()[1]) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), 5) as client,
    ):
        accepted, _ = server.accept()
        accepted.settimeout(5)
        with accepted:
            yield client, proxy, accepted


def test_proxy_cuts_behind_the_byte_that_was_asked_for(
    pair: tuple[socket.socket, Proxy, socket.socket],
) -> None:
    client, proxy, server = pair
    proxy.cut_after(3, "up")
    client.sendall(b"abcdef")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert proxy.forwarded_bytes["up"] == 3
    assert server.recv(10) == b"abc"
    with pytest.raises(ConnectionResetError):
        server.recv(1)


def test_proxy_stalled_holds_back_and_then_resumes(pair: tuple[socket.socket, Proxy, socket.socket]) -> None:
    client, proxy, server = pair
    proxy.stall()
    server.sendall(b"late")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(4)
    proxy.resume()
    client.settimeout(5)
    assert client.recv(4) == b"late"


def test_proxy_refuses_and_accepts_again_at_the_same_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, Proxy(server.getsockname()[1]) as proxy:
        port = proxy.port
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
        proxy.resume()
        assert proxy.port == port
        socket.create_connection(("127.0.0.1", port), 5).close()


def test_machine_without_sshd_fails_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sshd_module, "EXTRACTED", tmp_path)
    monkeypatch.setattr(sshd_module.shutil, "which", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="install openssh-server"):
        Sshd(tmp_path / "d")


def test_sshd_runs_from_the_files_of_its_package_on_a_machine_that_has_not_installed_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither its program nor the user that it separates privileges by is part of the machine."""
    unpacked = EXTRACTED / "usr/sbin/sshd.unpacked"
    there = tmp_path / "usr/sbin"
    there.mkdir(parents=True)
    shutil.copy(unpacked if unpacked.exists() else sshd_program(), there / "sshd.unpacked")
    shutil.copy(REPOSITORY / "tools/unpacked_sshd.sh", there / "sshd")
    (tmp_path / "usr/lib").symlink_to(EXTRACTED / "usr/lib")
    users = [user for user in pwd.getpwall() if user.pw_name != "sshd"]
    monkeypatch.setattr(sshd_module, "EXTRACTED", tmp_path)
    monkeypatch.setattr(sshd_module.pwd, "getpwall", lambda: users)
    with Sshd(tmp_path / "d") as server:
        assert openssh(server, "echo fine").stdout == "fine\n"
