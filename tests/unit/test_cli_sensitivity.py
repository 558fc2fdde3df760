"""`tb sensitivity`: wrong input ends with 2 before anything runs; the whole of it once, small."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from testbed.cli.sensitivity import parse_quantile
from testbed.errors import SpecError
from testbed.run import sensitivity

Tb = Callable[..., Result]
SMALL = ("quickstart", "--scenario", "idle", "--size", "64B", "--records", "2000")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("quickstarr",), "quickstart"),
        (("quickstart", "--only", "no_such_thing"), "no_such_thing"),
        (("quickstart", "--quantile", "p100"), "p100"),
        (("quickstart", "--quantile", "0"), "p0"),
        (("quickstart", "--quantile", "often"), "percentile"),
        (("quickstart", "--quantile", "p99.9", "--records", "2000"), "--records"),
        (("quickstart", "--records", "5"), "--records"),
        (("quickstart", "--scenario", "storm"), "storm"),
        (("quickstart", "--size", "big"), "big"),
        (("quickstart", "--set", "nonsense=1"), "nonsense"),
    ],
)
def test_wrong_input_ends_with_2_before_anything_runs(
    tb: Tb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    monkeypatch.setattr(sensitivity, "run_study", lambda *_, **__: pytest.fail("it ran"))
    found = tb("sensitivity", *arguments, "--out", str(tmp_path / "out"))
    assert found.exit_code == 2, found.output
    assert told in found.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("text", "ppm"), [("p99.9", 999_000), ("99", 990_000), ("50%", 500_000)])
def test_quantile_is_read_with_and_without_its_letter(text: str, ppm: int) -> None:
    assert parse_quantile(text) == ppm


@pytest.mark.parametrize("text", ["", "p", "p101", "-1", "p0", "99.99999"])
def test_quantile_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_quantile(text)


def test_result_is_saved_whole_and_printed_as_json(tb: Tb, tmp_path: Path) -> None:
    found = tb("sensitivity", *SMALL, "--only", "card_", "--json", "--out", str(tmp_path))
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    directory = Path(said["directory"])
    assert directory.parent == tmp_path / "quickstart"
    assert directory.name.startswith("sensitivity-")
    names = {path.name for path in directory.iterdir()}
    assert names == {"spec.json", "metadata.json", "sensitivity.json", "report.txt", "figures"}
    saved = json.loads((directory / "sensitivity.json").read_text(encoding="utf-8"))
    assert {**saved, "directory": said["directory"], "figures": said["figures"]} == said
    assert [one["path"] for one in said["parameters"]] == [
        "transparent.send.card_read.latency",
        "transparent.receive.card_write.latency",
    ]
    assert {Path(path).name for path in said["figures"]} == {
        path.name for path in (directory / "figures").iterdir()
    }
    assert said["groups"][0]["quantile_ppm"] == 990_000  # 2,000 messages state no p99.9


def test_text_has_table_and_where_the_result_is(tb: Tb, tmp_path: Path) -> None:
    found = tb("sensitivity", *SMALL, "--only", "card_read", "--out", str(tmp_path))
    assert found.exit_code == 0, found.output
    assert "transparent.send.card_read.latency" in found.stdout
    assert "125 … 500 ns" in found.stdout
    assert "tornado-idle-64B.png" in found.stdout
