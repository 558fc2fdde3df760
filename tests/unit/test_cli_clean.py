from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from testbed.cli.clean import clean


@pytest.fixture(autouse=True)
def quiet_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No fabric is here, whoever we are."""
    monkeypatch.setattr("testbed.cli.clean.become_root", lambda _: None)
    monkeypatch.setattr("testbed.fabric.clean.clean", lambda **_: [])
    monkeypatch.setattr("testbed.run.loader.ROOT", tmp_path / "tree")


def old_directory(path: Path) -> Path:
    path.mkdir(parents=True)
    os.utime(path, (0, 0))
    return path


@pytest.mark.parametrize("kind", ["qemu", "images", "vagrant"])
def test_clean_of_results_in_the_tree_itself_leaves_its_machines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Machines of a tree and records of runs both lie in a directory `.vm`."""
    kept = old_directory(tmp_path / ".vm" / kind)
    clean(out=tmp_path, dry_run=False)
    assert capsys.readouterr().out == "nothing was left\n"
    assert kept.is_dir()


def test_clean_removes_what_a_client_has_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = old_directory(tmp_path / ".vm" / "20200101T000000Z-00000000")
    clean(out=tmp_path, dry_run=True)
    assert left.is_dir()
    clean(out=tmp_path, dry_run=False)
    assert not left.exists()
    assert capsys.readouterr().out == "".join(
        f"{verb} record of a finished run {left}\n" for verb in ("would remove", "removed")
    )


def test_clean_removes_what_a_build_of_a_box_has_left_and_none_that_is_under_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    boxes = tmp_path / "tree" / "build" / "box"
    left, under_way = boxes / f".work.{process.pid}.new", boxes / f".work.{os.getpid()}.new"
    (left / "root").mkdir(parents=True)
    under_way.mkdir()
    clean(out=tmp_path / "out", dry_run=True)
    assert left.is_dir()
    clean(out=tmp_path / "out", dry_run=False)
    assert list(boxes.iterdir()) == [under_way]
    assert capsys.readouterr().out == f"would remove unfinished box {left}\nremoved unfinished box {left}\n"
