"""Every way in which a connection is not made is one error with a remedy; and keys of every kind are let in."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.errors import RemoteError, SpecError
from testbed.vm.ssh import ConnectionLost, Trust, connect
from testbed.vm.ssh import login as login_module
from tests.remote.proxy import Proxy
from tests.remote.sshd import Sshd, free_port, make_key


@contextmanager
def talker(says: bytes, *, then_close: bool) -> Iterator[int]:
    """The port of a server that says something to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            try:
                client, _ = server.accept()
            except OSError:
                return
            client.sendall(says)
            if then_close:
                client.close()
            held.append(client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for client in held:
            client.close()


def test_port_where_nobody_listens_is_refused(shared_sshd: Sshd) -> None:
    with pytest.raises(ConnectionLost, match="refuses the connection") as caught:
        connect(shared_sshd.target(port=free_port()), Trust())
    assert "SSH server" in caught.value.remedy


def test_name_that_does_not_exist_is_said_so(shared_sshd: Sshd) -> None:
    with pytest.raises(ConnectionLost, match=r"the name 'nowhere\.invalid' is not known"):
        connect(shared_sshd.target(host="nowhere.invalid"), Trust())


def test_host_that_takes_no_connection_times_out(shared_sshd: Sshd) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        # the queue is full: Linux drops what comes now
        with (
            socket.create_connection(address, 5),
            pytest.raises(ConnectionLost, match=r"does not answer within 0\.3 s"),
        ):
            connect(shared_sshd.target(port=address[1]), Trust(), timeout_s=0.3)


def test_server_that_says_nothing_times_out(shared_sshd: Sshd) -> None:
    with (
        talker(b"", then_close=False) as port,
        pytest.raises(ConnectionLost, match=r"says nothing within 0\.5 s"),
    ):
        connect(shared_sshd.target(port=port), Trust(), timeout_s=0.5)


def test_server_that_stops_within_the_handshake_times_out(shared_sshd: Sshd) -> None:
    with (
        talker(b"SSH-2.0-halted\r\n", then_close=False) as port,
        pytest.raises(ConnectionLost, match=r"does not end the handshake within 0\.5 s"),
    ):
        connect(shared_sshd.target(port=port), Trust(), timeout_s=0.5)


@pytest.mark.parametrize("then_close", [True, False])
def test_server_of_another_protocol_is_said_so(shared_sshd: Sshd, then_close: bool) -> None:
    with (
        talker(b"HTTP/1.1 400 Bad Request\r\n\r\n", then_close=then_close) as port,
        pytest.raises(RemoteError, match="not an SSH server: it says b'HTTP") as caught,
    ):
        connect(shared_sshd.target(port=port), Trust(), timeout_s=0.5)
    assert not isinstance(caught.value, ConnectionLost)


def test_server_that_hangs_up_may_still_be_starting(shared_sshd: Sshd) -> None:
    with (
        talker(b"", then_close=True) as port,
        pytest.raises(ConnectionLost, match="before anybody was let in") as caught,
    ):
        connect(shared_sshd.target(port=port), Trust())
    assert "starting" in caught.value.remedy


@pytest.mark.parametrize("bytes_", [2, 10, 100, 1200])
def test_connection_cut_before_the_login_is_lost(shared_sshd: Sshd, proxy: Proxy, bytes_: int) -> None:
    proxy.cut_after(bytes_, "down")
    with pytest.raises(ConnectionLost, match=r"(reset|closed) by peer"):
        connect(shared_sshd.target(port=proxy.port), Trust())
    connect(shared_sshd.target(port=proxy.port), Trust()).close()


def test_failed_connections_leave_no_thread_behind(shared_sshd: Sshd, proxy: Proxy, tmp_path: Path) -> None:
    """A thread that outlives its connection would hold up the exit of the program for as long as the time-out."""
    before = set(threading.enumerate())
    proxy.cut_after(100, "down")  # within the handshake
    with pytest.raises(ConnectionLost):
        connect(shared_sshd.target(port=proxy.port), Trust(), timeout_s=60)
    with pytest.raises(RemoteError):
        connect(shared_sshd.target(known_hosts=(tmp_path / "none",)), Trust(), timeout_s=60)
    proxy.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert [thread for thread in threading.enumerate() if thread not in before] == []


def test_wrong_key_is_refused_and_named(shared_sshd: Sshd, tmp_path: Path) -> None:
    wrong = make_key(tmp_path / "wrong")
    with pytest.raises(RemoteError, match="does not let root in") as caught:
        connect(shared_sshd.target(identity_files=(wrong,)), Trust())
    assert f"{wrong} (SHA256:" in str(caught.value)
    assert "--identity" in caught.value.remedy
    assert not isinstance(caught.value, ConnectionLost)


def test_second_key_is_tried_after_a_wrong_one(shared_sshd: Sshd, tmp_path: Path) -> None:
    wrong = make_key(tmp_path / "wrong")
    connect(shared_sshd.target(identity_files=(wrong, shared_sshd.user_key)), Trust()).close()


def test_more_keys_than_the_server_has_patience_for_is_no_lost_connection(
    shared_sshd: Sshd, tmp_path: Path
) -> None:
    wrong = tuple(make_key(tmp_path / f"wrong{number}") for number in range(7))
    with pytest.raises(RemoteError, match="tries no more keys") as caught:
        connect(shared_sshd.target(identity_files=wrong), Trust())
    assert not isinstance(caught.value, ConnectionLost)


def test_server_without_keys_is_never_given_a_password(tmp_path: Path) -> None:
    with (
        Sshd(tmp_path / "d", options=("PubkeyAuthentication no", "PasswordAuthentication yes")) as server,
        pytest.raises(RemoteError, match="takes no keys, only: password"),
    ):
        connect(server.target(), Trust())


@pytest.fixture(scope="module")
def rsa_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RSA in PEM format, as Vagrant's well-known key is; made once, for it takes long."""
    return make_key(tmp_path_factory.mktemp("rsa") / "key", "-t", "rsa", "-b", "2048", "-m", "PEM")


def copy_of(key: Path, path: Path, *options: str) -> Path:
    """The same key in another file, in OpenSSH's format unless the options say otherwise."""
    shutil.copy(key, path)
    shutil.copy(f"{key}.pub", f"{path}.pub")
    words = ["ssh-keygen", "-q", "-p", "-P", "", "-f", str(path), *(options or ("-N", ""))]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return path


def test_rsa_key_is_let_in_in_pem_as_in_openssh_format(sshd: Sshd, rsa_key: Path, tmp_path: Path) -> None:
    assert "BEGIN RSA PRIVATE KEY" in rsa_key.read_text()
    converted = copy_of(rsa_key, tmp_path / "key")
    assert "BEGIN OPENSSH PRIVATE KEY" in converted.read_text()
    sshd.authorize(rsa_key)
    for key in (rsa_key, converted):
        connect(sshd.target(identity_files=(key,)), Trust()).close()


@pytest.mark.parametrize("options", [(), ("-m", "PEM")], ids=["OpenSSH", "PEM"])
def test_ecdsa_key_is_let_in(sshd: Sshd, tmp_path: Path, options: tuple[str, ...]) -> None:
    key = make_key(tmp_path / "key", "-t", "ecdsa", *options)
    sshd.authorize(key)
    connect(sshd.target(identity_files=(key,)), Trust()).close()


@pytest.mark.parametrize("options", [(), ("-t", "ecdsa", "-m", "PEM")], ids=["OpenSSH", "PEM"])
def test_encrypted_key_is_the_agents_business(
    shared_sshd: Sshd, tmp_path: Path, options: tuple[str, ...]
) -> None:
    key = make_key(tmp_path / "key", *options, "-N", "secret")
    with pytest.raises(SpecError, match=f"{key} is encrypted") as caught:
        connect(shared_sshd.target(identity_files=(key,)), Trust())
    assert f"ssh-add {key}" in str(caught.value) + caught.value.remedy


@pytest.mark.parametrize("text", [None, "", "no key\n"])
def test_file_that_is_no_key_is_the_users_error(shared_sshd: Sshd, tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "key"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SpecError, match=f"{path} is no (file|private key)"):
        connect(shared_sshd.target(identity_files=(path,)), Trust())


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An agent of this test; add keys to it with `ssh-add`."""
    path = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL) as process:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        while not path.exists():
            assert process.poll() is None
        yield path
        process.terminate()


def test_agents_key_is_used_where_no_file_is_named(
    shared_sshd: Sshd, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_module, "DEFAULT_KEYS", ())
    with pytest.raises(SpecError, match="there is no key"):
        connect(shared_sshd.target(identity_files=()), Trust())
    subprocess.run(["ssh-add", "-q", str(shared_sshd.user_key)], check=True)
    connect(shared_sshd.target(identity_files=()), Trust()).close()


def test_encrypted_file_stands_for_the_agents_key(
    sshd: Sshd, agent: Path, rsa_key: Path, tmp_path: Path
) -> None:
    sshd.authorize(rsa_key)
    subprocess.run(["ssh-add", "-q", str(rsa_key)], check=True)
    key = copy_of(rsa_key, tmp_path / "key", "-N", "secret")
    connect(sshd.target(identity_files=(key,)), Trust()).close()


def test_keys_of_the_home_directory_are_tried_by_default(
    shared_sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    os.symlink(shared_sshd.user_key, tmp_path / ".ssh" / "id_ed25519")
    connect(shared_sshd.target(identity_files=()), Trust()).close()
