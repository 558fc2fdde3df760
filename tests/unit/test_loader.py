from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed.errors import SpecError
from testbed.run.loader import EXPERIMENTS_DIR, describe_experiment, experiment_names, load_experiment
from testbed.spec.codec import to_dict

SCRIPT = '''"""Does it work?

More.
"""
from testbed.spec.experiment import Experiment, Scenario

EXPERIMENT = Experiment(
    name="tiny", question="?", topology="single_switch", topology_parameters={}, switch="tomahawk5",
    nics=("transparent",), sizes_bytes=(4096,), scenarios=(Scenario(name="idle", kind="idle"),),
    records=10, emulated_records=1,
)
'''


def script(directory: Path, text: str, name: str = "tiny.py") -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def test_load_experiment_by_path_returns_its_experiment(tmp_path: Path) -> None:
    assert load_experiment(str(script(tmp_path, SCRIPT))).name == "tiny"


def test_load_experiment_by_name_looks_in_the_directory(tmp_path: Path) -> None:
    script(tmp_path, SCRIPT)
    assert load_experiment("tiny", tmp_path).name == "tiny"


def test_load_experiment_twice_imports_the_script_anew(tmp_path: Path) -> None:
    path = script(tmp_path, SCRIPT)
    load_experiment(str(path))
    script(tmp_path, SCRIPT.replace('"tiny"', '"other-one"'))
    assert load_experiment(str(path)).name == "other-one"


def test_describe_experiment_is_its_first_docstring_line(tmp_path: Path) -> None:
    script(tmp_path, SCRIPT)
    assert describe_experiment("tiny", tmp_path) == "Does it work?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "defines no EXPERIMENT"),
        ("EXPERIMENT = 3\n", "defines EXPERIMENT as a int"),
        ("x = \n", "line 1: SyntaxError"),
        ("x = 1\nEXPERIMENT = Experiment()\n", "line 2: NameError"),
        ("import no_such_module\n", "line 1: ModuleNotFoundError"),
        ("x = 1 / 0\n", "line 1: ZeroDivisionError"),
    ],
)
def test_load_experiment_of_a_wrong_script_raises_spec_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_experiment(str(script(tmp_path, text)))
    assert message in str(caught.value)
    assert "tiny.py" in str(caught.value)


def test_load_experiment_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    script(tmp_path, SCRIPT, "incast_sweep.py")
    with pytest.raises(SpecError, match="did you mean 'incast_sweep'"):
        load_experiment("incast_swep", tmp_path)


@pytest.mark.parametrize("reference", ["no/such/script.py", "/tmp", "./x"])
def test_load_experiment_missing_path_raises_spec_error(reference: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        load_experiment(reference, tmp_path)


@pytest.mark.parametrize("name", experiment_names())
def test_every_experiment_of_the_tree_loads_and_has_at_most_60_lines(name: str) -> None:
    assert load_experiment(name).cells()
    assert describe_experiment(name)
    assert len((EXPERIMENTS_DIR / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 60


# ------------------------------------------------------------------------------------------------- saved specs


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The spec of a result, as it is saved."""
    path = tmp_path / "result" / "spec.json"
    path.parent.mkdir()
    path.write_text(json.dumps(to_dict(load_experiment("switch_shootout"))), encoding="utf-8")
    return path


def test_load_experiment_of_a_saved_spec_is_what_was_saved(saved: Path) -> None:
    assert load_experiment(str(saved)) == load_experiment("switch_shootout")
    assert load_experiment(str(saved.parent)) == load_experiment("switch_shootout")


def test_load_experiment_by_name_is_not_a_directory_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quickstart").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_experiment("quickstart").name == "quickstart"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "spec.json: schema_version is 2, this program reads 1"),
        ({"schema_version": None}, "spec.json: schema_version is None"),
        ({"records": "many"}, "spec.json: records: 'many' does not fit"),
        ({"recrods": 3}, "spec.json: recrods: unknown field 'recrods'; did you mean 'records'?"),
    ],
)
def test_load_experiment_of_a_spec_that_does_not_fit_says_why(
    saved: Path, change: dict[str, object], message: str
) -> None:
    saved.write_text(json.dumps({**json.loads(saved.read_text()), **change}), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_experiment(str(saved))
    assert message in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"name": ', "is no JSON: "),
        (b"\xff\xfe{", "is no JSON: "),
        (b"[" * 100_000, "is no JSON: "),
        (b"[]", "holds no experiment"),
        (b'{"schema_version": 1, "experiment": "tiny", "cells": []}', "holds no experiment"),
    ],
)
def test_load_experiment_of_what_is_no_spec_says_so(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "spec.json"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_experiment(str(path))
    assert message in str(caught.value)
    assert caught.value.remedy == "give the spec.json of a result, or the directory of a result"


@pytest.mark.parametrize("reference", ["gone/spec.json", "gone.json"])
def test_load_experiment_of_a_spec_that_is_not_there_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="No such file"):
        load_experiment(reference)
