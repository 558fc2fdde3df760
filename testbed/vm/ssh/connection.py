"""A session with another machine: it runs commands, streams what they say, transfers files, and notices its own end."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import paramiko

from testbed.errors import RemoteError
from testbed.vm.ssh.login import log_in
from testbed.vm.ssh.trust import Trust
from testbed.vm.ssh.wire import ConnectionLost, Wire, open_wire
from testbed.vm.target import Target

SILENCE_S = 40.0
"""A peer that says nothing for so long, though it is asked four times, is taken for dead."""
_POLL_S = 0.05
"""How late stderr, the end of a command and a time-out may be noticed."""
_CHUNK_BYTES = 1 << 18
_SEND_BYTES = 1 << 15
_BROKEN = (paramiko.SSHException, EOFError, OSError)
"""What paramiko raises of a connection that has ended, beside much else."""
_SHELL = "exec sh -c '\"$@\"; exit $?' sh"
"""The shell stays the parent, so that a signal becomes 128 + its number: paramiko knows nothing of signals."""

Sink = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a command ended."""

    exit_code: int
    """128 + its number for a signal."""
    stdout: bytes
    stderr: bytes


def connect(
    target: Target, trust: Trust, *, timeout_s: float = 15, silence_s: float = SILENCE_S
) -> Connection:
    """Connect and log in; each step may take `timeout_s`.

    Raises `ConnectionLost` if it is worth another try, `RemoteError` if not, `SpecError` if there is no key to try.
    """
    wire = open_wire(target, timeout_s=timeout_s)
    try:
        transport, learned = log_in(target, trust, wire, timeout_s=timeout_s)
    except BaseException:
        wire.close()
        raise
    return Connection(target, transport, wire, learned=learned, silence_s=silence_s)


