from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.errors import FabricError
from testbed.fabric.capture import CaptureCounts, capture_command, parse_counts
from testbed.fabric.processes import Supervisor
from testbed.process_table import start_time_of

DEADLINE_MS = 10_000


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"])


def test_supervisor_all_alive_has_no_news() -> None:
    with sleeper() as process, Supervisor({"a": process.pid}) as supervisor:
        assert supervisor.poll() is None
        assert supervisor.alive() == {"a": process.pid}
        process.kill()


def test_supervisor_one_killed_names_it_once() -> None:
    with sleeper() as a, sleeper() as b, Supervisor({"a": a.pid, "b": b.pid}) as supervisor:
        b.kill()
        assert supervisor.poll(DEADLINE_MS) == ("b", b.pid)
        assert supervisor.poll() is None
        assert supervisor.alive() == {"a": a.pid}
        a.kill()


def test_supervisor_process_gone_before_is_reported() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with Supervisor({"a": process.pid}) as supervisor:
        assert supervisor.poll() == ("a", process.pid)


def test_supervisor_zombie_counts_as_dead() -> None:
    with subprocess.Popen(["true"]) as process:
        with Supervisor({"a": process.pid}) as supervisor:
            assert supervisor.poll(DEADLINE_MS) == ("a", process.pid)
        assert start_time_of(process.pid) is None


def test_supervisor_kill_all_ends_them_and_is_no_news() -> None:
    with sleeper() as a, sleeper() as b, sleeper() as other:
        with Supervisor({"a": a.pid, "b": b.pid}) as supervisor:
            supervisor.kill_all()
            assert (a.wait(), b.wait()) == (-9, -9)
            assert supervisor.poll() is None
            assert supervisor.alive() == {}
        assert other.poll() is None
        other.kill()


def test_supervisor_wait_deadline_passed_tells_who_lives() -> None:
    with sleeper() as a, subprocess.Popen(["true"]) as b, Supervisor({"a": a.pid, "b": b.pid}) as supervisor:
        assert supervisor.wait(300) == {"a": a.pid}
        a.kill()


def test_supervisor_close_leaves_no_descriptor() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with sleeper() as process:
        with Supervisor({"a": process.pid}):
            pass
        process.kill()
    assert set(os.listdir("/proc/self/fd")) == before


def test_die_with_parent_parent_killed_ends_the_child() -> None:
    script = (
        "import os, signal, sys\n"
        "from testbed.fabric.processes import die_with_parent\n"
        "me = os.getpid()\n"
        "ready, done = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    die_with_parent(me)\n"
        "    os.write(done, b'x')\n"
        "    signal.pause()\n"
        "os.read(ready, 1)\n"
        "children = open(f'/proc/{me}/task/{me}/children').read()\n"
        "print(children, flush=True)\n"
        "os.kill(me, signal.SIGKILL)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.wait()
    with Supervisor({"child": child}) as supervisor:
        assert supervisor.wait(DEADLINE_MS) == {}


def test_capture_command_names_namespace_interface_and_file() -> None:
    command = capture_command(netns_pid=7, interface="c1-eth0", path=Path("/tmp/x.pcap"), snap_bytes=64)
    at = command.index("nsenter")
    assert command[at : at + 4] == ["nsenter", "--net=/proc/7/ns/net", "--", "tcpdump"]
    assert command[command.index("-i") + 1] == "c1-eth0"
    assert command[command.index("-w") + 1] == "/tmp/x.pcap"
    assert command[command.index("-s") + 1] == "64"


def test_parse_counts_of_tcpdump_reads_captured_and_dropped() -> None:
    text = (
        "tcpdump: listening on c1-eth0\n12 packets captured\n19 packets received by filter\n"
        "3 packets dropped by kernel\n"
    )
    assert parse_counts(text) == CaptureCounts(captured_pkts=12, received_pkts=19, dropped_pkts=3)


def test_parse_counts_of_a_failure_is_an_error_with_its_last_line() -> None:
    with pytest.raises(FabricError, match="No such device"):
        parse_counts("tcpdump: c9-eth0: No such device exists\n")
