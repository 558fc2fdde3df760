"""Trees to another machine and results from it: whole or not at all, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import MeasurementError, RemoteError, SpecError
from testbed.vm import remote, transfer
from testbed.vm.remote import Remote
from testbed.vm.runs import connections
from testbed.vm.runs.together import Crowd
from testbed.vm.ssh import Connection, ConnectionLost, Link, Trust
from testbed.vm.tree import tree_files
from tests.remote.miniature import (
    JOBS,
    Box,
    Filler,
    box_with_small_disk,
    jobs_of,
    make_tree,
    small_disk,
    unheard,
)
from tests.remote.proxy import Proxy
from tests.remote.sshd import Sshd

MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree here."""
    return make_tree(tmp_path / "here")


@pytest.fixture
def box(shared_sshd: Sshd, proxy: Proxy, request: pytest.FixtureRequest) -> Iterator[Box]:
    """A machine behind a proxy; each test has a tree of its own there."""
    box = Box(shared_sshd.target(port=proxy.port), f"~/trees/{request.node.name}")
    yield box
    for job in jobs_of(shared_sshd):
        box.remote.remove(job)
    box.link.close()


def tree_of(server: Sshd, box: Box) -> Path:
    return server.home / box.tree.removeprefix("~/")


def names(directory: Path) -> list[str]:
    return sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())


def made(box: Box, root: Path, job: str, count: int, size: int) -> None:
    """A job that has made results."""
    box.remote.deploy(root, unheard)
    box.start(job, "make", str(count), str(size))
    box.log(job)


def test_deploy_sends_what_differs_and_removes_what_came_before(
    box: Box, root: Path, shared_sshd: Sshd
) -> None:
    there = tree_of(shared_sshd, box)
    assert box.remote.deploy(root, unheard).files == 5
    own = [
        "experiments/own.py",
        "testbed/engine/_engine.x.so",
        "build/wheels/own.whl",
        "results/r",
        ".venv/x",
    ]
    for name in own:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text("made there")
    (there / "testbed/stale.py").write_text("not of this tree")
    (there / "testbed/run/a.py").write_text("changed there")
    (root / "README.md").write_text("changed here")
    (root / "experiments/größe 1.py").unlink()
    (root / "testbed/__init__.py").chmod(0o755)
    deployed = box.remote.deploy(root, unheard)
    assert (deployed.files, deployed.removed) == (2, 2)
    wanted = ["README.md", "tb", "testbed/__init__.py", "testbed/run/a.py"]
    assert [name for name in names(there) if not name.startswith(".vm/")] == sorted(own + wanted)
    assert (there / "testbed/run/a.py").read_text() == "a = 1\n"
    assert os.access(there / "testbed/__init__.py", os.X_OK)
    assert box.remote.deploy(root, unheard).files == 0
    assert not list((there / ".vm/incoming").iterdir())


def test_deploy_of_the_same_takes_one_round_trip(
    box: Box, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.remote.deploy(root, unheard)
    runs = []
    with monkeypatch.context() as patch:
        connection = box.link.attempt(lambda connection: connection)
        real = connection.run
        patch.setattr(connection, "run", lambda argv, **more: runs.append(argv) or real(argv, **more))
        box.remote.deploy(root, unheard)
    assert len(runs) == 1


def test_deploy_keeps_the_engine_that_was_built_there_for_another_machine(
    box: Box, root: Path, shared_sshd: Sshd
) -> None:
    (root / "testbed/engine").mkdir()
    there = tree_of(shared_sshd, box) / "testbed/engine"
    for directory, machine in ((root / "testbed/engine", "debian 12"), (there, "debian 13")):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "_engine.x.so").write_text(machine)
        (directory / "_engine.x.so.key").write_text(f"sources 1\nfor {machine}\n")
    (there.parents[1] / "tb").write_text("")
    box.remote.deploy(root, unheard)
    assert (there / "_engine.x.so").read_text() == "debian 13"
    (there / "_engine.x.so.key").write_text("sources 0\nfor debian 12\n")
    box.remote.deploy(root, unheard)
    assert (there / "_engine.x.so").read_text() == "debian 12"


