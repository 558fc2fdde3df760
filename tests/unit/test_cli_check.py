from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from typer.testing import Result

from testbed.cli import privilege
from testbed.run import preflight
from testbed.run.preflight import Finding, Need, Status

Tb = Callable[..., Result]


@pytest.fixture(autouse=True)
def tries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `tb check` would become root for, where it can."""
    asked: list[str] = []
    monkeypatch.setattr(privilege, "can_be_root", lambda: True)
    monkeypatch.setattr(privilege, "become_root", asked.append)
    return asked


def finding(name: str, status: Status, need: Need) -> Finding:
    return Finding(
        name=name, found="?", minimum="1", status=status, need=need, meaning="m", remedy=f"get {name}"
    )


@pytest.mark.parametrize(
    ("status", "need", "code"),
    [
        ("ok", "twin", 0),
        ("missing", "twin", 3),
        ("missing", "emulation", 3),
        ("limited", "emulation", 0),
        ("limited", "comfort", 0),
    ],
)
def test_check_exit_code_tells_whether_something_needed_is_missing(
    tb: Tb, monkeypatch: pytest.MonkeyPatch, status: Status, need: Need, code: int
) -> None:
    monkeypatch.setattr(preflight, "check_machine", lambda: (finding("thing", status, need),))
    result = tb("check", "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["ready"] is (code == 0)


def test_check_as_text_gives_the_remedy_of_what_is_not_ok(tb: Tb, monkeypatch: pytest.MonkeyPatch) -> None:
    found = (finding("good", "ok", "twin"), finding("bad", "missing", "emulation"))
    monkeypatch.setattr(preflight, "check_machine", lambda: found)
    result = tb("check")
    assert "bad: get bad" in result.stdout
    assert "good: get good" not in result.stdout


def test_check_looks_as_root_where_it_can(tb: Tb, tries: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "check_machine", lambda: (finding("thing", "ok", "twin"),))
    assert tb("check").exit_code == 0
    assert tries == ["trying what root may do"]
    monkeypatch.setattr(privilege, "can_be_root", lambda: False)
    assert tb("check").exit_code == 0
    assert len(tries) == 1


def test_check_of_this_machine_reports_every_probe(tb: Tb) -> None:
    names = {row["name"] for row in json.loads(tb("check", "--json").stdout)["findings"]}
    assert {"python", "engine", "root", "mininet", "open vswitch", "ip", "tshark", "SCHED_FIFO"} <= names
