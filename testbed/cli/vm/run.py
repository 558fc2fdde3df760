"""`tb vm run`, `attach`, `runs`, `stop`: experiments on other machines, with results here."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli.output import JsonOption, print_error, print_json, stdout, table
from testbed.cli.run import (
    EPILOG,
    ControllerOption,
    Engine,
    EngineOption,
    ExperimentArgument,
    OutOption,
    RepeatOption,
    SeedOption,
    SetOption,
    SnapOption,
    adjust,
    ended_by_signal,
    show,
    with_seeds,
)
from testbed.cli.vm.run_list import runs_json
from testbed.errors import Interrupted, PreflightError, RemoteError, SpecError, TestbedError

if TYPE_CHECKING:
    from testbed.run.assemble import RunOutcome
    from testbed.spec.experiment import Experiment
    from testbed.vm.runs.connections import Connections
    from testbed.vm.runs.record import Run, RunFolder
    from testbed.vm.runs.session import Session
    from testbed.vm.target import Target

__all__ = ["EPILOG", "attach", "run", "runs", "stop"]

RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN", help="Its id, or how it begins; ./tb vm runs lists them.  \\[default: the newest]"
    ),
]
HostsOption = Annotated[
    str | None, typer.Option(metavar="A,B,C", help="Several machines, which share the work.")
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
    host: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            help="A machine of ./tb vm list, or \\[user@]host[:port].  \\[default: the one that runs here]",
        ),
    ] = None,
    hosts: HostsOption = None,
    identity: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The only private key to use.")
    ] = None,
    host_key: Annotated[
        str | None, typer.Option("--host-key", metavar="SHA256:...", help="Trust only this host key.")
    ] = None,
    directory: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where the project's tree is, or is to be, there.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once it runs; ./tb vm attach follows.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave what the run wrote there, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run an experiment on another machine: send this tree, run, follow, and bring the result here.

    [bold]Examples[/]

      ./tb vm run

      ./tb vm run quickstart --engine twin --host ann@lab3

      ./tb vm run switch_shootout --hosts tb1,tb2,tb3

      ./tb vm run quickstart --repeat 8 --hosts lab3,lab4 --detach
    """
    from testbed.cli.writable import ensure_writable
    from testbed.run.loader import load_experiment, results_dir
    from testbed.vm.machines import targets_of
    from testbed.vm.runs.plan import plan
    from testbed.vm.runs.record import create, held

    _require_tree()
    adjusted = adjust(load_experiment(experiment), overrides, seed=seed, snap=snap, controller=controller)
    _check(adjusted, engine, repeat)
    target = out or results_dir()
    for place in (target, target / adjusted.name):
        ensure_writable(place, option="--out")
    if directory is not None and not directory.strip():
        raise SpecError("--directory is empty", remedy="name a directory there, or leave the option out")
    targets = targets_of(_hosts(host, hosts), identity=identity, directory=directory)
    begun, files = plan(
        adjusted,
        engine=engine.value,
        repeat=repeat,
        hosts=[one.name for one in targets],
        identity=str(identity.absolute()) if identity else "",
        directory=directory or "",
        host_key=host_key or "",
        keep=keep,
    )
    used = [one for one in targets if one.name in begun.hosts]
    if idle := [one.name for one in targets if one.name not in begun.hosts]:
        _tell(f"not used, since there is no more to share: {', '.join(idle)}")
    with (
        _before_it_begins(),
        _connected(used, host_key) as connections,
        held(create(target, begun, files)) as folder,
        _left_going(folder, is_new=True),
    ):
        results = _go_on(folder, connections, detach=detach, as_json=as_json)
    _show(results, as_json=as_json)


