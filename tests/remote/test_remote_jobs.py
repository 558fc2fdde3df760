"""Jobs on another machine: they outlive connections, are found again, and are ended in order."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.errors import RemoteError
from testbed.vm.ssh import link
from tests.remote.miniature import (
    JOBS,
    Box,
    box_with_small_disk,
    is_running,
    jobs_of,
    make_tree,
    unheard,
    wait_for,
)
from tests.remote.proxy import Proxy
from tests.remote.sshd import Sshd


@pytest.fixture(scope="module")
def tree(shared_sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The directory of a tree that was put there."""
    box = Box(shared_sshd.target(), "tree")
    box.remote.deploy(make_tree(tmp_path_factory.mktemp("here")), unheard)
    box.link.close()
    return "tree"


@pytest.fixture
def box(shared_sshd: Sshd, proxy: Proxy, tree: str) -> Iterator[Box]:
    """A machine behind a proxy, with a tree."""
    box = Box(shared_sshd.target(port=proxy.port), tree)
    yield box
    for job in jobs_of(shared_sshd):
        box.remote.stop(job, grace_s={"SIGKILL": 5})
        box.remote.remove(job)
    box.link.close()


def job_file(server: Sshd, job: str, name: str) -> Path:
    return server.home / JOBS / job / name


def identity(server: Sshd, job: str) -> dict[str, Any]:
    wait_for(job_file(server, job, "command.json").exists)
    return json.loads(job_file(server, job, "command.json").read_text())  # type: ignore[no-any-return]


def said_pid(server: Sshd, job: str) -> int:
    """The process that a job has named in its log."""
    wait_for(lambda: job_file(server, job, "log").read_bytes().endswith(b"\n"))
    return int(job_file(server, job, "log").read_text().split()[1])


def test_follow_cut_again_and_again_gives_every_byte_once(box: Box, shared_sshd: Sshd, proxy: Proxy) -> None:
    box.start("say", "say", "150", "15")
    said = bytearray()
    cuts = [40, 400, 900]

    def sink(data: bytes) -> None:
        said.extend(data)
        if cuts and len(said) > cuts[0]:
            cuts.pop(0)
            proxy.reset()

    status = box.remote.follow("say", 0, sink)
    assert said.decode() == "".join(f"line {n} ä\n" for n in range(150))
    assert (status.state, status.exit_code, status.log_bytes) == ("ended", 0, len(said))
    assert proxy.connections > 1, box.notes
    assert box.log("say", len(said) - 4)[0] == bytes(said[-4:])


def test_follow_goes_on_for_ever_if_each_connection_brings_something(
    box: Box, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_s = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late_s[0], sleep=time.sleep)
    monkeypatch.setattr(link, "time", clock)
    box.start("say", "say", "100", "15")
    said = bytearray()
    cuts = [40, 400]

    def sink(data: bytes) -> None:
        said.extend(data)
        if cuts and len(said) > cuts[0]:
            cuts.pop(0)
            late_s[0] += 1000  # more than any patience
            proxy.reset()

    box.remote.follow("say", 0, sink)
    assert said.decode() == "".join(f"line {n} ä\n" for n in range(100))
    assert cuts == []


def test_follow_of_a_job_whose_connection_stays_away_leaves_it_running(
    box: Box, proxy: Proxy, shared_sshd: Sshd
) -> None:
    box.start("say", "say", "5", "100")
    proxy.reset()
    proxy.refuse()
    wait_for(job_file(shared_sshd, "say", "exit.json").exists)
    proxy.accept()
    assert box.log("say")[0].decode() == "".join(f"line {n} ä\n" for n in range(5))


@pytest.mark.parametrize(
    ("bytes_", "direction"), [(20_000, "up"), (50_000, "up"), (300, "down"), (900, "down")]
)
def test_start_cut_at_any_point_starts_once(
    box: Box, shared_sshd: Sshd, proxy: Proxy, bytes_: int, direction: Any
) -> None:
    box.remote.status("say")
    proxy.cut_after(bytes_, direction)
    box.start("say", "say", "3", "1", files={"a.json": b"1" * 100})
    box.start("say", "say", "4", "1")
    assert box.log("say")[0].decode() == "".join(f"line {n} ä\n" for n in range(3))
    assert jobs_of(shared_sshd) == ["say"]


def test_two_jobs_at_once_do_not_mix(box: Box) -> None:
    box.start("one", "say", "40", "50")
    box.start("two", "say", "60", "50")
    assert [box.remote.status(job).state for job in ("one", "two")] == ["running"] * 2
    assert [len(box.log(job)[0].splitlines()) for job in ("one", "two")] == [40, 60]


def test_supervisor_killed_is_lost_and_its_command_can_be_stopped(box: Box, shared_sshd: Sshd) -> None:
    box.start("u", "unwind")
    command = identity(shared_sshd, "u")
    os.kill(
        json.loads(job_file(shared_sshd, "u", "job.json").read_text())["supervisor"]["pid"], signal.SIGKILL
    )
    wait_for(lambda: box.remote.status("u").state == "lost")
    assert is_running(command["pid"])
    with pytest.raises(RemoteError, match="still runs"):
        box.remote.fetch("u", Path("/nowhere"), unheard)
    box.remote.stop("u")
    wait_for(lambda: not is_running(command["pid"]))
    said, status = box.log("u")
    assert (status.state, status.exit_code) == ("lost", None)
    assert said.endswith(b"unwound\n")


def test_job_of_another_boot_is_lost_though_its_process_id_lives(box: Box, shared_sshd: Sshd) -> None:
    box.start("u", "unwind")
    identity(shared_sshd, "u")
    for name in ("job.json", "command.json"):
        path = job_file(shared_sshd, "u", name)
        text = path.read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        path.write_text(text.replace(boot, "of-another-start"))
        if name == "job.json":
            assert box.remote.status("u").state == "lost"
            path.write_text(text)
        else:
            path.write_text(text)
    assert box.remote.status("u").state == "running"


