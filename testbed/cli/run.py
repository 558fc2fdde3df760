"""`tb run`: an experiment, from its script to its saved result."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.output import JsonOption, print_json, table_width
from testbed.errors import Interrupted

if TYPE_CHECKING:
    from testbed.run.assemble import RunOutcome
    from testbed.spec.experiment import Experiment

EPILOG = (
    "[bold]Keys of --set[/]  records, seed, switch, switch.SETTING, nics, sizes, scenarios, variants, topology, "
    "topology.PARAMETER, failures, control.SETTING, controller, SCENARIO.load, ...; an unknown key lists the nearest."
)


class Engine(StrEnum):
    """What executes the model."""

    emulation = "emulation"
    twin = "twin"


ExperimentArgument = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT", help="A name in experiments/, the path of a script, or of a result's spec.json."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one field; may be repeated."),
]
EngineOption = Annotated[
    Engine, typer.Option(help="emulation: real frames on Mininet, then the twin; twin: the twin alone.")
]
ControllerOption = Annotated[
    str | None,
    typer.Option(
        metavar="static|ryu|os-ken|FILE",
        help="Who programs the switches: an application (.py) needs real frames; a dump (.json) has tables only.",
    ),
]
SeedOption = Annotated[int | None, typer.Option(min=0, help="The seed of all randomness.")]
RepeatOption = Annotated[int, typer.Option(min=1, help="Run with this many seeds, from the seed on.")]
OutOption = Annotated[Path | None, typer.Option(help="Where results go: OUT/EXPERIMENT/TIME-ID/.")]
SnapOption = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Send only the headers and this much of each payload.")
]


def run(
    experiment: ExperimentArgument = "quickstart",
    overrides: SetOption = None,
    engine: EngineOption = Engine.emulation,
    controller: ControllerOption = None,
    seed: SeedOption = None,
    repeat: RepeatOption = 1,
    out: OutOption = None,
    snap: SnapOption = None,
    cells: Annotated[
        str | None,
        typer.Option(
            metavar="ID[,ID...]", help="Only these cells, each as in a run of all; ids as in summary.json."
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print no report: it is in the result, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run an experiment: measure, show, save. Without an argument, the quickstart.

    [bold]Examples[/]

      ./tb run

      ./tb run quickstart --engine twin --set topology.leaves=8 --set sizes=4KiB

      ./tb run switch_shootout --engine twin --set variants=tomahawk5,spectrum4

      ./tb run quickstart --seed 3 --repeat 5 --json > runs.json

      ./tb run results/quickstart/TIME-ID/spec.json --seed 7

      ./tb run quickstart --engine twin --cells load-4KiB-rdma,load-4KiB-transparent

      ./tb run quickstart --controller my_app.py

      ./tb run quickstart --engine twin --controller results/quickstart/TIME-ID/tables.json
    """
    from testbed.run.loader import load_experiment, results_dir

    adjusted = adjust(load_experiment(experiment), overrides, seed=seed, snap=snap, controller=controller)
    wanted = list(with_seeds(adjusted, repeat))
    target = out or results_dir()
    only = None if cells is None else tuple(filter(None, (one.strip() for one in cells.split(","))))
    prepare(wanted[-1], engine, target, only)  # they differ in the seed alone, and the last is the largest
    outcomes = [_execute(one, engine, target, only, quiet=quiet or as_json) for one in wanted]
    if as_json or not quiet:
        _show_together(outcomes, as_json=as_json)


def show(outcomes: Sequence[RunOutcome], *, as_json: bool) -> None:
    """Print what runs of an experiment found that were not watched: each, and all together."""
    for outcome in () if as_json else outcomes:
        _show_report(outcome)
    _show_together(outcomes, as_json=as_json)


def run_json(outcome: RunOutcome) -> dict[str, Any]:
    """What `--json` prints of one run: its summary.json, and where it is."""
    from testbed.spec.codec import to_dict

    return {**to_dict(outcome.summary), "directory": str(outcome.directory)}