@pytest.mark.parametrize("run_begins", [False, True])
def test_deploys_at_once_to_a_fresh_machine_all_succeed(
    root: Path, shared_sshd: Sshd, monkeypatch: pytest.MonkeyPatch, run_begins: bool
) -> None:
    boxes = [Box(shared_sshd.target(), f"~/trees/at once {run_begins}") for _ in range(3)]
    all_sent, first_is_done = threading.Barrier(len(boxes), timeout=20), threading.Event()
    real = remote.ask

    def ask(connection: Connection, verb: str, **request: Any) -> Any:
        if verb != "install":
            return real(connection, verb, **request)
        number = all_sent.wait()
        if run_begins and number:
            assert first_is_done.wait(20)
        answer = real(connection, verb, **request)
        if run_begins and not number:
            starter.start("at-once", "unwind")
            first_is_done.set()
        return answer

    monkeypatch.setattr(remote, "ask", ask)
    starter = Box(shared_sshd.target(), boxes[0].tree)
    try:
        with ThreadPoolExecutor(len(boxes)) as pool:
            assert list(pool.map(lambda box: box.remote.deploy(root, unheard).files, boxes)) == [5, 5, 5]
        there = tree_of(shared_sshd, starter)
        assert names(there) == sorted([".vm/deployed.json", *tree_files(root)])
    finally:
        for job in jobs_of(shared_sshd):
            starter.remote.stop(job)
            starter.remote.remove(job)
        for box in (*boxes, starter):
            box.link.close()


def test_deploy_into_a_directory_with_other_things_is_refused(
    box: Box, root: Path, shared_sshd: Sshd
) -> None:
    there = tree_of(shared_sshd, box)
    there.mkdir(parents=True)
    (there / "thesis.tex").write_text("mine")
    with pytest.raises(RemoteError, match="holds other files"):
        box.remote.deploy(root, unheard)
    assert names(there) == ["thesis.tex"]


def test_deploy_where_something_is_in_the_way_says_so(box: Box, root: Path, shared_sshd: Sshd) -> None:
    box.remote.deploy(root, unheard)
    there = tree_of(shared_sshd, box)
    for name in ("README.md", "experiments"):
        shutil.move(there / name, there / f"{name}.old")
    (there / "README.md").mkdir()
    (there / "experiments").touch()
    for _ in range(2):
        with pytest.raises(RemoteError, match=r"README\.md|experiments") as caught:
            box.remote.deploy(root, unheard)
        assert caught.value.remedy.startswith("move what is in the way there")
        assert not list((there / ".vm/incoming").iterdir())
        if (there / "README.md").is_dir():
            (there / "README.md").rmdir()
    (there / "experiments").unlink()
    assert box.remote.deploy(root, unheard).files > 0
    file = Box(box.target, f"{box.tree}/README.md")
    with pytest.raises(RemoteError, match="is no directory") as caught:
        file.remote.deploy(root, unheard)
    assert "--directory" in caught.value.remedy
    file.link.close()


def test_deploy_cut_goes_on_where_it_was(box: Box, root: Path, shared_sshd: Sshd, proxy: Proxy) -> None:
    (root / "docs").mkdir()
    (root / "docs/big").write_bytes(os.urandom(8 * MIB))
    box.remote.status("none")
    before = proxy.forwarded_bytes["up"]
    proxy.cut_after(6 * MIB, "up")
    assert box.remote.deploy(root, unheard).files == 6
    assert proxy.connections == 2
    assert 8 * MIB < proxy.forwarded_bytes["up"] - before < 11 * MIB  # afresh it would be 14
    there = tree_of(shared_sshd, box)
    assert (there / "docs/big").read_bytes() == (root / "docs/big").read_bytes()


def test_deploy_that_gets_further_on_each_connection_ends_though_its_losses_outlast_the_patience(
    root: Path, shared_sshd: Sshd, proxy: Proxy
) -> None:
    (root / "big").write_bytes(os.urandom(12 * MIB))
    begun: list[float] = []

    def note(text: str) -> None:
        if text.startswith("connected to"):
            begun.append(time.monotonic())
            time.sleep(0.3)
            proxy.cut_after(4 * MIB, "up")

    target = shared_sshd.target(port=proxy.port)
    with Link(target, Trust(), note=note, patience_s=0.5, back_off_s=(0.02, 0.05)) as link:
        there = Remote(link, "~/trees/slow and cut")
        there.status("none")
        proxy.cut_after(4 * MIB, "up")
        assert there.deploy(root, unheard).files == 6
    assert len(begun) >= 3
    assert begun[-1] - begun[0] > 0.5


