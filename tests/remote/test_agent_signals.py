"""Whom a signal of `stop` goes to."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from testbed.vm import agent
from tests.remote.miniature import wait_for


def test_sudo_gets_the_signal_and_what_it_runs_does_not(tmp_path: Path) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text("#!/bin/sh\nsleep 60 & echo $!\nwait\n")
    sudo.chmod(0o755)
    with subprocess.Popen([sudo], stdout=subprocess.PIPE, start_new_session=True) as run:
        assert run.stdout is not None
        child = int(run.stdout.readline())
        assert agent._receivers(run.pid, "SIGINT") == [run.pid]
        assert sorted(agent._receivers(run.pid, "SIGKILL")) == sorted([run.pid, child])
        os.killpg(run.pid, signal.SIGKILL)


def test_process_of_root_is_signalled_through_sudo(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\necho "$@"\nexit 1\n')
    sudo.chmod(0o755)
    source = Path(agent.__file__).read_text().rpartition("if __name__")[0]
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        script = f"{source}\n_deliver([{sleeper.pid}], 'SIGINT')\n"
        command = ["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-I", "-c", script]
        for path, word in ((str(tmp_path), "belongs to root"), ("/nowhere", "belongs to root")):
            done = subprocess.run(
                command, capture_output=True, text=True, env={"PATH": path + ":/usr/bin:/bin"}
            )
            assert word in done.stderr, done.stderr
        sudo.write_text(
            f"#!{'/usr/bin/python3'}\nimport sys\nsys.exit(sys.argv[1:] != ['-n', 'kill', '-s', 'INT', '--', '{sleeper.pid}'])\n"
        )
        done = subprocess.run(
            command, capture_output=True, text=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
        )
        assert done.returncode == 0, done.stderr
        sleeper.kill()
        wait_for(lambda: sleeper.poll() is not None)
