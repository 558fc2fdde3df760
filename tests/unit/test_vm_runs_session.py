from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import Interrupted, RemoteError, SpecError
from testbed.vm.runs.log import Lines
from testbed.vm.runs.publish import publish
from testbed.vm.runs.record import Run, RunFolder, remove_leftovers, unfinished
from testbed.vm.runs.session import JobError, Session, job_arguments, picked_up_later
from testbed.vm.runs.together import Crowd, together
from testbed.vm.ssh import ConnectionLost
from testbed.vm.tree import program_digest
from tests.unit.remote_runs import (
    EXPERIMENT,
    FakeConnections,
    FakeRemote,
    folder_of,
    run_on,
    write_result,
)


class Place:
    """A run, machines that are not there, and what was said and done."""

    def __init__(self, out: Path, run: Run, outcomes: Sequence[int | None]) -> None:
        self.calls: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.remotes = [
            FakeRemote(host, self.calls, outcome=outcome)
            for host, outcome in zip(run.hosts, outcomes, strict=True)
        ]
        self.connections = FakeConnections(*self.remotes)
        self.folder = folder_of(out, run)
        self.root = out.with_name(out.name + ".tree")
        self.change_program("as it was")
        self.session = self.client(self.folder)

    def client(self, folder: RunFolder) -> Session:
        connections: Any = self.connections
        return Session(folder, connections, self.said.append, root=self.root)

    def change_program(self, text: str) -> None:
        """What this tree does."""
        (self.root / "testbed").mkdir(parents=True, exist_ok=True)
        (self.root / "testbed" / "a.py").write_text(text)

    def did(self, what: str) -> list[str]:
        return [host for verb, host in self.calls if verb == what]


def test_a_run_is_sent_started_followed_fetched_published_and_removed(tmp_path: Path) -> None:
    place = Place(tmp_path, run_on("tb1"), [0])
    place.session.start()
    assert unfinished(tmp_path)[0].run.parts[0].state == "started"
    place.session.follow()
    (result,) = place.session.publish()
    assert [verb for verb, _ in place.calls] == ["deploy", "start", "follow", "fetch", "remove"]
    assert result == tmp_path / "tiny" / "20260101T000001Z-tb1"
    assert (result / "summary.json").is_file()
    assert place.said == ["stage one", "ended with 0"]
    assert not (tmp_path / ".vm").exists()


def test_the_command_of_a_part_names_engine_cells_and_seeds() -> None:
    part = run_on("a").parts[0]
    plain = ["run", "spec.json", "--engine", "twin", "--out", "{job}/results", "--quiet"]
    assert job_arguments(part, "twin") == plain
    assert job_arguments(replace(part, cells=("x", "y"), seeds=3), "twin") == [
        *plain,
        "--cells",
        "x,y",
        "--repeat",
        "3",
    ]


def test_results_of_several_machines_are_published_by_seed_and_their_lines_say_whose_they_are(
    tmp_path: Path,
) -> None:
    run = run_on("b", "a")
    run = replace(run, parts=(replace(run.parts[0], seed=5, seeds=2), replace(run.parts[1], seed=2)))
    place = Place(tmp_path, run, [0, 0])
    place.session.start()
    place.session.follow()
    assert sorted(place.said) == ["a: ended with 0", "a: stage one", "b: ended with 0", "b: stage one"]
    names = [result.name for result in place.session.publish()]
    assert names == ["20260101T000002Z-a", "20260101T000005Z-b", "20260101T000006Z-b"]


def test_a_part_that_fails_ends_the_others_and_nothing_is_left(tmp_path: Path) -> None:
    place = Place(tmp_path, run_on("good", "bad"), [None, 4])
    place.session.start()
    with pytest.raises(JobError, match="bad: the run ended there with exit code 4") as error:
        place.session.follow()
    assert error.value.job_exit_code == 4
    assert place.did("stop") == ["good"]
    assert sorted(place.did("remove")) == ["bad", "good"]
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_keeps_what_it_wrote_there_if_asked_to(tmp_path: Path) -> None:
    place = Place(tmp_path, run_on("bad", keep=True), [4])
    place.session.start()
    with pytest.raises(JobError):
        place.session.follow()
    assert place.did("remove") == []


