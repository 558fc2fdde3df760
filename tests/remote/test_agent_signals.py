"""Whom a signal of `stop` goes to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.vm.agent.processes import receivers
from testbed.vm.asking import loader

PATH = "/usr/bin:/bin"


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process of root."""
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def deliver_as_nobody(pid: int, path: str) -> subprocess.CompletedProcess[str]:
    script = f"{loader()}\nsys.modules['testbed.vm.agent.processes'].deliver([{pid}], 'SIGINT')\n"
    words = ["/usr/bin/setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-I", "-"]
    return subprocess.run(words, input=script, capture_output=True, text=True, env={"PATH": path}, timeout=30)


def test_sudo_gets_the_signal_and_what_it_runs_does_not(tmp_path: Path) -> None:
    sudo = program(tmp_path / "sudo", "#!/bin/sh\nsleep 60 & echo $!\nwait\n")
    run = subprocess.Popen([sudo], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert run.stdout is not None
        child = int(run.stdout.readline())
        assert receivers(run.pid, "SIGINT") == [run.pid]
        assert sorted(receivers(run.pid, "SIGKILL")) == sorted([run.pid, child])
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()


def test_process_of_root_without_sudo_is_refused(sleeper: int) -> None:
    done = deliver_as_nobody(sleeper, "/nowhere")
    assert f"may not end it (processes {sleeper})" in done.stderr


@pytest.mark.parametrize("code", [0, 1])
def test_process_of_root_is_signalled_through_sudo(sleeper: int, code: int) -> None:
    with_sudo = Path(f"/run/transparent-nic-testbed-test-{os.getpid()}")
    with_sudo.mkdir(mode=0o755)
    try:
        wanted = f"-n kill -s INT -- {sleeper}"
        program(with_sudo / "sudo", f'#!/bin/sh\n[ "$*" = "{wanted}" ] && exit {code}\nexit 1\n')
        done = deliver_as_nobody(sleeper, f"{with_sudo}:{PATH}")
        assert ("may not end it" in done.stderr) == bool(code), done.stderr
        assert done.returncode == code
    finally:
        shutil.rmtree(with_sudo)
