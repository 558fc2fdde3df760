from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import Result

from testbed.cli import privilege
from testbed.cli import run as verb
from testbed.cli.writable import ensure_writable
from testbed.errors import FabricError, Interrupted, SpecError
from testbed.fabric import capacity
from testbed.run import preflight
from testbed.spec.codec import to_dict
from testbed.spec.experiment import Experiment
from tests.unit.samples import run_of

Tb = Callable[..., Result]

SCRIPT = '''"""Tiny."""
from testbed.spec.experiment import Experiment, Scenario

EXPERIMENT = Experiment(
    name="tiny", question="?", topology="single_switch", topology_parameters={}, switch="tomahawk5",
    nics=("transparent",), sizes_bytes=(4096,), scenarios=(Scenario(name="idle", kind="idle"),),
    records=10, emulated_records=1,
)
'''


@dataclass
class FakeExecutor:
    """Stands in for `testbed.run.execute`: keeps what it was called with, and answers from it."""

    calls: list[tuple[Experiment, str, Path]] = field(default_factory=list)
    raises: BaseException | None = None
    cells: tuple[str, ...] | None = None

    def execute(
        self,
        experiment: Experiment,
        *,
        engine: str,
        out: Path,
        progress: Any,
        cells: tuple[str, ...] | None,
    ) -> SimpleNamespace:
        self.calls.append((experiment, engine, out))
        self.cells = cells
        progress.start(experiment.records)
        if self.raises is not None:
            raise self.raises
        summary, _ = run_of(n=200, seed=experiment.seed)
        return SimpleNamespace(directory=out / "tiny" / "a", summary=summary)


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> FakeExecutor:
    fake = FakeExecutor()
    module = ModuleType("testbed.run.execute")
    module.execute = fake.execute  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "testbed.run.execute", module)
    monkeypatch.setattr(preflight, "require", lambda need: None)
    monkeypatch.setattr(capacity, "check_capacity", lambda fabric: None)
    monkeypatch.setattr(privilege, "become_root", lambda why, *, otherwise: None)
    return fake


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "tiny.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return str(path)


def test_run_passes_overrides_seed_snap_engine_and_out(
    tb: Tb, executor: FakeExecutor, script: str, tmp_path: Path
) -> None:
    options = (
        "--set",
        "records=77",
        "--seed",
        "5",
        "--snap",
        "1KiB",
        "--engine",
        "twin",
        "--out",
        str(tmp_path),
    )
    result = tb("run", script, *options)
    assert result.exit_code == 0, result.stderr
    ((experiment, engine, out),) = executor.calls
    assert (experiment.records, experiment.seed, experiment.snap_bytes) == (77, 5, 1024)
    assert (engine, out) == ("twin", tmp_path)
    assert "seed 5\n" in result.stdout
    assert f"saved        {tmp_path / 'tiny' / 'a'}\n" in result.stdout


def test_run_with_a_controller_has_it_in_its_experiment(
    tb: Tb, executor: FakeExecutor, script: str, tmp_path: Path
) -> None:
    result = tb("run", script, "--controller", "os-ken", "--out", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert executor.calls[0][0].controller == "os-ken"


@pytest.mark.parametrize(
    ("controller", "problem"),
    [
        ("os_ken", "did you mean 'os-ken'"),
        ("gone.py", "needs real frames, or a dump of its tables"),
        ("gone.json", "there is no such file"),
    ],
)
def test_run_with_a_controller_that_cannot_be_is_one_error_before_anything_runs(
    tb: Tb, executor: FakeExecutor, script: str, tmp_path: Path, controller: str, problem: str
) -> None:
    result = tb("run", script, "--engine", "twin", "--controller", controller, "--out", str(tmp_path))
    assert result.exit_code == 2
    assert problem in result.stderr
    assert result.stderr.count("error: ") == 1
    assert not executor.calls


def test_run_without_engine_is_emulation(tb: Tb, executor: FakeExecutor, script: str, tmp_path: Path) -> None:
    tb("run", script, "--out", str(tmp_path))
    assert executor.calls[0][1] == "emulation"


def test_run_as_json_prints_summary_and_directory_only(
    tb: Tb, executor: FakeExecutor, script: str, tmp_path: Path
) -> None:
    found = json.loads(tb("run", script, "--json", "--out", str(tmp_path)).stdout)
    assert found == {**to_dict(run_of(n=200, seed=1)[0]), "directory": str(tmp_path / "tiny" / "a")}


def test_run_repeated_uses_seeds_in_a_row(
    tb: Tb, executor: FakeExecutor, script: str, tmp_path: Path
) -> None:
    result = tb("run", script, "--seed", "7", "--repeat", "3", "--json", "--out", str(tmp_path))
    assert [run["seed"] for run in json.loads(result.stdout)["runs"]] == [7, 8, 9]


def test_run_repeated_prints_each_report_and_the_table_over_the_seeds(
    tb: Tb, executor: FakeExecutor, script: str, tmp_path: Path
) -> None:
    text = tb("run", script, "--repeat", "2", "--out", str(tmp_path)).stdout
    assert text.count("saved  ") == 2
    assert text.rstrip().endswith("mean over the seeds 1, 2, with its 95 % t-interval")


def test_run_that_fails_tells_error_and_exit_code_and_stdout_stays_empty(
    tb: Tb, executor: FakeExecutor, script: str, tmp_path: Path
) -> None:
    executor.raises = FabricError("the process of switch l1 died", remedy="see its log")
    result = tb("run", script, "--json", "--out", str(tmp_path))
    assert result.exit_code == 4
    assert "error: the process of switch l1 died\nremedy: see its log\n" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "options",
    [
        ("--set", "recrods=1"),
        ("--set", "records"),
        ("--set", "records=many"),
        ("--set", "sizes=4XB"),
        ("--set", "scenarios=lode"),
        ("--set", "switch=tomahawk7"),
        ("--set", "topology.leafs=2"),
        ("--set", "topology=ring"),
        ("--snap", "4 furlongs"),
        ("--out", "/proc/results"),
        ("--out", "/dev/null/results"),
    ],
)
def test_run_bad_option_exits_2_before_anything_runs(
    tb: Tb, executor: FakeExecutor, script: str, tmp_path: Path, options: tuple[str, str]
) -> None:
    where = () if "--out" in options else ("--out", str(tmp_path))
    result = tb("run", script, *options, *where)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "remedy: " in result.stderr
    assert executor.calls == []


