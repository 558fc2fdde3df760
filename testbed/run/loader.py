"""Experiments: scripts, found by name or path and imported by path, that only define `EXPERIMENT`; and saved specs."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from testbed.errors import SpecError
from testbed.registry import unknown_name

if TYPE_CHECKING:
    from testbed.spec.experiment import Experiment

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS_DIR = ROOT / "experiments"

SPEC = "spec.json"
"""What a result keeps of its experiment."""
_KEYS_OF_SPEC = frozenset({"schema_version", "name", "topology", "scenarios"})
_SAVED = "give the spec.json of a result, or the directory of a result"

# What a script can do wrong while it is imported. A spec error inside it is told as it is.
_SCRIPT_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def results_dir() -> Path:
    """Where results go by default: `results/` of the tree, or of the current directory when installed."""
    return (ROOT if (ROOT / "pyproject.toml").is_file() else Path.cwd()) / "results"


def experiment_names(directory: Path = EXPERIMENTS_DIR) -> tuple[str, ...]:
    """The names `tb run` knows: the scripts of `experiments/`."""
    return tuple(sorted(path.stem for path in directory.glob("*.py") if not path.stem.startswith("_")))


def describe_experiment(name: str, directory: Path = EXPERIMENTS_DIR) -> str:
    """The first line of the script's docstring, read without importing the script."""
    try:
        tree = ast.parse((directory / f"{name}.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        return f"(cannot be read: {error})"
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def load_experiment(reference: str, directory: Path = EXPERIMENTS_DIR) -> Experiment:
    """The `EXPERIMENT` of a script, given the path of a .py file or a name in `experiments/`; or a saved one.

    That is the path of a spec.json, or of the result that has it.
    """
    from testbed.spec.experiment import Experiment

    spec = _spec_path(reference)
    if spec is not None:
        return _load_spec(spec)
    path = _script_path(reference, directory)
    module = _import_script(path)
    found = getattr(module, "EXPERIMENT", None)
    if not isinstance(found, Experiment):
        what = "defines no EXPERIMENT" if found is None else f"defines EXPERIMENT as a {type(found).__name__}"
        raise SpecError(
            f"{path}: {what}", remedy="end the script in `EXPERIMENT = Experiment(...)`; see README.md"
        )
    return found


def _spec_path(reference: str) -> Path | None:
    """The file of a saved spec, if one is meant."""
    path = Path(reference)
    if reference.endswith(".json"):
        return path
    is_path = path.name != reference
    return path / SPEC if is_path and (path / SPEC).is_file() else None


def _load_spec(path: Path) -> Experiment:
    """What a result has saved of its experiment."""
    from testbed.spec.codec import from_dict
    from testbed.spec.experiment import Experiment

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror or error}", remedy=_SAVED) from error
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path} is no JSON: {error}", remedy=_SAVED) from error
    if not isinstance(data, dict) or not data.keys() >= _KEYS_OF_SPEC:
        raise SpecError(f"{path} holds no experiment", remedy=_SAVED)
    try:
        return from_dict(Experiment, data)
    except SpecError as error:
        raise SpecError(f"{path}: {error}", remedy=error.remedy) from error


def _script_path(reference: str, directory: Path) -> Path:
    if reference.endswith(".py") or "/" in reference:
        path = Path(reference)
        if path.is_file():
            return path.resolve()
        near = unknown_name("experiment", path.stem, experiment_names(directory))
        raise SpecError(
            f"no experiment script at {reference}", remedy=f"give a path that exists; or {near.remedy}"
        )
    names = experiment_names(directory)
    if reference not in names:
        raise unknown_name("experiment", reference, names)
    return directory / f"{reference}.py"


def _import_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{path} is not a Python script", remedy="give the path of a .py file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except _SCRIPT_ERRORS as error:
        raise SpecError(
            f"{path}: {_where(error, path)}{type(error).__name__}: {error}", remedy="correct the script"
        ) from error
    return module


def _where(error: BaseException, path: Path) -> str:
    """ "line N: " of the script's own frame that raised."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError):
        line = error.lineno
    return f"line {line}: " if line else ""
