from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import FabricError
from testbed.fabric.clean import clean
from testbed.fabric.state import RunState, read_state
from testbed.process_table import kill_if_same, parse_stat, start_time_of


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def orphan(state: RunState) -> None:
    """Let the file's orchestrator look dead: its start time becomes another process's."""
    header, *rest = state.path.read_text().splitlines(keepends=True)
    entry = json.loads(header)
    entry["orchestrator"]["start_time_ticks"] -= 1
    state.path.write_text(json.dumps(entry) + "\n" + "".join(rest))


def test_parse_stat_command_with_brackets_and_blanks_reads_the_right_fields() -> None:
    tail = " ".join(str(number) for number in range(4, 53))
    stat_ = parse_stat(f"7 (a) (b c)) S {tail}")
    assert (stat_.command, stat_.state, stat_.session, stat_.start_time_ticks) == ("a) (b c)", "S", 6, 22)


def test_state_file_new_is_private_and_names_the_orchestrator(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    state = RunState.create("r1", directory=directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o600
    recording = read_state(state.path)
    assert recording.orchestrator.pid == os.getpid()
    assert recording.is_live()
    assert [path.name for path in directory.iterdir()] == ["r1.json"]


def test_state_file_existing_id_is_refused_and_kept(tmp_path: Path) -> None:
    state = RunState.create("r1", directory=tmp_path)
    before = state.path.read_text()
    with pytest.raises(FabricError, match="already"):
        RunState.create("r1", directory=tmp_path)
    assert state.path.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["r1.json"]


def test_state_file_leaving_the_context_removes_it(tmp_path: Path) -> None:
    with RunState.create("r1", directory=tmp_path) as state:
        assert state.path.exists()
    assert not state.path.exists()


def test_record_child_and_partial_round_trip(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    state = RunState.create("r1", directory=tmp_path)
    state.record_child("nic c1", sleeper.pid)
    state.record_partial(tmp_path / ".x.partial")
    recording = read_state(state.path)
    assert [(child.name, child.pid) for child in recording.children] == [("nic c1", sleeper.pid)]
    assert recording.partials == (tmp_path / ".x.partial",)


def test_record_partial_other_name_is_refused(tmp_path: Path) -> None:
    state = RunState.create("r1", directory=tmp_path)
    with pytest.raises(FabricError, match="no partial result"):
        state.record_partial(tmp_path)


def test_read_state_last_line_cut_off_ignores_it(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    state = RunState.create("r1", directory=tmp_path)
    state.record_child("nic c1", sleeper.pid)
    state.path.write_text(state.path.read_text() + '{"child": {"na')
    assert len(read_state(state.path).children) == 1


@pytest.mark.parametrize("text", ["", "{}\n", "no json\n", '{"schema_version": 99}\n', "[1]\n"])
def test_read_state_foreign_text_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r1.json"
    path.write_text(text)
    with pytest.raises(FabricError, match="not a state file"):
        read_state(path)


def test_kill_if_same_other_start_time_leaves_the_process(sleeper: subprocess.Popen[bytes]) -> None:
    started = start_time_of(sleeper.pid)
    assert started is not None
    assert not kill_if_same(sleeper.pid, started + 1)
    assert sleeper.poll() is None
    assert kill_if_same(sleeper.pid, started)
    assert sleeper.wait() == -9


def test_clean_live_run_touches_nothing(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    state = RunState.create("r1", directory=tmp_path)
    state.record_child("nic c1", sleeper.pid)
    assert clean(directory=tmp_path) == []
    assert sleeper.poll() is None
    assert state.path.exists()


def test_clean_dead_run_removes_what_is_recorded_and_no_more(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    partial, other = tmp_path / ".a.partial", tmp_path / ".b.partial"
    for directory in (partial, other):
        directory.mkdir()
        (directory / "file").touch()
    state = RunState.create("r1", directory=tmp_path / "run")
    state.record_child("nic c1", sleeper.pid)
    state.record_partial(partial)
    orphan(state)
    with subprocess.Popen(["sleep", "60"]) as bystander:
        removed = clean(directory=tmp_path / "run")
        assert bystander.poll() is None
        bystander.kill()
    assert sleeper.wait() == -9
    assert (partial.exists(), other.exists(), state.path.exists()) == (False, True, False)
    assert len(removed) == 3
    assert "nic c1" in removed[0]


def test_clean_dry_run_says_the_same_and_removes_nothing(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    state = RunState.create("r1", directory=tmp_path)
    state.record_child("nic c1", sleeper.pid)
    orphan(state)
    said = clean(dry_run=True, directory=tmp_path)
    assert sleeper.poll() is None
    assert state.path.exists()
    assert clean(directory=tmp_path) == said


def test_clean_child_pid_taken_by_another_process_leaves_it(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    state = RunState.create("r1", directory=tmp_path)
    state.record_child("nic c1", sleeper.pid)
    started = start_time_of(sleeper.pid)
    state.path.write_text(state.path.read_text().replace(f": {started}}}}}", f": {(started or 0) + 1}}}}}"))
    orphan(state)
    assert clean(directory=tmp_path) == [f"state file {state.path}"]
    assert sleeper.poll() is None


def test_clean_run_of_another_boot_kills_nobody(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    state = RunState.create("r1", directory=tmp_path)
    state.record_child("nic c1", sleeper.pid)
    boot = read_state(state.path).boot_id
    state.path.write_text(state.path.read_text().replace(boot, "another"))
    assert clean(directory=tmp_path) == [f"state file {state.path}"]
    assert sleeper.poll() is None


def test_clean_partial_that_is_a_link_is_left(tmp_path: Path) -> None:
    target = tmp_path / "kept"
    target.mkdir()
    link = tmp_path / "x.partial"
    link.symlink_to(target)
    state = RunState.create("r1", directory=tmp_path / "run")
    state.record_partial(link)
    orphan(state)
    clean(directory=tmp_path / "run")
    assert target.is_dir()
    assert link.is_symlink()


def test_state_sockets_are_for_the_owner_alone_and_end_with_the_context(tmp_path: Path) -> None:
    with RunState.create("r1", directory=tmp_path) as state:
        for _cell in range(2):
            with state.sockets() as directory:
                (directory / "c1.sock").touch()
                assert directory.stat().st_mode & 0o777 == 0o700
            assert not directory.exists()


def test_clean_removes_the_sockets_of_a_killed_run(tmp_path: Path) -> None:
    state = RunState.create("r1", directory=tmp_path)
    with state.sockets() as directory:
        (directory / "c1.sock").touch()
        orphan(state)
        said = clean(dry_run=True, directory=tmp_path)
        assert directory.exists()
        assert clean(directory=tmp_path) == said
        assert said == [f"control sockets {directory}", f"state file {state.path}"]
        assert list(tmp_path.iterdir()) == []
        directory.mkdir()  # for the end of the context


def test_clean_sockets_of_a_live_run_are_left(tmp_path: Path) -> None:
    with RunState.create("r1", directory=tmp_path) as state, state.sockets() as directory:
        assert clean(directory=tmp_path) == []
        assert directory.exists()


def test_clean_file_of_a_run_killed_at_birth_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    (tmp_path / f".r1.{process.pid}.new").touch()
    (tmp_path / f".r2.{os.getpid()}.new").touch()
    assert clean(directory=tmp_path) == [f"state file {tmp_path / f'.r1.{process.pid}.new'}"]
    assert [path.name for path in tmp_path.iterdir()] == [f".r2.{os.getpid()}.new"]


def test_clean_unreadable_file_is_an_error_after_the_others_are_cleaned(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("?\n")
    state = RunState.create("b", directory=tmp_path)
    orphan(state)
    with pytest.raises(FabricError, match=r"a\.json"):
        clean(directory=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_clean_without_a_directory_removes_nothing(tmp_path: Path) -> None:
    assert clean(directory=tmp_path / "none") == []