class Connection:
    """An authenticated connection, for one thread at a time; `close()` it, or use it as a context manager.

    `learned` is empty, or a sentence that the user must see: which host key is trusted from now on.
    """

    def __init__(
        self, target: Target, transport: paramiko.Transport, wire: Wire, *, learned: str, silence_s: float
    ) -> None:
        self.target = target
        self.learned = learned
        self._transport = transport
        self._wire = wire
        self._silence_s = silence_s
        self._sftp: paramiko.SFTPClient | None = None
        self._closed = threading.Event()
        for work in (self._keep_alive, self._watch):
            threading.Thread(target=work, name=f"ssh {target.name}", daemon=True).start()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def heard_s(self) -> float:
        """When the other side said something last, by the monotonic clock."""
        return self._wire.heard_s

    def close(self) -> None:
        """End it; commands that run there are not ended by that."""
        self._closed.set()
        self._transport.close()
        self._wire.close()

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60) -> Completed:
        """Run a command to its end and collect what it says.

        Raises `ConnectionLost`, or `RemoteError` if it has not ended after `timeout_s` or nobody says how it ended.
        """
        stdout, stderr = bytearray(), bytearray()
        code = self._execute(argv, stdin, stdout.extend, stderr.extend, timeout_s=timeout_s)
        return Completed(exit_code=code, stdout=bytes(stdout), stderr=bytes(stderr))

    def stream(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        on_output: Sink,
        on_error: Sink | None = None,
    ) -> int:
        """Run a command, however long it takes, and pass on its stdout as it comes; its exit code.

        Its stderr goes to `on_error`, or nowhere. Both are called in this thread. Raises as `run` does.
        """
        return self._execute(argv, stdin, on_output, on_error or (lambda _: None), timeout_s=None)

    def sftp(self) -> paramiko.SFTPClient:
        """The one SFTP client of this connection. Use it inside `guard()`: what it raises itself is paramiko's."""
        if self._sftp is None:
            with self.guard():
                limit_s = self._patience_s
                channel = self._open("an SFTP session", limit_s)
                try:
                    with self._answering(channel, "an SFTP session", limit_s):
                        channel.invoke_subsystem("sftp")
                        self._sftp = paramiko.SFTPClient(channel)
                except paramiko.SSHException as error:
                    self._raise_if_lost(error)
                    raise RemoteError(
                        f"the SSH server of {self.target.name} transfers no files (SFTP)",
                        remedy="add `Subsystem sftp internal-sftp` to /etc/ssh/sshd_config there",
                    ) from error
        return self._sftp

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn what paramiko raises of a broken connection into `ConnectionLost`; leave alone what is not that."""
        try:
            yield
        except _BROKEN as error:
            of_something_else = isinstance(error, OSError) and error.errno is not None  # e.g. of a file here
            if not of_something_else or error is self._wire.error:
                self._raise_if_lost(error)
            raise

    def _execute(
        self, argv: Sequence[str], stdin: bytes, on_output: Sink, on_error: Sink, *, timeout_s: float | None
    ) -> int:
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        limit_s = self._patience_s if timeout_s is None else timeout_s
        with self.guard():
            channel = self._open("a command", limit_s)
            try:
                self._start(channel, argv, limit_s)
                threading.Thread(target=_feed, args=(channel, stdin), daemon=True).start()
                while not _pass_on(channel, on_output, on_error):
                    if until_s is not None and time.monotonic() > until_s:
                        raise RemoteError(
                            f"`{_short(argv)}` on {self.target.name} has not ended within {timeout_s:g} s",
                            remedy="see what that machine is busy with; try again",
                        )
                return self._exit_code(channel, argv)
            finally:
                if not channel.closed:
                    # Closing is a message that may have to wait; an interruption must not.
                    threading.Thread(target=_close, args=(channel,), daemon=True).start()

    @property
    def _patience_s(self) -> float:
        """For an answer of a machine that lives; one that does not is given up before."""
        return 1.5 * self._silence_s

    @contextmanager
    def _answering(self, channel: paramiko.Channel, what: str, timeout_s: float) -> Iterator[None]:
        """Give up a request to which the server, though it lives, does not answer; paramiko would wait for ever."""
        is_late = threading.Event()

        def give_up() -> None:
            is_late.set()
            _close(channel)

        timer = threading.Timer(timeout_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        except _BROKEN as error:
            if is_late.is_set():
                self._raise_if_lost(error)
                raise RemoteError(
                    f"{self.target.name} has not started {what} within {timeout_s:g} s",
                    remedy="see what that machine is busy with; try again",
                ) from error
            raise
        finally:
            timer.cancel()

    def _open(self, what: str, timeout_s: float) -> paramiko.Channel:
        try:
            return self._transport.open_session(timeout=timeout_s)
        except paramiko.SSHException as error:
            self._raise_if_lost(error)
            raise RemoteError(
                f"{self.target.name} does not start {what}: {error}",
                remedy="see the log of its SSH server, and MaxSessions in its sshd_config",
            ) from error

    def _start(self, channel: paramiko.Channel, argv: Sequence[str], timeout_s: float) -> None:
        channel.settimeout(_POLL_S)
        try:
            with self._answering(channel, "a command", timeout_s):
                channel.exec_command(command_line(argv))
        except paramiko.SSHException as error:
            self._raise_if_lost(error)
            raise RemoteError(
                f"{self.target.name} runs no commands for {self.target.user}: {error}",
                remedy="see ForceCommand in its sshd_config and the options in authorized_keys",
            ) from error

    def _exit_code(self, channel: paramiko.Channel, argv: Sequence[str]) -> int:
        code = int(channel.exit_status)
        if code >= 0 and channel.eof_received:
            return code
        self._raise_if_lost(None)  # what it said may have been cut short
        if code >= 0:
            return code
        raise RemoteError(
            f"`{_short(argv)}` on {self.target.name} was ended there by somebody else",
            remedy="see that machine's log: it may lack memory, or be going down",
        )

    def _raise_if_lost(self, cause: BaseException | None) -> None:
        reason = self._lost_reason()
        if reason:
            raise ConnectionLost(
                f"the connection to {self.target.name} was lost ({reason})", reason=reason
            ) from cause

    def _lost_reason(self) -> str:
        """Why the connection has ended; empty if it has not."""
        if self._wire.lost:
            return self._wire.lost
        self._transport.join(_POLL_S)  # its channels end shortly before itself
        if self._transport.is_alive():
            return ""
        return self._wire.lost or str(self._transport.saved_exception or "ended by peer")

    def _keep_alive(self) -> None:
        """Ask for an answer now and then. An SSH server answers to a request that it does not know, too [RFC 4254]."""
        with suppress(*_BROKEN):
            while not self._closed.wait(self._silence_s / 4) and self._transport.is_active():
                self._transport.global_request("keepalive@openssh.com", wait=True)

    def _watch(self) -> None:
        """Give the connection up when nothing has come for too long.

        Counts its own steps and reads no clock, so that a sleep of this machine is no silence of the other.
        """
        step_s = self._silence_s / 40
        heard, silent_s = -1, 0.0
        while not self._closed.wait(step_s) and self._transport.is_active():
            silent_s = silent_s + step_s if heard == self._wire.heard_bytes else 0.0
            heard = self._wire.heard_bytes
            if silent_s >= self._silence_s:
                self._wire.give_up(f"no sign of life for {self._silence_s:g} s")
                return


def command_line(argv: Sequence[str]) -> bytes:
    """What any shell there runs as exactly these words; at most 128 KiB, as Linux has it."""
    return f"{_SHELL} {shlex.join(argv)}".encode("utf-8", "surrogateescape")


def _short(argv: Sequence[str]) -> str:
    line = shlex.join(argv)
    return line if len(line) <= 60 else line[:57] + "…"


def _pass_on(channel: paramiko.Channel, on_output: Sink, on_error: Sink) -> bool:
    """Pass on what has come; whether that was all."""
    ended = channel.exit_status_ready()
    data: bytes | None = None
    with suppress(TimeoutError):
        data = channel.recv(_CHUNK_BYTES)
    while channel.recv_stderr_ready():
        on_error(channel.recv_stderr(_CHUNK_BYTES))
    if data:
        on_output(data)
    elif data is not None and not ended:
        channel.status_event.wait(_POLL_S)  # stdout was closed, the command goes on
    return data == b"" and bool(ended)


def _feed(channel: paramiko.Channel, stdin: bytes) -> None:
    """Send all of stdin, as fast as the command reads it, then its end. A command need not read it."""
    sent = 0
    with suppress(*_BROKEN):
        while sent < len(stdin) and not channel.closed:
            with suppress(TimeoutError):
                sent += channel.send(stdin[sent : sent + _SEND_BYTES])
        channel.shutdown_write()


def _close(channel: paramiko.Channel) -> None:
    with suppress(*_BROKEN):
        channel.close()
