"""A client, machines and a tree for tests of `tb vm run`: each apart from this machine's own.

The tree is a copy of the repository whose `tb` sets nothing up. It runs the copy in the repository's environment, or,
while there is a file `stand_in`, a run of no length that ends when it is told to.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from testbed.vm.tree import tree_files
from tests.remote.miniature import JOBS
from tests.remote.sshd import ALIAS, Sshd

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = "der Baum für alle"
"""Where the tree goes, below the home directory there."""
PATIENCE_S = 40.0

_TB = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export MPLCONFIGDIR="{control}/matplotlib" PYTHONDONTWRITEBYTECODE=
if [ -e "{control}/stand_in" ]; then exec {python} "{control}/stand_in" "$@"; fi
PYTHONPATH=$here exec {python} -P -m testbed.cli "$@"
"""

_STAND_IN = """
import pathlib, shutil, signal, sys, time

control = pathlib.Path(__file__).parent
(control / "arguments").write_text("\\n".join(sys.argv[1:]))

def end(number, frame):
    print("cleaned up", flush=True)
    sys.exit(130)

signal.signal(signal.SIGINT, end)
number = 0
while not (control / "go").exists():
    print(f"line {number}", flush=True)
    number += 1
    time.sleep(0.02)
print("went on", flush=True)
if (control / "fail").exists():
    sys.exit(4)
shutil.copytree(control / "result", pathlib.Path(sys.argv[sys.argv.index("--out") + 1]) / "tiny" / "r")
"""

SCRIPT = '''"""Tiny."""
from testbed.spec.experiment import Experiment, Scenario

EXPERIMENT = Experiment(
    name="tiny", question="?", topology="single_switch", switch="tomahawk5",
    nics=("transparent", "rdma"), sizes_bytes=(4096,), scenarios=(Scenario(name="idle", kind="idle"),),
    records=2_000, emulated_records=1,
)
'''


def make_tree(directory: Path, control: Path) -> Path:
    """The client's tree."""
    for name, source in tree_files(ROOT).items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    (directory / "tb").write_text(_TB.format(control=control, python=sys.executable), encoding="utf-8")
    (directory / "tb").chmod(0o755)
    return directory


class Client:
    """A `tb` under way, with what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def await_line(self, words: str) -> None:
        """Wait until it has said this."""
        until(lambda: any(words in line for line in self.lines), lambda: f"no '{words}' in {self.lines}")

    def strike(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout, stderr; waits."""
        assert self.process.stdout is not None
        killer = threading.Timer(2 * PATIENCE_S, self.process.kill)
        killer.start()
        printed = self.process.stdout.read()
        code = self.process.wait(PATIENCE_S)
        killer.cancel()
        self._reader.join(PATIENCE_S)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code, printed, "\n".join(self.lines)


def until(true: Callable[[], bool], why: Callable[[], str]) -> None:
    """Wait for something."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)


class Place:
    """One client's home, tree and results, and the machines it knows by name."""

    def __init__(self, directory: Path, servers: Mapping[str, tuple[Sshd, int]]) -> None:
        """`servers`: by alias, the server and the port at which it is reached."""
        self.control = directory / "control"
        self.control.mkdir()
        self.home = directory / "home"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        self.known_hosts = self.home / ".ssh" / "known_hosts"
        self.tree = make_tree(directory / "tree", self.control)
        self.out = directory / "die Ergebnisse ü"
        self.script = directory / "tiny.py"
        self.script.write_text(SCRIPT, encoding="utf-8")
        self.servers = {alias: server for alias, (server, _) in servers.items()}
        self._passwd = self._passwd_of(next(iter(self.servers.values())))
        self._write_config(servers)

    def reset(self) -> None:
        """As before the first test; trees that were deployed stay."""
        for name in ("stand_in", "go", "fail", "arguments"):
            (self.control / name).unlink(missing_ok=True)
        shutil.rmtree(self.out, ignore_errors=True)
        self.know_hosts()

    def know_hosts(self) -> None:
        """Trust every server's key."""
        keys = [
            f"{ALIAS}-{alias} {server.host_key.with_suffix('.pub').read_text()}"
            for alias, server in self.servers.items()
        ]
        self.known_hosts.write_text("".join(keys), encoding="utf-8")

    def stand_in(self) -> None:
        """Let runs be stand-ins from now on."""
        (self.control / "stand_in").write_text(_STAND_IN, encoding="utf-8")

    def let_go(self, *, fail: bool = False) -> None:
        """Let the stand-in end."""
        if fail:
            (self.control / "fail").touch()
        (self.control / "go").touch()

    def begin(self, *arguments: str) -> Client:
        """Begin `tb ARGUMENTS`, with results below `out`, in a process of its own."""
        command = [sys.executable, "-P", "-m", "testbed.cli", *arguments, "--out", str(self.out)]
        # A suite that runs in a script's background ignores SIGINT, and so would its children.
        bound = ["env", "--default-signal=INT", "unshare", "--mount", "--propagation", "slave", "sh", "-c"]
        process = subprocess.Popen(
            [*bound, 'mount --bind "$0" /etc/passwd && exec "$@"', str(self._passwd), *command],
            cwd=self.script.parent,
            env={
                **os.environ,
                "HOME": str(self.home),
                "PYTHONPATH": str(self.tree),
                "SSH_AUTH_SOCK": "",
                "PYTHONDONTWRITEBYTECODE": "",  # each would compile all modules again
                "MPLCONFIGDIR": str(self.control / "matplotlib"),  # fonts are looked for once
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return Client(process)

    def tb(self, *arguments: str) -> tuple[int, str, str]:
        """Run `tb ARGUMENTS` to its end: exit code, stdout, stderr."""
        return self.begin(*arguments).end()

    def begin_run(self, *options: str, hosts: str = "near") -> Client:
        """Begin to run the tiny experiment on machines."""
        return self.begin(
            "vm",
            "run",
            self.script.name,
            "--engine",
            "twin",
            "--directory",
            DIRECTORY,
            "--hosts",
            hosts,
            *options,
        )

    def results(self) -> list[Path]:
        return sorted(path.parent for path in self.out.glob("[!.]*/*/summary.json"))

    def left(self) -> list[str]:
        """Files of unfinished runs here, and jobs on the machines."""
        here = [str(path) for path in (self.out / ".vm").glob("*")]
        return here + [
            str(path) for server in self.servers.values() for path in (server.home / JOBS).glob("[!.]*")
        ]

    def _passwd_of(self, server: Sshd) -> Path:
        """The machine's users, root at home in this place."""
        text = (server.directory / "passwd").read_text(encoding="utf-8")
        path = self.home / "passwd"
        path.write_text(text.replace(str(server.home), str(self.home)), encoding="utf-8")
        return path

    def _write_config(self, servers: Mapping[str, tuple[Sshd, int]]) -> None:
        blocks = [
            f"Host {alias}\n  HostName 127.0.0.1\n  Port {port}\n  User {server.user}\n"
            f"  IdentityFile {server.user_key}\n  UserKnownHostsFile {self.known_hosts}\n"
            f"  HostKeyAlias {ALIAS}-{alias}\n"
            for alias, (server, port) in servers.items()
        ]
        (self.home / ".ssh" / "config").write_text("".join(blocks), encoding="utf-8")


def digest_of(result: Path) -> Any:
    return json.loads((result / "summary.json").read_text(encoding="utf-8"))["records_digest"]