def test_sigterm_during_a_run_unwinds_as_interrupted() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM"), verb.ended_by_signal():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_ensure_writable_leaves_no_directory_behind(tmp_path: Path) -> None:
    ensure_writable(tmp_path / "a" / "b", option="--out")
    assert list(tmp_path.iterdir()) == []


def test_ensure_writable_below_a_file_raises(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpecError, match=r"--out .*file/x: cannot be written"):
        ensure_writable(tmp_path / "file" / "x", option="--out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_run_of_chosen_cells_passes_their_ids(
    tb: Tb, executor: FakeExecutor, script: str, tmp_path: Path
) -> None:
    options = ("--engine", "twin", "--out", str(tmp_path), "--set", "sizes=64B,4KiB,9000B")
    result = tb("run", script, *options, "--cells", "idle-9000B-transparent, idle-64B-transparent,")
    assert result.exit_code == 0, result.stderr
    assert executor.cells == ("idle-9000B-transparent", "idle-64B-transparent")
    result = tb("run", script, *options)
    assert result.exit_code == 0, result.stderr
    assert executor.cells is None


@pytest.mark.parametrize(
    ("cells", "problem", "remedy"),
    [
        (
            "idle-4KiB-transparnet",
            "unknown cell 'idle-4KiB-transparnet'; did you mean 'idle-4KiB-transparent'?",
            "write 'idle-4KiB-transparent'",
        ),
        (",", "no cell is chosen", "name at least one of: idle-4KiB-transparent"),
        ("", "no cell is chosen", "name at least one of: idle-4KiB-transparent"),
    ],
)
def test_run_of_cells_that_it_has_not_is_one_error_before_anything_runs(
    tb: Tb, executor: FakeExecutor, script: str, tmp_path: Path, cells: str, problem: str, remedy: str
) -> None:
    result = tb("run", script, "--engine", "twin", "--cells", cells, "--out", str(tmp_path))
    assert result.exit_code == 2
    assert f"error: {problem}" in result.stderr
    assert f"remedy: {remedy}\n" in result.stderr
    assert not executor.calls


def test_run_of_chosen_cells_asks_for_room_for_their_fabrics_alone(
    tb: Tb, executor: FakeExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []
    monkeypatch.setattr(capacity, "check_capacity", lambda fabric: checked.append(len(fabric.endpoints)))
    path = tmp_path / "tiny.py"
    variants = "variants=tuple(Variant(name=f'c{n}', topology_parameters={'cards': n}) for n in (4, 64)),\n)"
    text = SCRIPT.replace("import Experiment, Scenario", "import Experiment, Scenario, Variant")
    path.write_text(f"{text.rstrip().removesuffix(')')}    {variants}\n", encoding="utf-8")
    result = tb("run", str(path), "--cells", "idle-4KiB-transparent-c4", "--out", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert checked == [4]
    assert tb("run", str(path), "--out", str(tmp_path)).exit_code == 0
    assert checked == [4, 4, 64]


def test_run_of_a_saved_spec_is_its_experiment_with_what_the_options_change(
    tb: Tb, executor: FakeExecutor, script: str, tmp_path: Path
) -> None:
    assert tb("run", script, "--engine", "twin", "--seed", "9", "--out", str(tmp_path)).exit_code == 0
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(to_dict(executor.calls[0][0])), encoding="utf-8")
    result = tb("run", str(spec), "--engine", "twin", "--set", "records=33", "--out", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert executor.calls[1][0] == replace(executor.calls[0][0], records=33)
