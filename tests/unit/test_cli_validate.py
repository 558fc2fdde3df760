from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import Result

from testbed.cli import validate
from testbed.validate import ORACLES, chosen, runner
from testbed.validate.row import Oracle, Row, worst
from testbed.validate.runner import Finding

Tb = Callable[..., Result]


def row(measured: float, **more: Any) -> Row:
    base: dict[str, Any] = {"oracle": "fec", "case": "400G", "expected": 63.0, "unit": "ns"}
    return Row(measured=measured, **base | {"tolerance": 0.5, "source": "a book"} | more)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Row]], None]:
    """Makes every oracle find these rows, without running anything."""

    def find(rows: Sequence[Row]) -> None:
        def run(
            oracles: Sequence[Oracle], *, quick: bool, report: Callable[[Finding], None]
        ) -> list[Finding]:
            del quick
            findings = [Finding(oracle=oracle.name, rows=tuple(rows), wall_s=0.1) for oracle in oracles]
            for finding in findings:
                report(finding)
            return findings

        monkeypatch.setattr(runner, "run_oracles", run)

    return find


@pytest.mark.parametrize(
    ("relation", "measured", "verdict"),
    [
        ("equal", 63.5, "holds"),
        ("equal", 63.6, "fails"),
        ("equal", 62.4, "fails"),
        ("at_most", 10.0, "holds"),
        ("at_most", 63.6, "fails"),
        ("at_least", 100.0, "holds"),
        ("at_least", 62.4, "fails"),
        ("equal", float("nan"), "fails"),
    ],
)
def test_row_verdict_follows_relation_and_tolerance(relation: str, measured: float, verdict: str) -> None:
    assert row(measured, relation=relation).verdict == verdict


def test_row_difference_is_measured_less_expected() -> None:
    assert row(62.5).difference == -0.5


def test_worst_row_is_the_one_that_fails_or_comes_nearest() -> None:
    near, far, good = row(63.4), row(64.0), row(63.0)
    assert worst([good, near]) is near
    assert worst([near, far, good]) is far
    assert worst([good, row(5.0, relation="at_most"), near]) is near
    assert worst([row(5.0, relation="at_most"), bound := row(62.0, relation="at_most")]) is bound


def test_oracles_are_chosen_by_name_or_subject_and_keep_their_order() -> None:
    assert [oracle.name for oracle in chosen(["fan-out", "forwarding"])] == [
        "cut-through",
        "unloaded",
        "fec",
        "fan-out",
    ]
    assert tuple(oracle.name for oracle in chosen([])) == ORACLES.names()


def test_validate_unknown_name_exits_2_and_suggests(tb: Tb) -> None:
    result = tb("validate", "fanout-")
    assert result.exit_code == 2
    assert "did you mean 'fanout'" in result.stderr


def test_validate_list_names_every_oracle_and_runs_nothing(tb: Tb) -> None:
    result = tb("validate", "--list")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in ORACLES.names())


def test_validate_list_json_has_every_oracle(tb: Tb) -> None:
    listed = json.loads(tb("validate", "--list", "--json").stdout)["oracles"]
    assert [oracle["name"] for oracle in listed] == list(ORACLES.names())
    assert all(oracle["tolerance"] for oracle in listed)


def test_validate_all_hold_exits_0_and_shows_the_worst_case(tb: Tb, found: Callable[..., None]) -> None:
    found([row(63.0), row(63.4, case="800G")])
    result = tb("validate", "fec")
    assert result.exit_code == 0
    assert "800G" in result.stdout
    assert "400G" not in result.stdout
    assert "all hold" in result.stdout


def test_validate_all_option_shows_every_case(tb: Tb, found: Callable[..., None]) -> None:
    found([row(63.0), row(63.4, case="800G")])
    result = tb("validate", "fec", "--all")
    assert "800G" in result.stdout
    assert "400G" in result.stdout


def test_validate_row_that_fails_exits_6_and_is_named(tb: Tb, found: Callable[..., None]) -> None:
    found([row(63.0), row(70.0, case="800G")])
    result = tb("validate", "fec")
    assert result.exit_code == 6
    assert "1 fail" in result.stdout
    assert "fec: 800G: 70, expected 63" in result.stderr


def test_validate_json_is_alone_on_stdout_even_if_a_row_fails(tb: Tb, found: Callable[..., None]) -> None:
    found([row(70.0)])
    result = tb("validate", "fec", "--json", "--quick")
    assert result.exit_code == 6
    printed = json.loads(result.stdout)
    assert (printed["quick"], printed["holds"]) == (True, False)
    assert printed["rows"][0]["difference"] == 7.0
    assert printed["rows"][0]["verdict"] == "fails"


def test_validate_json_is_documented(tb: Tb, found: Callable[..., None], repository: Path) -> None:
    found([row(63.0)])
    text = (repository / "docs" / "json.md").read_text(encoding="utf-8")
    section = text.partition("## `validate`")[2].partition("\n## ")[0]
    printed = json.loads(tb("validate", "fec", "--json").stdout)
    listed = json.loads(tb("validate", "fec", "--list", "--json").stdout)
    keys = {"quick", "holds"} | {f"rows[].{key}" for key in printed["rows"][0]}
    keys |= {f"oracles[].{key}" for key in listed["oracles"][0]}
    assert set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)) == keys


def test_every_oracle_is_documented(repository: Path) -> None:
    text = (repository / "docs" / "validation.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE) == list(ORACLES.names())


def test_validate_progress_is_a_line_per_oracle_off_a_terminal(tb: Tb, found: Callable[..., None]) -> None:
    found([row(63.0)])
    assert "1/1  fec: 1 cases, holds, 0.1 s" in tb("validate", "fec").stderr


def test_table_fits_110_columns_with_long_cases() -> None:
    oracles = chosen(["forwarding", "fan-out"])
    long = row(123_456_789.5, case="a case [of many] words " * 6, expected=123_456_789.25)
    findings = [Finding(oracle=oracle.name, rows=(long,), wall_s=0.0) for oracle in oracles]
    console = Console(width=200, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(validate.findings_table(oracles, findings, every=False), width=validate.WIDTH)
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= validate.WIDTH
    text = " ".join(captured.get().split())
    assert "[of many]" in text
    assert "123,456,789" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234567.0, "1,234,567"), (12345.6, "12,346"), (0.04123456, "0.04123"), (float("inf"), "inf")],
)
def test_number_text(value: float, text: str) -> None:
    assert validate.number(value) == text