def test_deploy_of_bytes_that_change_on_the_way_changes_nothing(
    box: Box, root: Path, shared_sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.remote.deploy(root, unheard)
    (root / "README.md").write_text("changed")
    real = transfer.Bundle.read_from
    monkeypatch.setattr(
        transfer.Bundle,
        "read_from",
        lambda bundle, offset: (chunk.replace(b"changed", b"chanked") for chunk in real(bundle, offset)),
    )
    with pytest.raises(RemoteError, match=r"README.md did not arrive as it was sent"):
        box.remote.deploy(root, unheard)
    assert (tree_of(shared_sshd, box) / "README.md").read_text() == "read"


def test_deploy_of_a_file_that_vanishes_on_the_way_says_so(
    box: Box, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = remote.upload

    def upload(*arguments: Any) -> None:
        (root / "README.md").unlink()
        real(*arguments)

    monkeypatch.setattr(remote, "upload", upload)
    with pytest.raises(RemoteError, match=r"README\.md cannot be read: No such file"):
        box.remote.deploy(root, unheard)


def test_deploy_to_a_full_disk_changes_nothing(root: Path, tmp_path: Path) -> None:
    (root / "big").write_bytes(os.urandom(2 * MIB))
    with box_with_small_disk(tmp_path / "small", 3 * 1024) as (box, home):
        with pytest.raises(RemoteError, match=r"4,\d+,\d+ bytes are needed .* are free"):
            box.remote.deploy(root, unheard)
        assert names(home / "tree") == []
    with box_with_small_disk(tmp_path / "larger", 8 * 1024) as (box, home):
        filler = Filler(home)
        with pytest.raises(RemoteError, match=r"cannot be written|No space left") as caught:
            box.remote.deploy(root, filler)
        assert "free space" in caught.value.remedy
        assert names(home / "tree") == []
        filler.file.unlink()
        assert box.remote.deploy(root, unheard).files == 6


@pytest.mark.parametrize("is_gone", [False, True])
def test_deploy_that_is_interrupted_takes_back_what_was_sent(
    root: Path, shared_sshd: Sshd, monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    told: list[str] = []
    sent, ended = threading.Event(), threading.Event()
    real = connections.together

    def upload(sftp: Any, path: str, bundle: transfer.Bundle, progress: transfer.Progress) -> None:
        sftp.open(path, "wb").close()
        sent.set()
        ended.wait(20)

    def together(work: Any, items: Any) -> Any:
        Crowd(work, items)
        assert sent.wait(20)
        monkeypatch.setattr(connections, "together", real)
        raise KeyboardInterrupt

    def forget(self: Remote, bundle: str) -> None:
        raise ConnectionLost("gone")

    monkeypatch.setattr(remote, "upload", upload)
    if is_gone:
        monkeypatch.setattr(Remote, "forget", forget)
    target = shared_sshd.target(tree=f"~/trees/interrupted {is_gone}")
    with connections.Connections([target], Trust(), told.append) as known:
        monkeypatch.setattr(connections, "together", together)
        with pytest.raises(KeyboardInterrupt):
            known.deploy([target.name], root)
        left = list((shared_sshd.home / f"trees/interrupted {is_gone}/.vm/incoming").iterdir())
    ended.set()
    assert told == [f"box: {path} is left there; what is sent there after a day removes it" for path in left]
    assert len(left) == is_gone


def test_what_is_no_file_of_the_results_is_an_error(tmp_path: Path) -> None:
    receiver = transfer.Receiver(directory=tmp_path, files={}, progress=lambda _: None)
    for line in (b"42\n", b"logout\n", b'["a"]\n'):
        with pytest.raises(RemoteError, match="among the results"):
            receiver.feed(line)


def test_fetch_cut_sends_no_byte_again(box: Box, root: Path, proxy: Proxy, tmp_path: Path) -> None:
    made(box, root, "m", 4, 2 * MIB)
    before = proxy.forwarded_bytes["down"]
    proxy.cut_after(5 * MIB, "down")
    told: list[int] = []
    files = box.remote.fetch("m", tmp_path / "out", lambda done, total: told.append(done))
    assert proxy.connections == 2
    assert 8 * MIB < proxy.forwarded_bytes["down"] - before < 10 * MIB  # afresh it would be 13
    assert [path.stat().st_size for path in files] == [0, *[2 * MIB + 16] * 4]
    assert told == sorted(told)
    assert told[-1] == 4 * (2 * MIB + 16)


def test_fetch_given_up_is_gone_on_with_later(
    box: Box, root: Path, proxy: Proxy, shared_sshd: Sshd, tmp_path: Path
) -> None:
    made(box, root, "m", 4, MIB)
    out = tmp_path / "out"

    def interrupt(done: int, total: int) -> None:
        if done > 2.5 * MIB:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        box.remote.fetch("m", out, interrupt)
    assert [path.name for path in out.iterdir()] == [".m.part"]
    before = proxy.forwarded_bytes["down"]
    box.remote.fetch("m", out, unheard)
    assert proxy.forwarded_bytes["down"] - before < 2 * MIB + 65536 * 40
    assert names(out) == names(shared_sshd.home / JOBS / "m/results")[1:]  # without what is unfinished


def test_fetch_notices_one_flipped_bit_and_reads_that_file_again(
    box: Box, root: Path, shared_sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(box, root, "m", 3, 1000)
    real, flipped = transfer.Receiver.feed, []

    def feed(receiver: transfer.Receiver, data: bytes) -> None:
        if not flipped and b"\x01\x01" in data:
            flipped.append(data)
            data = data.replace(b"\x01\x01", b"\x01\x03", 1)
        real(receiver, data)

    monkeypatch.setattr(transfer.Receiver, "feed", feed)
    files = box.remote.fetch("m", tmp_path / "out", unheard)
    assert len(flipped) == 1
    there = shared_sshd.home / JOBS / "m/results/quick stärt/1/records/1.bin"
    assert files[2].read_bytes() == there.read_bytes()


def test_fetch_of_what_changes_after_its_digest_is_an_error_and_leaves_nothing(
    box: Box, root: Path, shared_sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(box, root, "m", 3, 1000)
    there = shared_sshd.home / JOBS / "m/results/quick stärt/1/records/1.bin"
    real = Remote._results

    def results(remote: Remote, job: str) -> Any:
        found = real(remote, job)
        there.write_bytes(b"X" + there.read_bytes()[1:])
        return found

    monkeypatch.setattr(Remote, "_results", results)
    with pytest.raises(RemoteError, match=r"records/1.bin is not what the other machine said"):
        box.remote.fetch("m", tmp_path / "out", unheard)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".m.part"]
    monkeypatch.undo()
    assert box.remote.fetch("m", tmp_path / "out", unheard)[2].read_bytes() == there.read_bytes()


def test_fetch_to_a_full_disk_leaves_nothing_under_a_final_name(box: Box, root: Path, tmp_path: Path) -> None:
    made(box, root, "m", 2, MIB)
    with small_disk(tmp_path / "small", 1024) as out:
        with pytest.raises(MeasurementError, match=r"need 2,097,184 bytes \([\d,]+ bytes free\)"):
            box.remote.fetch("m", out, unheard)
        assert names(out) == []
    with small_disk(tmp_path / "larger", 4096) as out:
        filler = Filler(out)
        with pytest.raises(MeasurementError, match="No space left"):
            box.remote.fetch("m", out, filler)
        assert sorted(path.name for path in out.iterdir()) == [".m.part", "filler"]
        filler.file.unlink()
        assert len(box.remote.fetch("m", out, unheard)) == 3


def test_fetch_into_what_is_no_directory_is_an_error(box: Box, root: Path, tmp_path: Path) -> None:
    made(box, root, "m", 1, 10)
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="cannot be written"):
        box.remote.fetch("m", tmp_path / "file" / "out", unheard)
