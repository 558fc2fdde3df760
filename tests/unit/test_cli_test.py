from __future__ import annotations

from pathlib import Path

import pytest

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


def test_path_arguments_are_made_absolute_and_others_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_x.py").touch()
    assert verb._from_root("test_x.py::test_y") == f"{tmp_path / 'test_x.py'}::test_y"
    assert verb._from_root("-x") == "-x"
    assert verb._from_root("units and not slow") == "units and not slow"
