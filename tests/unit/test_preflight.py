from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import PreflightError
from testbed.run import preflight
from testbed.run.preflight import Binary, Need

OLD_TOOL = """#!/bin/sh
echo "tool version 1.9.2"
"""


def tool(minimum: str, need: Need = "emulation") -> Binary:
    return Binary(
        name="tb-tool",
        args=("--version",),
        version=r"version (\d[\d.]*)",
        minimum=minimum,
        need=need,
        meaning="does something",
        package="tb-tools",
    )


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(directory: Path) -> None:
    script = directory / "tb-tool"
    script.write_text(OLD_TOOL, encoding="ascii")
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("minimum", "need", "status"),
    [("1.9", "emulation", "ok"), ("1.10", "emulation", "missing"), ("1.10", "comfort", "limited")],
)
def test_probe_binary_compares_versions_by_number(path: Path, minimum: str, need: Need, status: str) -> None:
    install(path)
    found = preflight.probe_binary(tool(minimum, need))
    assert (found.found, found.status) == ("1.9.2", status)


def test_probe_binary_that_is_not_installed_is_missing_with_remedy(path: Path) -> None:
    found = preflight.probe_binary(tool("1.0"))
    assert (found.found, found.status, found.remedy) == (
        "not installed",
        "missing",
        "apt-get install tb-tools",
    )


def test_require_with_nothing_on_the_path_names_all_that_is_missing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_which", lambda name: None)
    with pytest.raises(PreflightError) as caught:
        preflight.require("emulation")
    for name in ("mininet", "open vswitch", "ethtool", "ip:"):
        assert name in str(caught.value)
    assert "apt-get install mininet" in caught.value.remedy
    assert caught.value.exit_code == 3


def test_require_without_root_names_root_and_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(preflight, "_succeeds", lambda *_: False)
    with pytest.raises(PreflightError, match="root: no") as caught:
        preflight.require("emulation")
    assert "--engine twin" in caught.value.remedy