def attach(
    run: RunArgument = None,
    hosts: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C", help="Use only these machines: what others have not done begins again here."
        ),
    ] = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pick up a run on other machines: follow it to its end, and bring its result here.

    [bold]Examples[/]

      ./tb vm attach

      ./tb vm attach 20260131T --hosts tb2
    """
    from testbed.run.loader import results_dir
    from testbed.vm.runs.record import find, held
    from testbed.vm.runs.spread import reassign

    with held(find(out or results_dir(), run)) as folder:
        if hosts is not None:
            targets = _targets_of(folder.run, _hosts(None, hosts))
            for part in folder.run.parts:
                if part.state == "started" and part.host not in [one.name for one in targets]:
                    _tell(f"{part.host}: what was begun there, job {part.job}, is left to itself")
            folder.save(replace(folder.run, parts=reassign(folder.run.parts, [one.name for one in targets])))
        with _left_going(folder, is_new=False), _reconnected(folder) as connections:
            _remove_fetched(folder)
            results = _go_on(folder, connections, detach=False, as_json=as_json)
    _show(results, as_json=as_json)


def runs(out: OutOption = None, as_json: JsonOption = False) -> None:
    """List the runs on other machines whose results are not here yet.

    [bold]Examples[/]

      ./tb vm runs
    """
    from testbed.run.loader import results_dir
    from testbed.vm.runs.record import unfinished

    found = runs_json(unfinished(out or results_dir()))
    rows = found["runs"]
    if as_json:
        print_json(found)
    elif not rows:
        typer.echo("no run on another machine is unfinished")
    else:
        cells = [
            (row["run"], row["experiment"], ", ".join(row["machines"]), row["state"], row["since"])
            for row in rows
        ]
        columns = ["run", "experiment", "machines", "state", "since"]
        stdout().print(table(columns, cells), markup=False, highlight=False)


def stop(run: RunArgument = None, out: OutOption = None) -> None:
    """End a run on other machines, remove what it made there, and forget it.

    [bold]Examples[/]

      ./tb vm stop
    """
    from testbed.run.loader import results_dir
    from testbed.vm.runs.record import find, held, is_held

    folder = find(out or results_dir(), run)
    try:
        if is_held(folder.directory):
            # Who follows it sees it end, and removes what there is to remove.
            with _reconnected(folder) as connections:
                _session(folder, connections).end_jobs()
        else:
            with held(folder) as mine, _reconnected(mine) as connections:
                _remove_fetched(mine)
                _session(mine, connections).stop()
    except TestbedError as error:
        error.remedy += f"; if that machine is gone for good, remove {folder.directory}"
        raise
    _tell(f"stopped {folder.run.id}")


# ------------------------------------------------------------------------------------------------- before


def _require_tree() -> None:
    from testbed.run.loader import ROOT

    if not (ROOT / "tb").is_file():
        raise PreflightError(
            "the testbed is installed without its tree, and the tree is what other machines need",
            remedy="use ./tb of a checkout",
        )


def _check(experiment: Experiment, engine: Engine, repeat: int) -> None:
    """Refuse what no machine could run, before any is asked."""
    from testbed.run.cell_run import cell_runs
    from testbed.run.resolve import resolve

    last = list(with_seeds(experiment, repeat))[-1]
    cell_runs(resolve(last), emulated=engine is Engine.emulation)


def _hosts(host: str | None, hosts: str | None) -> list[str]:
    if host is not None and hosts is not None:
        raise SpecError("--host and --hosts exclude each other", remedy="name all machines with --hosts")
    given = host if hosts is None else hosts
    names = [one.strip() for one in (given or "").split(",") if one.strip()]
    if given is not None and not names:
        raise SpecError("--host and --hosts name no machine", remedy="give a name, or leave the option out")
    return names


# ------------------------------------------------------------------------------------------------- machines


def _targets_of(run: Run, hosts: Sequence[str]) -> list[Target]:
    from testbed.vm.machines import targets_of

    identity = Path(run.identity) if run.identity else None
    return targets_of(hosts, identity=identity, directory=run.directory or None)


def _connected(targets: Sequence[Target], host_key: str | None) -> Connections:
    from testbed.vm.runs.connections import Connections
    from testbed.vm.ssh import Trust

    if host_key and len(targets) > 1:
        raise SpecError(
            "--host-key is of one machine, and these are several",
            remedy="connect to each once with ssh, which notes its host key, or answer the questions on a terminal",
        )
    trust = Trust(host_key=host_key, confirm=_confirm if sys.stdin.isatty() else None)
    return Connections(targets, trust, _tell)


def _reconnected(folder: RunFolder) -> Connections:
    """Connections to the machines that still have something of a run."""
    waiting = list(dict.fromkeys(part.host for part in folder.run.parts if part.state != "fetched"))
    targets = _targets_of(folder.run, waiting) if waiting else []
    return _connected(targets, (folder.run.host_key or None) if len(targets) == 1 else None)


def _remove_fetched(folder: RunFolder) -> None:
    """Remove there what is here already, as a client that was ended in between could not; a lost machine keeps it."""
    run = folder.run
    for part in run.parts:
        if part.state == "fetched" and not part.removed and not run.keep:
            try:
                with _connected(_targets_of(run, [part.host]), run.host_key or None) as connections:
                    connections[part.host].remove(part.job)
            except RemoteError as error:
                _tell(f"{part.host}: job {part.job} is left there: {error}")


def _confirm(question: str) -> bool:
    """By a thread, where Ctrl-C never comes; an end of the input is a no."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False


