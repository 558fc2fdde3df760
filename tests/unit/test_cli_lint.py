from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from testbed.cli import lint
from testbed.cli.lint import Check


def tree(root: Path) -> None:
    for name in ("testbed/a.cpp", "testbed/a.hpp", "nic_emulator/b.cpp", "elsewhere/c.cpp"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()


def test_cpp_files_are_those_of_the_rooms(tmp_path: Path) -> None:
    tree(tmp_path)
    names = [str(path.relative_to(tmp_path)) for path in lint.cpp_files(tmp_path)]
    assert names == ["nic_emulator/b.cpp", "testbed/a.cpp", "testbed/a.hpp"]


def test_write_commands_gives_each_source_the_flags_of_the_extension(tmp_path: Path) -> None:
    tree(tmp_path)
    build = tmp_path / lint.COMPILE_COMMANDS
    build.parent.mkdir(parents=True)
    command = "c++ -DX='a b' -O3 -std=c++20 -o CMakeFiles/_engine.dir/u.o -c CMakeFiles/_engine.dir/u.cxx"
    build.write_text(json.dumps([{"file": "u.cxx", "command": command}]), encoding="utf-8")
    sources = [str(tmp_path / "nic_emulator/b.cpp"), str(tmp_path / "testbed/a.cpp")]
    assert lint.write_commands(tmp_path) == sources
    written = json.loads((tmp_path / lint.EACH_SOURCE).read_text(encoding="utf-8"))
    assert [entry["file"] for entry in written] == sources
    assert written[0]["arguments"] == ["c++", "-DX=a b", "-O3", "-std=c++20", "-c", sources[0]]


def test_write_commands_before_a_build_gives_none(tmp_path: Path) -> None:
    tree(tmp_path)
    assert lint.write_commands(tmp_path) == []


def test_checks_with_fix_change_files_and_without_do_not(tmp_path: Path) -> None:
    tree(tmp_path)
    look = {check.name: check.commands for check in lint.checks(tmp_path, fix=False)}
    mend = {check.name: check.commands for check in lint.checks(tmp_path, fix=True)}
    assert "--check" in look["ruff format"][0]
    assert "--check" not in mend["ruff format"][0]
    assert "--dry-run" in look["clang-format"][0]
    assert "-i" in mend["clang-format"][0]
    assert "--fix" in mend["ruff check"][0]


def test_run_check_with_one_failing_command_fails_and_prints_its_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (sys.executable, "-c", "print('fine')")
    bad = (sys.executable, "-c", "print('line 3: wrong'); raise SystemExit(1)")
    assert not lint.run_check(Check(name="tool", commands=(good, bad)), tmp_path)
    output = capsys.readouterr().out
    assert "failed" in output
    assert "line 3: wrong" in output
    assert "fine" not in output


def test_run_check_with_all_commands_good_succeeds(tmp_path: Path) -> None:
    assert lint.run_check(Check(name="tool", commands=((sys.executable, "-c", ""),)), tmp_path)
