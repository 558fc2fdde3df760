"""`tb capture`: the frames at some ports of the fabric, as a file for Wireshark, with virtual times."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.output import JsonOption, print_json, stdout, table
from testbed.cli.run import EPILOG as RUN_EPILOG
from testbed.cli.run import ControllerOption
from testbed.errors import SpecError

if TYPE_CHECKING:
    from testbed.run.capture_cell import CaptureJob, CaptureOutcome

EPILOG = RUN_EPILOG
RECORDS = 1_000
COLUMNS = ("port", "to", "in>", "out>", "foreign>")


def _install_dissector(wanted: bool) -> None:
    if wanted:
        from testbed.run.dissector import install

        typer.echo(f"installed {install()}; Wireshark and tshark load it from now on")
        raise typer.Exit


def capture(
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="A name in experiments/, or the path of a script.")
    ],
    ports: Annotated[
        list[str], typer.Option("--port", metavar="NODE-ethPORT", help="Where to listen; may be repeated.")
    ],
    cell: Annotated[
        str | None, typer.Option(metavar="CELL", help="Which cell; by default the experiment's first.")
    ] = None,
    records: Annotated[
        int, typer.Option(min=1, help="Run the cell until so many messages are measured.")
    ] = RECORDS,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="By default EXPERIMENT-CELL.pcapng here; a file that is there is replaced."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one field, as in ./tb run; may be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The seed of all randomness.")] = None,
    controller: ControllerOption = None,
    snap: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Send only the headers and this much of each payload.")
    ] = None,
    install_dissector: Annotated[
        bool,
        typer.Option(
            "--install-dissector",
            callback=_install_dissector,
            is_eager=True,
            help="Put the dissector into your Wireshark's folder of plug-ins, and exit.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Capture real frames at ports of the fabric into a pcapng file with virtual times.

    Runs the beginning of one cell. The run is the same as without the capture, frame by frame.

    [bold]Examples[/]

      ./tb capture quickstart --port s1-eth3

      ./tb capture quickstart --port l1-eth1 --port c1-eth0 --cell load-4KiB-rdma --out rdma.pcapng

      ./tb capture pfc_victim --port l1-eth5 --records 5000 --snap 64B --json

      ./tb capture --install-dissector
    """
    from testbed.cli.run import adjust
    from testbed.run.capture_cell import plan_capture
    from testbed.run.loader import load_experiment

    wanted = adjust(load_experiment(experiment), overrides, seed=seed, snap=snap, controller=controller)
    job = plan_capture(wanted, cell_id=cell, ports=ports, records=records)
    path = out or Path(f"{wanted.name}-{job.run.cell.id}.pcapng")
    _prepare(job, path)
    outcome = _execute(job, path)
    if as_json:
        print_json(capture_json(job, outcome))
    else:
        _show(job, outcome)


def _prepare(job: CaptureJob, path: Path) -> None:
    """Refuse, before anything is built, what cannot be; become root."""
    from testbed.cli.privilege import become_root
    from testbed.cli.writable import ensure_writable
    from testbed.fabric.capacity import check_capacity
    from testbed.run import preflight

    if path.is_dir() or not path.parent.is_dir():
        problem = "is a directory" if path.is_dir() else f"there is no directory {path.parent}"
        raise SpecError(f"--out {path}: {problem}", remedy="name a file in a directory that is there")
    ensure_writable(path.parent, option="--out")
    become_root("capturing real frames")
    preflight.require("emulation")
    preflight.require_program("tcpdump")
    check_capacity(job.run.network.fabric)


def _execute(job: CaptureJob, path: Path) -> CaptureOutcome:
    from testbed.cli.progress_view import ProgressView
    from testbed.cli.run import ended_by_signal
    from testbed.run.capture_cell import capture_cell

    view = ProgressView()
    with ended_by_signal():
        try:
            return capture_cell(job, path, view)
        finally:
            view.finish()


def capture_json(job: CaptureJob, outcome: CaptureOutcome) -> dict[str, Any]:
    """What `--json` prints."""
    from testbed.run.dissector import DISSECTOR

    return {
        "file": str(outcome.path),
        "dissector": str(DISSECTOR),
        "experiment": job.experiment.name,
        "cell": job.run.cell.id,
        "seed": job.experiment.seed,
        "records": outcome.records,
        "records_digest": outcome.records_digest,
        **asdict(outcome.written),
    }


def _show(job: CaptureJob, outcome: CaptureOutcome) -> None:
    """What is in the file, and how to read it."""
    from testbed.analysis.answers import approximate_time
    from testbed.run.dissector import DISSECTOR

    written = outcome.written
    what = f"{job.experiment.name}, cell {job.run.cell.id}, seed {job.experiment.seed}"
    typer.echo(f"{what}: {outcome.records:,} messages on real frames\n")
    rows = [
        (one.port, one.peer, *(f"{n:,}" for n in (one.in_frames, one.out_frames, one.foreign_frames)))
        for one in written.ports
    ]
    console = stdout()
    console.print(table(COLUMNS, rows), highlight=False)
    if written.first_ps is None or written.last_ps is None:
        typer.echo("\nno frame passed these ports; more --records may bring some")
    else:
        first, last = approximate_time(written.first_ps), approximate_time(written.last_ps)
        typer.echo(f"\nfrom {first} to {last} of virtual time")
    script = shlex.quote(f"lua_script:{DISSECTOR}")
    file = shlex.quote(str(outcome.path))
    typer.echo(
        f"saved {outcome.path}; read it with\n\n  tshark -t e -X {script} -r {file}\n  wireshark -X {script} {file}"
    )
