"""A real sshd on loopback, of this test alone: own keys, own configuration, own home directory; nothing is installed.

It runs as root in a mount namespace of its own, whose /etc/passwd gives root another home directory, so that what a
test does over SSH leaves the machine's own home alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from testbed.vm.target import Target

REPOSITORY = Path(__file__).resolve().parents[2]
EXTRACTED = REPOSITORY / "build" / "openssh"
"""Where a set-up step puts the files of Debian's openssh-server, without installing them."""
PRIVILEGE_SEPARATION = Path("/run/sshd")
"""Built into Debian's sshd: an empty directory that it must find."""
ALIAS = "sshd-of-a-test"
"""What the known_hosts files call the server, whatever the port (of a proxy) is."""
START_S = 20.0


def sshd_program() -> str:
    """The server to start; an assertion if this machine has none."""
    extracted = EXTRACTED / "usr/sbin/sshd"
    if extracted.exists():
        return str(extracted)
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert found, (
        f"no sshd: neither {extracted} nor one in PATH; install openssh-server, or extract its package to {EXTRACTED}"
    )
    return found


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def make_key(path: Path, *options: str) -> Path:
    """A new private key (and `path`.pub), Ed25519 and without a passphrase unless the options say otherwise."""
    path.unlink(missing_ok=True)
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path), *options]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    return path


def fingerprint(public_key: Path) -> str:
    """As `ssh-keygen -lf` prints it: SHA256:…"""
    words = ["ssh-keygen", "-lf", str(public_key)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[1]


def descendants(pid: int) -> list[int]:
    """Every process below this one, now."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found.extend(child for child, parent in parents.items() if parent == one)
    return found[1:]


class Sshd:
    """A server with one host key and one user's key; `stop()` it, or use it as a context manager."""

    def __init__(self, directory: Path, *, options: tuple[str, ...] = (), shell: str = "") -> None:
        """`shell`: a script that is the user's login shell."""
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir(parents=True)
        self.port = free_port()
        self.user = "root"
        self.user_key = make_key(directory / "user_key")
        self.host_key = make_key(directory / "host_key")
        self.known_hosts = directory / "known_hosts"
        self.authorized_keys = directory / "authorized_keys"
        self.authorize(self.user_key)
        self.trust_host_key()
        self._options = options
        self._shell = directory / "shell" if shell else None
        if self._shell:
            self._shell.write_text(shell)
            self._shell.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None
        self._privilege_separation = PrivilegeSeparation()
        self.start()

    def __enter__(self) -> Sshd:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def fingerprint(self) -> str:
        """Of the host key: SHA256:…"""
        return fingerprint(self.host_key.with_suffix(".pub"))

    def target(self, **changes: Any) -> Target:
        """How to reach it; its host key is known, the user's key is allowed."""
        target = Target(
            name="box",
            host="127.0.0.1",
            user=self.user,
            port=self.port,
            identity_files=(self.user_key,),
            known_hosts=(self.known_hosts,),
            key_alias=ALIAS,
        )
        return replace(target, **changes)

    def authorize(self, key: Path) -> None:
        """Let the owner of this private key in, too."""
        with self.authorized_keys.open("a") as file:
            file.write(Path(f"{key}.pub").read_text())

    def trust_host_key(self) -> None:
        """Write the server's host key to the known_hosts file of `target()`, and nothing else."""
        self.known_hosts.write_text(f"{ALIAS} {self.host_key.with_suffix('.pub').read_text()}")

    def log(self) -> str:
        """What the server has said."""
        return (self.directory / "sshd.log").read_text(errors="replace")

    def start(self) -> None:
        """Start the server; returns when it answers."""
        program = sshd_program()
        self._privilege_separation.hold()
        words = [program, "-D", "-e", "-f", str(self._configuration())]
        with (self.directory / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "unshare",
                    "--mount",
                    "--propagation",
                    "slave",
                    "sh",
                    "-c",
                    'mount --bind "$0" /etc/passwd && exec "$@"',
                    str(self._passwd()),
                    *words,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._await_banner()

    def stop(self) -> None:
        """End the server and every session of it."""
        if self._process is None:
            return
        sessions = descendants(self._process.pid)
        self._process.terminate()
        self._process.wait(timeout=10)
        self._process = None
        for pid in sessions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._privilege_separation.release()

    def drop_connections(self) -> None:
        """End every session, and so its connection; the server goes on."""
        assert self._process is not None
        for pid in descendants(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def restart_with_new_host_key(self) -> None:
        """The same server at the same port, as another machine would answer; the known_hosts file stays as it was."""
        self.stop()
        make_key(self.host_key)
        self.start()

    def _configuration(self) -> Path:
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.authorized_keys}",
            "PermitRootLogin yes",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "UsePAM no",
            "StrictModes no",
            "UseDNS no",
            "PrintMotd no",
            "PidFile none",
            "MaxStartups 100",
        ]
        if not any(option.startswith("Subsystem") for option in self._options):
            lines.append("Subsystem sftp internal-sftp")
        path = self.directory / "sshd_config"
        path.write_text("\n".join([*self._options, *lines]) + "\n")
        return path

    def _passwd(self) -> Path:
        """The machine's users, with another home directory, and with the one that sshd separates privileges by."""
        lines = []
        for user in pwd.getpwall():
            home, shell = user.pw_dir, user.pw_shell
            if user.pw_name == self.user:
                home, shell = str(self.home), str(self._shell or shell)
            lines.append(f"{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}:{user.pw_gecos}:{home}:{shell}")
        if not any(line.startswith("sshd:") for line in lines):
            lines.append(f"sshd:x:65533:65534::{PRIVILEGE_SEPARATION}:/usr/sbin/nologin")
        path = self.directory / "passwd"
        path.write_text("\n".join(lines) + "\n")
        return path

    def _await_banner(self) -> None:
        assert self._process is not None
        give_up_s = time.monotonic() + START_S
        while time.monotonic() < give_up_s:
            assert self._process.poll() is None, f"sshd has ended: {self.log()}"
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 5) as client,
            ):
                if client.recv(4) == b"SSH-":
                    return
            time.sleep(0.02)
        raise AssertionError(f"sshd has not answered within {START_S:.0f} s: {self.log()}")


class PrivilegeSeparation:
    """The directory that sshd must find: made if it is missing, and removed by the last server of these tests."""

    def __init__(self, path: Path = PRIVILEGE_SEPARATION) -> None:
        self._path = path
        self._made = path / ".made-by-tests"
        self._lock: int | None = None

    def hold(self) -> None:
        """Make the directory if need be, and keep others from removing it."""
        while True:
            with contextlib.suppress(FileExistsError):
                self._path.mkdir(mode=0o755)
                self._made.touch()
            with contextlib.suppress(FileNotFoundError):
                self._lock = os.open(self._path, os.O_RDONLY)
                fcntl.flock(self._lock, fcntl.LOCK_SH)
                if os.path.samestat(os.fstat(self._lock), self._path.stat()):
                    return
            if self._lock is not None:
                os.close(self._lock)  # of one that another server has just removed
                self._lock = None

    def release(self) -> None:
        """Remove what these tests made, unless another server uses it."""
        assert self._lock is not None
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._made.exists():
                self._made.unlink()
                self._path.rmdir()
        os.close(self._lock)
        self._lock = None
