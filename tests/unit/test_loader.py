from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import SpecError
from testbed.run.loader import EXPERIMENTS_DIR, describe_experiment, experiment_names, load_experiment

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
