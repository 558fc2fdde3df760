"""A link brings work to its end through losses, and gives up when it must."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import RemoteError
from testbed.vm.ssh import Connection, ConnectionLost, Link, Trust
from tests.remote.proxy import Proxy
from tests.remote.sshd import Sshd, free_port

QUICK: dict[str, Any] = {"back_off_s": (0.02, 0.05), "silence_s": 10, "timeout_s": 5}


def hello(connection: Connection) -> bytes:
    return connection.run(["echo", "hello"]).stdout


def test_work_is_done_on_one_connection(shared_sshd: Sshd, proxy: Proxy) -> None:
    notes: list[str] = []
    with Link(shared_sshd.target(port=proxy.port), Trust(), note=notes.append) as link:
        assert [link.attempt(hello) for _ in range(3)] == [b"hello\n"] * 3
    assert (proxy.connections, notes) == (1, [])


def test_work_that_is_cut_runs_again_from_its_start(shared_sshd: Sshd, proxy: Proxy) -> None:
    notes: list[str] = []
    began: list[Connection] = []

    def work(connection: Connection) -> int:
        began.append(connection)
        return len(connection.run(["head", "-c", "3000000", "/dev/zero"]).stdout)

    proxy.cut_after(1_000_000, "down")
    with Link(shared_sshd.target(port=proxy.port), Trust(), note=notes.append, **QUICK) as link:
        assert link.attempt(work) == 3_000_000
    assert len(set(began)) == 2
    assert notes == [
        "connection to box lost (reset by peer); trying again for 120 s",
        "connected to box again",
    ]


def test_transfer_that_is_cut_is_done_again(shared_sshd: Sshd, proxy: Proxy) -> None:
    """What paramiko's own SFTP client raises is a loss, too."""

    def work(connection: Connection) -> int:
        with connection.sftp().open("file", "wb") as file:
            file.write(bytes(3_000_000))
        return connection.sftp().stat("file").st_size

    proxy.cut_after(1_000_000, "up")
    with Link(shared_sshd.target(port=proxy.port), Trust(), note=lambda _: None, **QUICK) as link:
        assert link.attempt(work) == 3_000_000
    assert proxy.connections == 2


def test_silent_connection_is_replaced(shared_sshd: Sshd, proxy: Proxy) -> None:
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        proxy.resume()

    options = QUICK | {"silence_s": 0.8}
    with Link(shared_sshd.target(port=proxy.port), Trust(), note=note, **options) as link:
        link.attempt(hello)
        proxy.stall()
        assert link.attempt(hello) == b"hello\n"
    assert notes[0] == "connection to box lost (no sign of life for 0.8 s); trying again for 120 s"


def test_server_that_is_away_for_a_while_is_waited_for(shared_sshd: Sshd, proxy: Proxy) -> None:
    with Link(shared_sshd.target(port=proxy.port), Trust(), note=lambda _: None, **QUICK) as link:
        link.attempt(hello)
        proxy.refuse()
        proxy.reset()
        timer = threading.Timer(0.5, proxy.resume)
        timer.start()
        assert link.attempt(hello) == b"hello\n"
        timer.join()


def test_first_connection_is_not_tried_again(shared_sshd: Sshd) -> None:
    notes: list[str] = []
    link = Link(shared_sshd.target(port=free_port()), Trust(), note=notes.append, **QUICK)
    with pytest.raises(ConnectionLost, match="refuses the connection"):
        link.attempt(hello)
    assert notes == []


def test_patience_ends(shared_sshd: Sshd, proxy: Proxy) -> None:
    link = Link(shared_sshd.target(port=proxy.port), Trust(), note=lambda _: None, patience_s=0.3, **QUICK)
    with link:
        link.attempt(hello)
        proxy.refuse()
        proxy.reset()
        began_s = time.monotonic()
        with pytest.raises(ConnectionLost, match=r"box has not come back for 0\.3 s") as caught:
            link.attempt(hello)
    assert caught.value.reason == "connection refused"
    assert 0.3 <= time.monotonic() - began_s < 5


def test_work_that_always_drops_ends_with_patience_though_connecting_works(
    shared_sshd: Sshd, proxy: Proxy
) -> None:
    def work(connection: Connection) -> None:
        proxy.reset()
        connection.run(["true"])

    link = Link(shared_sshd.target(port=proxy.port), Trust(), note=lambda _: None, patience_s=0.5, **QUICK)
    with link, pytest.raises(ConnectionLost, match="has not come back"):
        link.attempt(work)
    assert proxy.connections > 1


def test_progress_renews_patience(shared_sshd: Sshd, proxy: Proxy) -> None:
    """Work that gets a step further on each connection ends, though all of its losses outlast the patience."""
    steps: list[float] = []
    link = Link(shared_sshd.target(port=proxy.port), Trust(), note=lambda _: None, patience_s=0.4, **QUICK)

    def work(connection: Connection) -> None:
        steps.append(time.monotonic())
        connection.run(["sleep", "0.2"])
        link.progress()
        if len(steps) < 5:
            proxy.reset()
            connection.run(["true"])

    with link:
        link.attempt(work)
    assert len(steps) == 5
    assert steps[-1] - steps[0] > 0.4


def test_other_errors_are_not_tried_again(sshd: Sshd) -> None:
    calls: list[Connection] = []

    def work(connection: Connection) -> None:
        calls.append(connection)
        raise RemoteError("no", remedy="none")

    with Link(sshd.target(), Trust(), note=lambda _: None, **QUICK) as link:
        with pytest.raises(RemoteError, match="no"):
            link.attempt(work)
        assert len(calls) == 1
        link.attempt(hello)  # the connection still stands
        sshd.restart_with_new_host_key()
        with pytest.raises(RemoteError, match="has changed"):
            link.attempt(hello)


def test_interruption_passes_through(shared_sshd: Sshd) -> None:
    def work(_: Connection) -> None:
        raise KeyboardInterrupt

    with Link(shared_sshd.target(), Trust(), note=lambda _: None) as link, pytest.raises(KeyboardInterrupt):
        link.attempt(work)


def test_new_host_key_is_noted(shared_sshd: Sshd, tmp_path: Path) -> None:
    notes: list[str] = []
    target = shared_sshd.target(known_hosts=(tmp_path / "known_hosts",))
    with Link(target, Trust(host_key=shared_sshd.fingerprint), note=notes.append) as link:
        link.attempt(hello)
    assert len(notes) == 1
    assert str(tmp_path / "known_hosts") in notes[0]