def repeats_json(outcomes: Sequence[RunOutcome]) -> dict[str, Any]:
    """What `--json` prints of several: each run, and what they say together."""
    from testbed.analysis.summary import summarise_repeats
    from testbed.spec.codec import to_dict

    together = to_dict(summarise_repeats([outcome.summary for outcome in outcomes]))
    return {**together, "runs": [run_json(outcome) for outcome in outcomes]}


def _show_report(outcome: RunOutcome) -> None:
    from testbed.report.text import report_text, saved_text

    name = str(outcome.summary.experiment)
    typer.echo(report_text(outcome.summary, result=name, width=table_width()), nl=False)
    typer.echo(saved_text(str(outcome.directory)))


def _show_together(outcomes: Sequence[RunOutcome], *, as_json: bool) -> None:
    """What is said once of all runs: as JSON everything, else how several differ."""
    from testbed.analysis.summary import summarise_repeats
    from testbed.report.text import repeat_table

    if as_json:
        print_json(repeats_json(outcomes) if len(outcomes) > 1 else run_json(outcomes[0]))
        return
    if len(outcomes) == 1:
        return
    runs = [outcome.summary for outcome in outcomes]
    typer.echo(repeat_table(runs, summarise_repeats(runs), width=table_width()))


def prepare(experiment: Experiment, engine: Engine, out: Path, only: Collection[str] | None = None) -> None:
    """Refuse, before anything is built, what this machine cannot run; become root where that is needed.

    `only`: ids of the cells that are to be run; None for all.
    """
    from testbed.cli.privilege import become_root
    from testbed.cli.writable import ensure_writable
    from testbed.fabric.capacity import check_capacity
    from testbed.run import preflight
    from testbed.run.cell_run import cell_runs
    from testbed.run.resolve import resolve

    resolved = resolve(experiment)
    runs = cell_runs(resolved, emulated=engine is Engine.emulation, only=only)
    networks = [one for one in resolved.networks if any(run.network is one for run in runs)]
    if engine is Engine.emulation:
        become_root("a run on real frames", otherwise="--engine twin")
        preflight.require("emulation")
        for network in networks:
            check_capacity(network.fabric)
    else:
        preflight.require("twin")
    ensure_writable(out, option="--out")


def adjust(
    base: Experiment,
    overrides: list[str] | None,
    *,
    seed: int | None,
    snap: str | None,
    controller: str | None,
) -> Experiment:
    """An experiment with what the command line changes of it."""
    from testbed.spec.overrides import apply_overrides

    options = {"snap": snap, "controller": controller}
    of_options = [f"{key}={value}" for key, value in options.items() if value is not None]
    adjusted = apply_overrides(base, [*(overrides or []), *of_options])
    return adjusted if seed is None else replace(adjusted, seed=seed)


def with_seeds(experiment: Experiment, repeat: int) -> Iterator[Experiment]:
    """The experiment with each of several seeds, from its own on."""
    return (replace(experiment, seed=experiment.seed + offset) for offset in range(repeat))


def _execute(
    experiment: Experiment, engine: Engine, out: Path, cells: Collection[str] | None, *, quiet: bool
) -> RunOutcome:
    """Run one experiment with a progress view; print its report unless `quiet`."""
    from testbed.cli.progress_view import ProgressView
    from testbed.run.execute import execute

    view = ProgressView()
    with ended_by_signal():
        try:
            outcome = execute(experiment, engine=engine.value, out=out, progress=view, cells=cells)
        finally:
            view.finish()
    if not quiet:
        _show_report(outcome)
    return outcome


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """Make SIGTERM and SIGHUP unwind the run as Ctrl-C does, so that it leaves nothing behind."""

    def unwind(number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        raise Interrupted(f"ended by {name}", remedy="what it had built is removed; ./tb clean checks that")

    before = {number: signal.signal(number, unwind) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