def test_stop_interrupts_the_whole_group_so_that_the_run_unwinds(box: Box, shared_sshd: Sshd) -> None:
    box.start("u", "unwind")
    child = said_pid(shared_sshd, "u")
    box.remote.stop("u")
    said, status = box.log("u")
    assert (status.state, status.exit_code) == ("ended", 130)
    assert said.endswith(b"unwound\n")
    assert not is_running(child)
    box.remote.stop("u")  # nothing is left to do


def test_stop_of_a_stubborn_run_ends_with_sigkill(box: Box, shared_sshd: Sshd) -> None:
    box.start("s", "stubborn")
    pid = said_pid(shared_sshd, "s")
    with pytest.raises(RemoteError, match="does not end"):
        box.remote.stop("s", grace_s={"SIGINT": 0.2, "SIGTERM": 0.2})
    assert is_running(pid)
    box.remote.stop("s", grace_s={"SIGINT": 0.2, "SIGTERM": 0.2, "SIGKILL": 5})
    assert box.remote.status("s").exit_code == 128 + signal.SIGKILL
    assert not is_running(pid)


def test_running_job_can_be_neither_removed_nor_fetched_and_keeps_its_tree(box: Box, tmp_path: Path) -> None:
    root = make_tree(tmp_path / "new")
    box.start("u", "unwind")
    assert box.remote.deploy(root, unheard).files == 0  # nothing would change
    (root / "README.md").write_text("changed")
    for refused in (
        lambda: box.remote.remove("u"),
        lambda: box.remote.fetch("u", tmp_path, unheard),
        lambda: box.remote.deploy(root, unheard),
    ):
        with pytest.raises(RemoteError, match=r"u still runs|in use by u") as caught:
            refused()
        assert "tb vm stop" in caught.value.remedy
    box.remote.stop("u")
    assert box.remote.deploy(root, unheard).files == 1


def test_job_that_fills_the_disk_still_says_how_it_ended(tmp_path: Path) -> None:
    with box_with_small_disk(tmp_path / "disk", 4096) as (box, home):
        box.remote.deploy(make_tree(tmp_path / "here"), unheard)
        box.start("full", "fill")
        _, status = box.log("full")
        assert status.state == "ended"
        assert status.exit_code  # Python's 120, as the log is full, too
        assert status.free_bytes < 65536
        (huge,) = box.remote.fetch("full", tmp_path / "out", unheard)
        assert huge.stat().st_size == (home / JOBS / "full/results/huge").stat().st_size > 10**6
        with pytest.raises(RemoteError, match="bytes are needed"):
            box.start("next", "say", "1", "1", files={"a": bytes(10**6)})
        box.remote.remove("full")
        assert box.remote.status("full").free_bytes > 10**6


PRINTS = """#!/bin/sh
echo "Welcome to lab3"
echo noise >&2
printf '["no end of line'
exec /bin/sh "$@"
"""


def test_a_login_shell_that_prints_is_not_taken_for_the_answer(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", shell=PRINTS) as server:
        box = Box(server.target(), "tree")
        box.remote.deploy(make_tree(tmp_path / "here"), unheard)
        box.start("say", "say", "3", "1")
        said, status = box.log("say")
        assert said.decode() == "".join(f"line {n} ä\n" for n in range(3))
        assert (status.state, status.log_bytes) == ("ended", len(said))
        box.start("make", "make", "2", "1000")
        box.log("make")
        assert len(box.remote.fetch("make", tmp_path / "out", unheard)) == 3
        box.link.close()


@pytest.mark.parametrize(
    ("shell", "problem"),
    [
        ("kill -KILL $$", "was ended there by signal 9"),
        ("echo This account is closed; exit 1", "does not answer: This account is closed"),
        ("echo 42", "does not answer: 42"),
    ],
)
def test_a_log_in_without_an_answer_is_said_to_be_one(tmp_path: Path, shell: str, problem: str) -> None:
    script = f"#!/bin/sh\nsh -c '{shell}'\n"
    with Sshd(tmp_path / "sshd", shell=script) as server, pytest.raises(RemoteError, match=problem):
        Box(server.target(), "tree").remote.status("x")


def test_a_job_that_cannot_be_started_leaves_nothing(box: Box, shared_sshd: Sshd) -> None:
    broken = shared_sshd.home / "broken"
    broken.mkdir()
    (broken / "tb").touch(mode=0o755)
    with pytest.raises(RemoteError, match="could not be started"):
        Box(box.target, "broken").start("x", "say", "1", "1", files={"a": b"1"})
    assert list((shared_sshd.home / JOBS).iterdir()) == []


def test_jobs_that_are_not_there_or_cannot_be_are_errors(box: Box, shared_sshd: Sshd) -> None:
    for call in (
        lambda: box.remote.stop("none"),
        lambda: box.log("none"),
        lambda: box.remote.fetch("none", Path("/nowhere"), unheard),
    ):
        with pytest.raises(RemoteError, match="no job none"):
            call()
    with pytest.raises(RemoteError, match="no name of a job"):
        box.start("../x", "say", "1", "1")
    with pytest.raises(RemoteError, match="no path below"):
        box.start("x", "say", "1", "1", files={"../y": b""})
    elsewhere = Box(box.target, "nothing here")
    with pytest.raises(RemoteError, match=r"no testbed in .*nothing here"):
        elsewhere.start("x", "say", "1", "1")
    elsewhere.link.close()
    assert jobs_of(shared_sshd) == []