_telling = threading.Lock()


def _tell(text: str) -> None:
    """A line on stderr, by any thread."""
    with _telling:
        typer.echo(text, err=True)


# ------------------------------------------------------------------------------------------------- the run


def _session(folder: RunFolder, connections: Connections) -> Session:
    from testbed.run.loader import ROOT
    from testbed.vm.runs.session import Session

    return Session(folder, connections, _tell, root=ROOT)


def _go_on(folder: RunFolder, connections: Connections, *, detach: bool, as_json: bool) -> list[Path]:
    """Start what does not run, and unless `detach` follow it and publish its results, which are returned."""
    session = _session(folder, connections)
    session.start()
    if detach:
        _show_detached(folder, as_json=as_json)
        return []
    session.follow()
    return session.publish()


@contextmanager
def _before_it_begins() -> Iterator[None]:
    """Say of an interruption that `_left_going` has not seen that there is nothing to go on with."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted", remedy="no run was begun") from None


@contextmanager
def _left_going(folder: RunFolder, *, is_new: bool) -> Iterator[None]:
    """Say of what ends the client, and not the run, how to go on; forget a run of which nothing has begun."""
    from testbed.vm.runs.session import JobError, picked_up_later

    try:
        with ended_by_signal():
            yield
    except JobError as error:  # ends as the run there did
        print_error(error)
        raise typer.Exit(error.job_exit_code) from error
    except KeyboardInterrupt:
        if folder.directory.exists() and not _forgotten(folder, is_new=is_new):
            hint = (
                f"./tb vm attach {folder.reference} picks the run up, ./tb vm stop {folder.reference} ends it"
            )
            raise Interrupted("interrupted", remedy=hint) from None
        raise Interrupted("interrupted", remedy="what it had built there is removed") from None
    except TestbedError as error:
        if _forgotten(folder, is_new=is_new):
            raise
        raise picked_up_later(error, folder.reference) from error


def _forgotten(folder: RunFolder, *, is_new: bool) -> bool:
    """Remove the record of a run that has not begun anywhere."""
    begun = not is_new or any(part.state != "new" for part in folder.run.parts)
    if not begun:
        folder.remove()
    return not begun


def _show_detached(folder: RunFolder, *, as_json: bool) -> None:
    run = folder.run
    if as_json:
        print_json({"run": run.id, "machines": list(run.hosts)})
    else:
        typer.echo(f"{run.id} runs on {', '.join(run.hosts)}; ./tb vm attach {folder.reference}")


def _show(results: Sequence[Path], *, as_json: bool) -> None:
    """Print of results that have been brought here what a run here would have printed."""
    if results:
        show([_outcome(result) for result in results], as_json=as_json)


def _outcome(result: Path) -> RunOutcome:
    """A result that has been brought here, as a run here would have returned it."""
    from testbed.run.assemble import RunOutcome
    from testbed.run.store import load_result

    text = (result / "report.txt").read_text(encoding="utf-8")
    return RunOutcome(directory=result, summary=load_result(result).summary, text=text)
