from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from testbed.errors import SpecError
from testbed.run.benchmark import BenchRow, discover

Tb = Callable[..., Result]

SCRIPT = '''"""Counts to three."""
from testbed.run.benchmark import BenchRow

def run(quick):
    return [BenchRow(name="count", unit="1/s", median=3.0 if quick else 30.0, low=2.0, high=40.0)]
'''


def row(**changes: object) -> BenchRow:
    values: dict[str, object] = {"name": "n", "unit": "u", "median": 8.0, "low": 7.0, "high": 9.0}
    return BenchRow(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (None, None),
        ("median >= 8", True),
        ("median >= 8.1", False),
        ("median <= 8", True),
        ("ratio >= 0.8", False),
        ("ratio <= 1.5", True),
    ],
)
def test_bench_row_judges_its_target(target: str | None, met: bool | None) -> None:
    assert row(target=target, ratio=0.5).met is met


@pytest.mark.parametrize("target", ["fast", "median > 8", "ratio >= 0.8"])
def test_bench_row_target_that_cannot_be_judged_raises(target: str) -> None:
    with pytest.raises(SpecError, match="cannot be judged"):
        row(target=target)


def test_discover_finds_scripts_by_name_and_runs_them(tmp_path: Path) -> None:
    (tmp_path / "bench_count.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "helper.py").write_text("raise SystemExit", encoding="utf-8")
    (found,) = discover(tmp_path)
    assert (found.name, found.description) == ("count", "Counts to three.")
    assert [one.median for one in found.run(True) + found.run(False)] == [3.0, 30.0]


def test_bench_of_an_unknown_name_exits_2(tb: Tb) -> None:
    result = tb("bench", "no_such_benchmark")
    assert result.exit_code == 2
    assert "unknown benchmark" in result.stderr


def test_bench_finds_its_own_tree_beside_an_installed_package_of_that_name(
    tmp_path: Path, repository: Path
) -> None:
    """Some package installs its tests as `tests`."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "testbed.cli", "bench", "nothing"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{repository}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "unknown benchmark 'nothing'" in done.stderr
