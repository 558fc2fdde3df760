from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.errors import SpecError
from testbed.vm.runs.record import RunFolder, find, held, is_held, remove_leftovers, unfinished
from testbed.vm.runs.spread import reassign, spread
from tests.unit.remote_runs import EXPERIMENT, folder_of, run_on


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    run = run_on("tb1", "ann@lab:2222", originals={"given/0/a.py": "/a.py"}, keep=True, identity="/key")
    folder = folder_of(tmp_path, run)
    folder.set_part(1, replace(run.parts[1], state="started"))
    (found,) = unfinished(tmp_path)
    assert found.run == folder.run
    assert found.run.parts == (run.parts[0], replace(run.parts[1], state="started"))
    assert found.out == tmp_path


def test_what_a_run_sends_is_kept_as_it_was(tmp_path: Path) -> None:
    source = tmp_path / "star.py"
    source.write_text("before", encoding="utf-8")
    folder = folder_of(tmp_path / "out", run_on("tb1"), {"my/star.py": source})
    source.write_text("after", encoding="utf-8")
    assert (folder.files / "my" / "star.py").read_text(encoding="utf-8") == "before"


def test_a_record_whose_replacement_fails_is_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, run_on("tb1"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match="No space left"):
        folder.set_part(0, replace(folder.run.parts[0], state="fetched"))
    monkeypatch.undo()
    assert unfinished(tmp_path)[0].run.parts[0].state == "new"
    assert folder.run.parts[0].state == "new"


def test_a_run_is_found_by_how_its_id_begins_and_without_one_the_newest_is(tmp_path: Path) -> None:
    for run_id in ("20260101T000000Z-a", "20260102T000000Z-a", "20260102T000000Z-b"):
        folder_of(tmp_path, run_on("tb1", id=run_id))
    assert find(tmp_path, None).run.id == "20260102T000000Z-b"
    assert find(tmp_path, "20260101").run.id == "20260101T000000Z-a"
    with pytest.raises(SpecError, match="'20260102' is more than one"):
        find(tmp_path, "20260102")
    with pytest.raises(SpecError, match="'2027' is no unfinished run") as error:
        find(tmp_path, "2027")
    assert "20260101T000000Z-a, 2026" in error.value.remedy
    with pytest.raises(SpecError, match="no run on another machine is unfinished"):
        find(tmp_path / "elsewhere", None)


def test_a_record_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, run_on("tb1"))
    (folder.directory / "run.json").write_text('{"schema_version": 1', encoding="utf-8")
    with pytest.raises(SpecError, match=r"run\.json cannot be read") as error:
        find(tmp_path, None)
    assert str(folder.directory) in error.value.remedy


def test_a_run_that_ends_while_runs_are_listed_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays, ends = (folder_of(tmp_path, run_on("tb1", id=run_id(number))) for number in (1, 2))
    real = Path.read_text

    def read_text(path: Path, **options: str) -> str:
        if path.parent == ends.directory:
            ends.remove()
        return real(path, **options)

    monkeypatch.setattr(Path, "read_text", read_text)
    assert [folder.run.id for folder in unfinished(tmp_path)] == [stays.run.id]


def test_a_run_has_one_client(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, run_on("tb1"))
    assert not is_held(folder.directory)
    with held(folder):
        assert is_held(folder.directory)
        with pytest.raises(SpecError, match="another client follows"), held(find(tmp_path, None)):
            raise AssertionError("two clients")
    with held(folder):
        pass


def aged(directory: Path) -> None:
    os.utime(directory, (1, 1))


def run_id(number: int) -> str:
    return f"20260131T10150{number}Z-1f0c2d3e"


def test_leftovers_are_records_of_finished_runs_only(tmp_path: Path) -> None:
    running = folder_of(tmp_path, run_on("tb1", id=run_id(1)))
    finished = folder_of(tmp_path, run_on("tb1", id=run_id(2), published=("tiny/x",)))
    (tmp_path / "tiny" / "x").mkdir(parents=True)
    half = folder_of(tmp_path, run_on("tb1", id=run_id(3), published=("tiny/x", "tiny/y")))
    gone = folder_of(tmp_path, run_on("tb1", id=run_id(4)))
    (gone.directory / "run.json").unlink()
    aged(gone.directory)
    (tmp_path / ".vm" / "qemu").mkdir()  # of the machines of a tree
    aged(tmp_path / ".vm" / "qemu")
    begins = folder_of(tmp_path, run_on("tb1", id=run_id(5)))
    (begins.directory / "run.json").unlink()
    said = [f"record of a finished run {one.directory}" for one in (finished, gone)]
    assert remove_leftovers(tmp_path, dry_run=True) == said
    assert finished.directory.exists()
    assert remove_leftovers(tmp_path) == said
    kept = {path.name for path in (tmp_path / ".vm").iterdir()}
    assert kept == {running.run.id, half.run.id, begins.run.id, "qemu"}
    assert [one.run.id for one in unfinished(tmp_path)] == [run_id(1), run_id(3)]