def test_a_machine_that_is_gone_lets_the_others_be_fetched_and_is_picked_up_later(tmp_path: Path) -> None:
    place = Place(tmp_path, run_on("near", "far"), [0, 0])
    place.remotes[1].breaks = ConnectionLost("far: it does not answer", remedy="wait")
    place.session.start()
    with pytest.raises(ConnectionLost):
        place.session.follow()
    (folder,) = unfinished(tmp_path)
    assert [part.state for part in folder.run.parts] == ["fetched", "started"]
    place.remotes[1].breaks = None
    place.calls.clear()
    later = place.client(folder)
    later.start()
    later.follow()
    assert len(later.publish()) == 2
    assert place.calls == [("follow", "far"), ("fetch", "far"), ("remove", "far")]


def test_a_job_that_another_client_has_removed_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, run_on("tb1"), [None])
    place.session.start()

    def stop(job: str) -> None:
        place.remotes[0].work.pop(job)
        raise RemoteError(f"there is no job {job}", remedy="look")

    monkeypatch.setattr(place.remotes[0], "stop", stop)
    place.session.end_jobs()
    place.remotes[0].outcome = None
    place.session.start()

    def fail(job: str) -> None:
        raise RemoteError(f"{job} does not end", remedy="look")

    monkeypatch.setattr(place.remotes[0], "stop", fail)
    with pytest.raises(RemoteError, match="does not end"):
        place.session.end_jobs()


def test_a_machine_that_was_restarted_begins_its_part_again(tmp_path: Path) -> None:
    place = Place(tmp_path, run_on("tb1"), [None])
    place.session.start()
    place.remotes[0].lost.add(place.folder.run.parts[0].job)
    place.remotes[0].outcome = 0
    later = place.client(unfinished(tmp_path)[0])
    later.start()
    later.follow()
    assert place.did("start") == ["tb1", "tb1"]
    assert "restarted" in place.connections.lines[0]


@pytest.mark.parametrize("changed", [False, True])
def test_a_part_begins_again_only_with_the_program_of_the_others(tmp_path: Path, changed: bool) -> None:
    place = Place(tmp_path, run_on("near", "far"), [0, 0])
    place.session.start()
    place.remotes[1].lost.add(place.folder.run.parts[1].job)
    if changed:
        place.change_program("as it is now")
    place.calls.clear()
    later = place.client(unfinished(tmp_path)[0])
    if changed:
        with pytest.raises(SpecError, match="this tree is not what it was") as caught:
            later.start()
        assert f"./tb vm stop {place.folder.run.id}" in caught.value.remedy
    else:
        later.start()
    assert place.did("deploy") == place.did("start") == ["far"] * (not changed)


def test_a_run_begins_again_as_a_whole_with_another_program(tmp_path: Path) -> None:
    place = Place(tmp_path, run_on("tb1"), [0])
    place.session.start()
    before = unfinished(tmp_path)[0]
    place.remotes[0].lost.add(before.run.parts[0].job)
    place.change_program("as it is now")
    place.client(before).start()
    assert place.did("start") == ["tb1", "tb1"]
    assert "the run begins again as a whole, with this tree as it is now" in place.said
    assert unfinished(tmp_path)[0].run.program == program_digest(place.root)


def test_a_run_that_vanishes_while_it_is_followed_is_an_error_and_stays_recorded(tmp_path: Path) -> None:
    place = Place(tmp_path, run_on("tb1"), [0])
    place.session.start()
    place.remotes[0].lost.add(place.folder.run.parts[0].job)
    with pytest.raises(RemoteError, match="tb1: the run is gone from there"):
        place.session.follow()
    assert len(unfinished(tmp_path)) == 1


def test_a_client_that_comes_later_tells_the_end_of_the_log_in_whole_lines(tmp_path: Path) -> None:
    place = Place(tmp_path, run_on("tb1"), [0])
    place.session.start()
    (job,) = place.remotes[0].work.values()
    job.log = b"".join(b"line %d\n" % number for number in range(1_000))
    place.client(unfinished(tmp_path)[0]).follow()
    assert place.said[-1] == "line 999"
    assert 150 < len(place.said) < 300
    assert all(line.startswith("line ") for line in place.said)


