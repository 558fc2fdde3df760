from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from testbed.cli import test as verb
from testbed.errors import PreflightError
from testbed.run import preflight


def test_what_is_left_out_on_a_machine_without_mininet_names_fabric_and_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(need: str) -> None:
        raise PreflightError("mininet: not installed", remedy="install it")

    monkeypatch.setattr(preflight, "require", refuse)
    assert verb.what_is_left_out()["fabric"] == "mininet: not installed"


def test_what_is_left_out_as_root_on_a_whole_machine_is_not_fabric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "require", lambda need: None)
    monkeypatch.setattr(verb.os, "geteuid", lambda: 0)
    assert "fabric" not in verb.what_is_left_out()


def test_what_is_left_out_always_names_the_command_for_virtual_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight, "require", lambda need: None)
    assert verb.what_is_left_out()["vm"] == "./tb test --vm runs them"


def test_with_vm_what_is_missing_is_an_error_and_nothing_runs(
    tb: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        verb.shutil, "which", lambda name, path: None if name == "slirp4netns" else f"/{name}"
    )
    monkeypatch.setattr(verb.subprocess, "run", lambda *words, **more: pytest.fail(f"ran {words}"))
    result = tb("test", "--vm")
    assert result.exit_code == 3
    assert "not installed: slirp4netns" in result.stderr
    assert "tools/setup.sh box machine vagrant" in result.stderr


def test_with_vm_only_tests_of_that_marker_run(
    tb: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def record(command: list[str], **more: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(verb, "require_for_vm", lambda: None)
    monkeypatch.setattr(verb.subprocess, "run", record)
    result = tb("test", "--vm", "-x")
    assert (result.exit_code, result.stderr) == (0, "")
    assert calls[0][1:] == ["-m", "pytest", "-m", "vm", "-x"]


def test_with_vm_a_choice_by_marker_is_refused(tb: Callable[..., Result]) -> None:
    assert tb("test", "--vm", "-m", "slow").exit_code == 2


def test_path_arguments_are_made_absolute_and_others_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_x.py").touch()
    assert verb._from_root("test_x.py::test_y") == f"{tmp_path / 'test_x.py'}::test_y"
    assert verb._from_root("-x") == "-x"
    assert verb._from_root("units and not slow") == "units and not slow"