def test_a_leftover_that_a_client_works_on_stays(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, run_on("tb1", id=run_id(1), published=("tiny/x",)))
    (tmp_path / "tiny" / "x").mkdir(parents=True)
    with held(folder):
        assert remove_leftovers(tmp_path) == []
    assert len(remove_leftovers(tmp_path)) == 1


def test_the_last_record_takes_its_folder_with_it(tmp_path: Path) -> None:
    first, second = (folder_of(tmp_path, run_on("tb1", id=run_id)) for run_id in ("r1", "r2"))
    first.remove()
    assert [path.name for path in (tmp_path / ".vm").iterdir()] == ["r2"]
    second.remove()
    assert not (tmp_path / ".vm").exists()


def parts_of(count: int, *, repeat: int = 1, seed: int = 3) -> list[tuple[str, int, int, tuple[str, ...]]]:
    hosts = [f"h{index}" for index in range(count)]
    parts = spread(replace(EXPERIMENT, seed=seed), engine="twin", repeat=repeat, hosts=hosts, run_id="r")
    assert [part.job for part in parts] == [f"r-{index}" for index in range(len(parts))]
    return [(part.host, part.seed, part.seeds, part.cells) for part in parts]


def test_records_of_several_clients_come_and_go_at_once(tmp_path: Path) -> None:
    def come_and_go(number: int) -> None:
        for _ in range(50):
            folder_of(tmp_path, run_on("tb1", id=run_id(number))).remove()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, range(1, 5)))
    assert list(tmp_path.iterdir()) == []


def test_one_machine_runs_all_cells_and_all_seeds() -> None:
    assert parts_of(1) == [("h0", 3, 1, ())]
    assert parts_of(1, repeat=4) == [("h0", 3, 4, ())]


@pytest.mark.parametrize("count", [2, 5])
def test_cells_are_spread_and_a_machine_without_a_cell_has_no_part(count: int) -> None:
    parts = parts_of(count)
    assert [host for host, *_ in parts] == ["h0", "h1"]
    assert sorted(cell for *_, cells in parts for cell in cells) == [one.id for one in EXPERIMENT.cells()]
    assert all(seed == 3 and seeds == 1 for _, seed, seeds, _ in parts)


def test_whole_seeds_are_spread_when_there_are_several() -> None:
    assert parts_of(3, repeat=7) == [("h0", 3, 3, ()), ("h1", 6, 2, ()), ("h2", 8, 2, ())]
    assert parts_of(4, repeat=2) == [("h0", 3, 1, ()), ("h1", 4, 1, ())]


def test_what_is_not_done_is_given_to_other_machines_in_turn() -> None:
    parts = run_on("a", "b", "c", "d").parts
    states = ("fetched", "started", "new", "started")
    parts = tuple(replace(part, state=state) for part, state in zip(parts, states, strict=True))  # type: ignore[arg-type]
    again = reassign(parts, ["x", "d", "y"])
    assert [(part.host, part.state) for part in again] == [
        ("a", "fetched"),
        ("x", "new"),
        ("d", "new"),
        ("d", "started"),
    ]
    assert [part.job for part in again] == [part.job for part in parts]


def test_the_record_is_json_that_says_what_runs_where(tmp_path: Path) -> None:
    folder: RunFolder = folder_of(tmp_path, run_on("tb1"))
    record = json.loads((folder.directory / "run.json").read_text(encoding="utf-8"))
    assert record["experiment"]["name"] == "tiny"
    assert record["parts"][0]["host"] == "tb1"


def test_who_becomes_the_client_reads_the_record_anew(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, run_on("tb1"))
    stale = find(tmp_path, None)
    folder.set_part(0, replace(folder.run.parts[0], state="fetched"))
    with held(stale) as mine:
        assert mine.run.parts[0].state == "fetched"