def interrupted_when_followed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the main thread be interrupted as by Ctrl-C, once every machine is followed."""
    take = Crowd._take

    def struck(crowd: Crowd[int, None]) -> BaseException | None:
        if len(place.did("follow")) == len(place.remotes) and not place.did("stop"):
            raise KeyboardInterrupt
        return take(crowd)

    monkeypatch.setattr(Crowd, "_take", struck)


def test_ctrl_c_stops_what_runs_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, run_on("a", "b"), [None, None])
    place.session.start()
    interrupted_when_followed(place, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        place.session.follow()
    assert sorted(place.did("stop")) == ["a", "b"]
    assert sorted(place.did("remove")) == ["a", "b"]
    assert list(tmp_path.iterdir()) == []
    assert "a: ended with 130" in place.said  # the end of the log was awaited


def test_what_runs_is_stopped_by_a_client_that_does_not_follow(tmp_path: Path) -> None:
    place = Place(tmp_path, run_on("a"), [None])
    place.session.start()
    place.client(unfinished(tmp_path)[0]).stop()
    assert place.calls[-2:] == [("stop", "a"), ("remove", "a")]
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_ends_only_the_client_says_how_to_go_on() -> None:
    lost = picked_up_later(ConnectionLost("x", remedy="wait"), "r1")
    assert lost.remedy == "the run goes on there; ./tb vm attach r1 picks it up"
    assert picked_up_later(Interrupted("ended by SIGTERM", remedy="y"), "r1").remedy == lost.remedy
    full = picked_up_later(RemoteError("x", remedy="free space"), "r1")
    assert full.remedy == "free space; then ./tb vm attach r1 picks it up"


def test_results_are_published_once_however_often_that_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_on("a", "b")
    folder = folder_of(tmp_path, replace(run, parts=tuple(replace(p, state="fetched") for p in run.parts)))
    for index, part in enumerate(run.parts):
        write_result(folder.part(index) / "tiny" / f"r{index}", seed=part.seed)
    rename, renames = Path.rename, 0
    while True:
        left = 1 + renames  # each time it comes one rename further

        def stumble(source: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return rename(source, target)

        monkeypatch.setattr(Path, "rename", stumble)
        try:
            published = publish(unfinished(tmp_path)[0])
            break
        except KeyboardInterrupt:
            renames += 1
            assert renames < 10
    assert [result.name for result in published] == ["r0", "r1"]
    assert renames > 0
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == ["r0", "r1"]


def test_a_part_with_too_few_results_publishes_none(tmp_path: Path) -> None:
    run = run_on("a", "b")
    folder = folder_of(tmp_path, run)
    write_result(folder.part(0) / "tiny" / "r0", seed=1)
    with pytest.raises(RemoteError, match="b: the run left 0 results, not 1"):
        publish(folder)
    assert not (tmp_path / "tiny").exists()


def test_a_result_whose_name_is_taken_waits_until_it_is_free(tmp_path: Path) -> None:
    place = Place(tmp_path, run_on("tb1"), [0])
    place.session.start()
    place.session.follow()
    taken = tmp_path / "tiny" / "20260101T000001Z-tb1"
    (taken / "mine").mkdir(parents=True)
    with pytest.raises(SpecError, match="is there already, and another result"):
        place.session.publish()
    (folder,) = unfinished(tmp_path)
    assert remove_leftovers(tmp_path) == []
    shutil.rmtree(taken)
    assert place.client(folder).publish() == [taken]


def test_a_published_result_names_the_users_files(tmp_path: Path) -> None:
    sent = replace(EXPERIMENT, controller="given/0/app.py")
    folder = folder_of(tmp_path, run_on("a", experiment=sent, originals={"given/0/app.py": "/my/app.py"}))
    write_result(folder.part(0) / "tiny" / "r0", seed=1, spec=sent)
    (result,) = publish(folder)
    assert '"controller": "/my/app.py"' in (result / "spec.json").read_text(encoding="utf-8")


def test_lines_are_whole_whatever_the_pieces() -> None:
    for size in range(1, 12):
        said: list[str] = []
        lines = Lines(said.append)
        data = "ein Ä\r\n\nzwei\nrest".encode()
        for start in range(0, len(data), size):
            lines(data[start : start + size])
        lines.close()
        lines.close()
        assert said == ["ein Ä", "", "zwei", "rest"]


def test_together_returns_in_order_and_raises_the_first_error_when_all_have_ended() -> None:
    assert together(lambda number: number * 2, [3, 1, 2]) == [6, 2, 4]
    assert together(lambda number: number, []) == []
    ended: list[int] = []

    def work(number: int) -> None:
        time.sleep(0.01 * number)
        ended.append(number)
        if number < 2:
            raise RemoteError(f"no {number}", remedy="x")

    with pytest.raises(RemoteError, match="no 1"):
        together(work, [1, 0, 3])
    assert sorted(ended) == [0, 1, 3]


def test_a_fatal_error_does_not_wait_for_the_others() -> None:
    released = threading.Event()

    def work(number: int) -> None:
        if number:
            raise JobError("h", 3)
        assert released.wait(20)

    crowd = Crowd(work, [0, 1])
    with pytest.raises(JobError):
        crowd.wait(fatal=(JobError,))
    released.set()
    crowd.settle()
