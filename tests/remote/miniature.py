"""A tree with a `tb` of a few lines, and a machine of the tests that it goes to."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from testbed.vm.remote import JobStatus, Remote
from testbed.vm.ssh import Link, Trust
from testbed.vm.target import Target
from tests.remote.sshd import Sshd

JOBS = ".local/state/transparent-nic-testbed/jobs"
TB = r"""#!/usr/bin/env python3
import json, os, pathlib, signal, subprocess, sys, time

verb, job, *words = sys.argv[1:]
results = pathlib.Path(job, "results", "quick stärt", "1")


def write(name, data):
    path = results / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


if verb == "say":  # COUNT PAUSE_MS: lines
    for number in range(int(words[0])):
        print(f"line {number} ä", flush=True)
        time.sleep(int(words[1]) / 1000)
elif verb == "make":  # COUNT BYTES: results
    for number in range(int(words[0])):
        write(f"records/{number}.bin", bytes([number % 251]) * int(words[1]) + os.urandom(16))
    write("empty", b"")
    write("../.unfinished.partial/x", b"never fetched")
elif verb == "show":
    files = sorted(str(p) for p in pathlib.Path().rglob("*") if p.is_file())
    print(json.dumps([os.getcwd(), files, sys.stdin.read(), words]), flush=True)
    print("to stderr", file=sys.stderr)
    sys.exit(5)
elif verb == "unwind":  # ends in order on SIGINT, as the testbed does
    child = subprocess.Popen(["sleep", "300"])
    print("standing", child.pid, flush=True)
    try:
        time.sleep(300)
    except KeyboardInterrupt:
        time.sleep(0.2)
        print("unwound", flush=True)
        sys.exit(130)
elif verb == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("standing", os.getpid(), flush=True)
    time.sleep(300)
elif verb == "fill":  # until the disk is full; it is a small one
    with open(pathlib.Path(job, "results", "huge"), "wb", buffering=0) as file:
        for _ in range(256):
            file.write(bytes(65536))
"""


def make_tree(root: Path) -> Path:
    """A tree with code, data, and what stays at home."""
    files = {
        "tb": TB,
        "README.md": "read",
        "testbed/__init__.py": "",
        "testbed/run/a.py": "a = 1\n",
        "experiments/größe 1.py": "EXPERIMENT = None\n",
        "results/old/report.txt": "stays",
        ".venv/bin/python": "stays",
        "build/release/x": "stays",
        "testbed/__pycache__/a.pyc": "stays",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "tb").chmod(0o755)
    return root


@dataclass
class Box:
    """A remote machine, with what was said about its connection."""

    target: Target
    tree: str
    link: Link = field(init=False)
    remote: Remote = field(init=False)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.link = Link(
            self.target, Trust(), note=self.notes.append, back_off_s=(0.1,), silence_s=5, patience_s=20
        )
        self.remote = Remote(self.link, self.tree)

    def start(self, job: str, *arguments: str, files: Mapping[str, Path | bytes] | None = None) -> None:
        """Start a job whose `tb` learns its directory."""
        self.remote.start(job, [arguments[0], "{job}", *arguments[1:]], files=files or {})

    def log(self, job: str, offset: int = 0) -> tuple[bytes, JobStatus]:
        """All that a job prints, and how it ended."""
        said = bytearray()
        status = self.remote.follow(job, offset, said.extend)
        return bytes(said), status


def jobs_of(server: Sshd) -> list[str]:
    """The jobs there, by name."""
    return sorted(path.name for path in (server.home / JOBS).glob("[!.]*"))


def unheard(done: int, total: int) -> None:
    """Progress that nobody looks at."""


@contextmanager
def small_disk(where: Path, size_kib: int) -> Iterator[Path]:
    """A file system in memory, mounted for a while; a server sees it only if it is started later."""
    where.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


@contextmanager
def box_with_small_disk(where: Path, size_kib: int) -> Iterator[tuple[Box, Path]]:
    """A machine whose home directory is on a small disk, and that directory."""
    with small_disk(where, size_kib), Sshd(where / "d") as server:
        box = Box(server.target(), "tree")
        done = box.link.attempt(lambda connection: connection.run(["df", "--output=fstype", "."]))
        assert done.stdout.split()[-1] == b"tmpfs", "the server does not see the small disk"
        yield box, server.home
        box.link.close()


class Filler:
    """Takes what is left of a disk when it is told of progress."""

    def __init__(self, disk: Path) -> None:
        self.file = disk / "filler"

    def __call__(self, done: int, total: int) -> None:
        if not self.file.exists():
            with suppress(OSError), self.file.open("wb", buffering=0) as file:
                for _ in range(4096):  # 16 MiB at most
                    file.write(bytes(4096))


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    """Until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come to pass"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether a process does anything yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
