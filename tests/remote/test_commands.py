"""Commands over a connection that stays up: words, bytes, exit codes, sizes, time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from testbed.errors import RemoteError
from testbed.vm.ssh import Connection, ConnectionLost, Trust, connect
from tests.remote.sshd import Sshd

TEN_MB = bytes(range(256)) * 40_960


@pytest.fixture(scope="module")
def connection(shared_sshd: Sshd) -> Iterator[Connection]:
    with connect(shared_sshd.target(), Trust()) as connection:
        yield connection


@pytest.mark.parametrize(
    "word",
    ["", " ", "a b", "$HOME", "`id`", "it's", '"', "\\", "*", "ünï ☃", "-n", "a\nb", "~", "!x", "\udcff"],
)
def test_words_arrive_as_they_are(connection: Connection, word: str) -> None:
    done = connection.run(["printf", "<%s>", word, "end"])
    assert done.stdout == f"<{word}><end>".encode("utf-8", "surrogateescape")


def test_every_byte_value_passes_both_ways(connection: Connection) -> None:
    assert connection.run(["cat"], stdin=bytes(range(256))).stdout == bytes(range(256))


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_exit_code_is_reported(connection: Connection, code: int) -> None:
    done = connection.run(["sh", "-c", f"echo out; echo err >&2; exit {code}"])
    assert (done.exit_code, done.stdout, done.stderr) == (code, b"out\n", b"err\n")


@pytest.mark.parametrize(("signal", "code"), [("KILL", 137), ("TERM", 143), ("SEGV", 139)])
def test_death_by_a_signal_is_128_and_its_number(connection: Connection, signal: str, code: int) -> None:
    assert connection.run(["sh", "-c", f"kill -{signal} $$"]).exit_code == code


def test_command_that_is_not_there_is_127(connection: Connection) -> None:
    done = connection.run(["no-such-command"])
    assert done.exit_code == 127
    assert b"no-such-command" in done.stderr


def test_command_whose_shell_is_killed_is_an_error(connection: Connection) -> None:
    with pytest.raises(RemoteError, match="was ended there by somebody else") as caught:
        connection.run(["sh", "-c", "kill -KILL $PPID"])
    assert not isinstance(caught.value, ConnectionLost)


def test_ten_megabytes_go_there_and_back_while_both_flow(connection: Connection) -> None:
    done = connection.run(["cat"], stdin=TEN_MB)
    assert (done.exit_code, done.stdout == TEN_MB) == (0, True)


def test_ten_megabytes_on_stderr_do_not_block_stdout(connection: Connection) -> None:
    done = connection.run(["sh", "-c", "cat >&2; echo done"], stdin=TEN_MB)
    assert (done.stderr == TEN_MB, done.stdout) == (True, b"done\n")


def test_stdin_that_is_not_read_blocks_nothing(connection: Connection) -> None:
    assert connection.run(["sh", "-c", "exec <&-; echo done"], stdin=TEN_MB).stdout == b"done\n"


def test_command_that_closes_its_output_is_waited_for(connection: Connection) -> None:
    assert connection.run(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 9"]).exit_code == 9


def test_command_that_takes_too_long_is_an_error_and_the_connection_goes_on(connection: Connection) -> None:
    with pytest.raises(RemoteError, match=r"`sleep 5` on box has not ended within 0\.2 s") as caught:
        connection.run(["sleep", "5"], timeout_s=0.2)
    assert not isinstance(caught.value, ConnectionLost)
    assert connection.run(["echo", "still"]).stdout == b"still\n"


def test_stream_passes_output_on_before_the_command_ends(connection: Connection) -> None:
    # The command ends only when it is told so by what its first output made us do.
    flag = connection.run(["mktemp", "-u"]).stdout.decode().strip()
    got: list[bytes] = []

    def sink(data: bytes) -> None:
        if not got:
            connection.sftp().open(flag, "w").close()
        got.append(data)

    script = 'echo first; until [ -e "$0" ]; do sleep 0.02; done; rm "$0"; echo last; exit 3'
    assert connection.stream(["sh", "-c", script, flag], on_output=sink) == 3
    assert b"".join(got) == b"first\nlast\n"


def test_stream_keeps_stderr_apart(connection: Connection) -> None:
    out, err = bytearray(), bytearray()
    code = connection.stream(
        ["sh", "-c", "cat; echo problem >&2"], stdin=b"text", on_output=out.extend, on_error=err.extend
    )
    assert (code, bytes(out), bytes(err)) == (0, b"text", b"problem\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_the_sink_raises_passes_through_at_once(
    connection: Connection, error: type[BaseException]
) -> None:
    def sink(_: bytes) -> None:
        raise error

    began_s = time.monotonic()
    with pytest.raises(error):
        connection.stream(["sh", "-c", "echo now; sleep 20"], on_output=sink)
    assert time.monotonic() - began_s < 10
    assert connection.run(["echo", "still"]).stdout == b"still\n"


def test_sftp_is_one_client_with_unicode_paths(connection: Connection) -> None:
    sftp = connection.sftp()
    assert connection.sftp() is sftp
    with sftp.open("a dïr ☃.bin", "wb") as file:
        file.write(TEN_MB[:100_000])
    assert connection.run(["cat", "a dïr ☃.bin"]).stdout == TEN_MB[:100_000]


def test_sftp_that_is_not_offered_is_said_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("d") / "d"
    with (
        Sshd(directory, options=("Subsystem sftp /bin/false",)) as server,
        connect(server.target(), Trust()) as one,
        pytest.raises(RemoteError, match="transfers no files") as caught,
    ):
        one.sftp()
    assert "sshd_config" in caught.value.remedy
