from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from testbed.cli.results import find_result
from testbed.errors import SpecError

Tb = Callable[..., Result]

ASSUMPTION = {
    "path": "nic.transparent.rx",
    "value": 250_000,
    "unit": "ps",
    "mark": "assumed",
    "source": "nobody says",
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name in (
        "20260101T000000Z-aaaaaaaa",
        "20260102T000000Z-00000000",
        ".20260103T000000Z-ffffffff.partial",
    ):
        directory = tmp_path / "quick" / name
        directory.mkdir(parents=True)
        (directory / "summary.json").write_text(json.dumps({"assumptions": [ASSUMPTION]}), encoding="utf-8")
    return tmp_path


def test_find_result_by_experiment_name_is_the_newest_whole_one(results: Path) -> None:
    assert find_result("quick", root=results).name == "20260102T000000Z-00000000"


def test_find_result_by_path_is_that_directory(results: Path) -> None:
    directory = results / "quick" / "20260101T000000Z-aaaaaaaa"
    assert find_result(str(directory), root=results) == directory


def test_find_result_that_is_not_there_raises_spec_error(results: Path) -> None:
    with pytest.raises(SpecError, match="no result at slow"):
        find_result("slow", root=results)


def test_assumptions_as_json_are_those_of_the_summary(tb: Tb, results: Path) -> None:
    found = json.loads(tb("assumptions", str(results / "quick"), "--json").stdout)
    assert found["assumptions"] == [ASSUMPTION]
    assert found["result"].endswith("20260102T000000Z-00000000")


def test_assumptions_as_text_count_and_name_them(tb: Tb, results: Path) -> None:
    text = tb("assumptions", str(results / "quick")).stdout
    assert "rests on 1 assumed or estimated value\n" in text
    assert "nic.transparent.rx" in text
    assert "nobody says" in text


@pytest.mark.parametrize("content", ["{", "[]"])
def test_assumptions_of_a_broken_summary_exit_2(tb: Tb, tmp_path: Path, content: str) -> None:
    (tmp_path / "summary.json").write_text(content, encoding="utf-8")
    result = tb("assumptions", str(tmp_path))
    assert result.exit_code == 2
    assert "summary.json" in result.stderr


def test_plot_of_a_missing_result_exits_2(tb: Tb, tmp_path: Path) -> None:
    result = tb("plot", str(tmp_path / "nothing"))
    assert result.exit_code == 2
    assert "no result at" in result.stderr
