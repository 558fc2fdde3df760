"""A server that lets one in and opens sessions, but does not answer to what is asked of them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest

from testbed.errors import RemoteError
from testbed.vm.ssh import Connection, ConnectionLost, Trust, connect
from testbed.vm.target import Target
from tests.remote.sshd import ALIAS, make_key


class Mute(paramiko.ServerInterface):
    """Keeps the question to itself until the test is over; keep-alives are answered as by any server."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self.transport = transport
        self.asked = threading.Event()

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        # The answer to the next request goes nowhere.
        self.transport._send_user_message = lambda _: None  # type: ignore[method-assign]
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.asked.set()
        return True

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        self.asked.set()
        return True


@pytest.fixture
def mute(tmp_path: Path) -> Iterator[tuple[Target, list[Mute]]]:
    """How to reach it, and those that were reached."""
    host_key, user_key = make_key(tmp_path / "host"), make_key(tmp_path / "user")
    known = tmp_path / "known_hosts"
    known.write_text(f"{ALIAS} {host_key.with_suffix('.pub').read_text()}")
    reached: list[Mute] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            transport = paramiko.Transport(listener.accept()[0])
            transport.add_server_key(paramiko.PKey.from_path(host_key))
            reached.append(Mute(transport))
            transport.start_server(server=reached[0])

        server = threading.Thread(target=serve)
        server.start()
        yield (
            Target(
                name="box",
                host="127.0.0.1",
                user="ann",
                port=listener.getsockname()[1],
                identity_files=(user_key,),
                known_hosts=(known,),
                key_alias=ALIAS,
            ),
            reached,
        )
        server.join()
        for one in reached:
            one.transport.close()


def run(connection: Connection) -> None:
    connection.run(["true"], timeout_s=0.5)


def stream(connection: Connection) -> None:
    connection.stream(["true"], on_output=lambda _: None)


def sftp(connection: Connection) -> None:
    connection.sftp()


@pytest.mark.parametrize(
    ("work", "what"), [(run, "a command"), (stream, "a command"), (sftp, "an SFTP session")]
)
def test_request_without_an_answer_is_given_up(
    mute: tuple[Target, list[Mute]], work: Callable[[Connection], None], what: str
) -> None:
    target, reached = mute
    with connect(target, Trust(), silence_s=1) as connection:
        began_s = time.monotonic()
        with pytest.raises(RemoteError, match=f"box has not started {what} within") as caught:
            work(connection)
        assert not isinstance(caught.value, ConnectionLost)
        assert reached[0].asked.is_set()
        assert time.monotonic() - began_s < 10
