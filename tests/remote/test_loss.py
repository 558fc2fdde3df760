"""A connection that is cut or falls silent is found, and said to be lost, whatever it was doing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from testbed.errors import TestbedError
from testbed.vm.ssh import Connection, ConnectionLost, Trust, connect
from tests.remote.proxy import Proxy
from tests.remote.sshd import Sshd

MEGABYTE = bytes(1_000_000)


def run_much(connection: Connection) -> None:
    connection.run(["sh", "-c", "head -c 10000000 /dev/zero; sleep 30"])


def run_fed(connection: Connection) -> None:
    connection.run(["sh", "-c", "cat >/dev/null; sleep 30"], stdin=MEGABYTE * 20)


def stream_much(connection: Connection) -> None:
    connection.stream(["sh", "-c", "head -c 10000000 /dev/zero; sleep 30"], on_output=lambda _: None)


def sftp_up(connection: Connection) -> None:
    with connection.guard(), connection.sftp().open("up", "wb") as file:
        file.write(MEGABYTE * 20)


def sftp_down(connection: Connection) -> None:
    connection.run(["sh", "-c", "head -c 20000000 /dev/zero >down"])
    with connection.guard(), connection.sftp().open("down", "rb") as file:
        while file.read(100_000):
            pass


BUSY: list[tuple[Callable[[Connection], None], str]] = [
    (run_much, "down"),
    (run_fed, "up"),
    (stream_much, "down"),
    (sftp_up, "up"),
    (sftp_down, "down"),
]
busy = pytest.mark.parametrize(("work", "direction"), BUSY, ids=[work.__name__ for work, _ in BUSY])


@pytest.fixture
def connection(shared_sshd: Sshd, proxy: Proxy) -> Iterator[Connection]:
    with connect(shared_sshd.target(port=proxy.port), Trust(), silence_s=20) as connection:
        yield connection


@busy
def test_connection_cut_in_the_middle_is_lost(
    connection: Connection, proxy: Proxy, work: Callable[[Connection], None], direction: str
) -> None:
    proxy.cut_after(3_000_000, "up" if direction == "up" else "down")
    with pytest.raises(
        ConnectionLost, match=r"connection to box was lost \((reset|closed) by peer\)"
    ) as caught:
        work(connection)
    assert caught.value.reason in ("reset by peer", "closed by peer")


@busy
def test_connection_that_falls_silent_is_given_up(
    shared_sshd: Sshd, proxy: Proxy, work: Callable[[Connection], None], direction: str
) -> None:
    with connect(shared_sshd.target(port=proxy.port), Trust(), silence_s=0.8) as connection:
        threading.Thread(target=stall_behind, args=(proxy, 3_000_000, direction), daemon=True).start()
        with pytest.raises(ConnectionLost, match=r"no sign of life for 0\.8 s"):
            work(connection)


def stall_behind(proxy: Proxy, bytes_: int, direction: str) -> None:
    """Stall once so much has gone through."""
    while proxy.forwarded_bytes["up" if direction == "up" else "down"] < bytes_:
        time.sleep(0.001)
    proxy.stall()


def test_connection_that_is_only_idle_is_not_given_up(shared_sshd: Sshd) -> None:
    with connect(shared_sshd.target(), Trust(), silence_s=1) as connection:
        assert connection.stream(["sleep", "2"], on_output=lambda _: None) == 0


def test_command_started_on_a_dead_connection_is_lost(connection: Connection, proxy: Proxy) -> None:
    proxy.reset()
    with pytest.raises(ConnectionLost):
        connection.run(["true"])
    with pytest.raises(ConnectionLost):
        connection.sftp()


def test_server_that_ends_the_session_is_a_loss(sshd: Sshd) -> None:
    with connect(sshd.target(), Trust()) as connection, pytest.raises(ConnectionLost):
        connection.stream(["sh", "-c", "echo; sleep 30"], on_output=lambda _: sshd.drop_connections())


def test_output_is_never_taken_for_whole_when_it_was_cut(connection: Connection, proxy: Proxy) -> None:
    """The exit code may overtake the output: it proves nothing alone."""
    proxy.cut_after(400_000, "down")
    with pytest.raises(ConnectionLost):
        connection.run(["sh", "-c", "(sleep 0.2; head -c 1000000 /dev/zero) & exit 0"])


def test_files_that_are_missing_there_are_no_loss(connection: Connection) -> None:
    with pytest.raises(FileNotFoundError), connection.guard():
        connection.sftp().stat("missing")


def test_disk_that_is_full_here_is_no_loss_even_after_one(connection: Connection, proxy: Proxy) -> None:
    proxy.reset()
    with (
        pytest.raises(OSError, match="No space") as caught,
        connection.guard(),
        open("/dev/full", "wb", 0) as full,
    ):
        full.write(b"x")
    assert not isinstance(caught.value, TestbedError)


def test_interruption_passes_through_a_silent_connection_at_once(
    connection: Connection, proxy: Proxy
) -> None:
    def interrupt(_: bytes) -> None:
        proxy.stall()
        raise KeyboardInterrupt

    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt), connection:
        connection.stream(["cat"], stdin=MEGABYTE * 20, on_output=interrupt)
    assert time.monotonic() - began_s < 15  # before it is given up
