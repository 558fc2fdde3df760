"""Runs the beginning of one cell on real frames while tcpdump listens at some ports, and writes what it heard."""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from testbed.analysis.records import Records, digest
from testbed.errors import SpecError
from testbed.fabric.capture import BUFFER_KIB, Capture, start_capture
from testbed.fabric.state import RunState
from testbed.registry import unknown_name
from testbed.run.capture_file import OneWay, Port, Raw, Written, write_capture
from testbed.run.cell_run import CellRun, cell_run
from testbed.run.controllers import check_controller, given_programmes
from testbed.run.files import storing
from testbed.run.live_cell import LiveCells
from testbed.run.progress import Progress
from testbed.run.resolve import resolve
from testbed.spec.experiment import Experiment
from testbed.spec.fabric import Fabric
from testbed.units import PPM_PER_WHOLE

if TYPE_CHECKING:
    from testbed.fabric.build import LiveFabric

_NEAREST = 4
_MOST_BUFFER_KIB = 64 * 1024
_ALL_BUFFERS_KIB = 512 * 1024
"""More ports have smaller buffers, down to the usual size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureJob:
    """What is to be captured; everything in it has been checked."""

    experiment: Experiment
    run: CellRun
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureOutcome:
    """A capture that is written."""

    path: Path
    records: int
    records_digest: str
    """As of a run that has this cell alone."""
    written: Written


def plan_capture(
    experiment: Experiment, *, cell_id: str | None, ports: Sequence[str], records: int
) -> CaptureJob:
    """Check everything; without a cell's id it is the experiment's first. Raises SpecError."""
    resolved = resolve(experiment)
    cells = {cell.id: cell for cell in resolved.cells}
    if cell_id is not None and cell_id not in cells:
        raise unknown_name("cell", cell_id, cells)
    cell = resolved.cells[0] if cell_id is None else cells[cell_id]
    network = resolved.network(cell)
    known = ports_of(network.fabric)
    wanted = tuple(_port(name, known) for name in dict.fromkeys(ports))
    check_controller(experiment.controller, engine="emulation")
    given = given_programmes(experiment.controller, [(cell, network)]).get(cell.id)
    run = cell_run(cell, network, records=records, emulated_share=records, given=given)
    return CaptureJob(experiment=experiment, run=run, ports=wanted)


def ports_of(fabric: Fabric) -> dict[str, Port]:
    """Every port of a fabric, by the name of its interface."""
    ports = (
        Port(interface=link.interface_at(node), node=node, link=link)
        for node in fabric.node_names()
        for link in fabric.links_of(node)
    )
    return {port.interface: port for port in ports}


def _port(name: str, known: Mapping[str, Port]) -> Port:
    """The port of that name; else an error with the nearest ones, as a fabric may have thousands."""
    if name in known:
        return known[name]
    of_node = [interface for interface, port in known.items() if port.node == name.rpartition("-")[0]]
    near = difflib.get_close_matches(name, of_node or list(known), n=_NEAREST, cutoff=0)
    raise SpecError(
        f"unknown port '{name}'; nearest: {', '.join(near)}",
        remedy=f"write NODE-ethPORT, such as {near[0]}; ./tb show TOPOLOGY lists the nodes",
    )


def capture_cell(job: CaptureJob, path: Path, progress: Progress) -> CaptureOutcome:
    """Run, capture and write; the file is there as a whole or, whatever ends this, not at all."""
    from testbed.fabric.clean import clean

    progress.start(job.run.records)
    try:
        for item in clean():
            progress.note(f"removed {item} of a run that was killed")
        with RunState.create(f"capture-{os.getpid()}") as state, _scratch(path, state) as scratch:
            raws, records = _run(job, scratch, state, progress)
            progress.stage("write")
            about = f"{job.experiment.name}, cell {job.run.cell.id}, seed {job.experiment.seed}; virtual time"
            written = write_capture(raws, path, scratch=scratch, about=about)
    finally:
        progress.finish()
    return CaptureOutcome(
        path=path,
        records=len(records),
        records_digest=digest([(job.run.cell.id, records)]),
        written=written,
    )


@contextmanager
def _scratch(path: Path, state: RunState) -> Iterator[Path]:
    """A directory beside the file, and so on its disk, for what is not whole yet."""
    directory = path.with_name(f".{path.name}.{os.getpid()}.partial")
    state.record_partial(directory)
    with storing(path):
        directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _run(job: CaptureJob, scratch: Path, state: RunState, progress: Progress) -> tuple[list[Raw], Records]:
    """What tcpdump heard, and the cell's records."""
    # Only here, as for a run: what is wrong with the input must be told where Mininet is not installed, too.
    from testbed.fabric.build import build_fabric

    links = job.run.plan(job.experiment.seed, job.run.emulated_until_ps)["links"]
    fabric, wanted = job.run.network.fabric, job.run.records

    def report(virtual_ps: int, messages: int) -> None:
        done = min(messages, wanted)
        progress.update(virtual_ps, done, done * PPM_PER_WHOLE // wanted)

    cells = LiveCells(job.experiment, state, progress)
    progress.stage("build the fabric")
    with (
        build_fabric(fabric, state=state) as live,
        cells.control_plane(live, job.run) as plane,
        _captures(live, job.ports, scratch, state) as running,
    ):
        emulated, _ = cells.emulate(live, plane, job.run, report=report)
        raws = [
            Raw(
                port=port,
                direction=direction,
                latency_ps=links[fabric.links.index(port.link)][5],
                path=capture.path,
                counts=capture.stop(),
            )
            for port, direction, capture in running
        ]
    return raws, emulated.records


@contextmanager
def _captures(
    live: LiveFabric, ports: Sequence[Port], scratch: Path, state: RunState
) -> Iterator[list[tuple[Port, OneWay, Capture]]]:
    """tcpdump at each port, once for each direction: its file does not tell them apart."""
    share_kib = _ALL_BUFFERS_KIB // max(1, len(get_args(OneWay)) * len(ports))
    with ExitStack() as stack:
        running: list[tuple[Port, OneWay, Capture]] = []
        for port in ports:
            for direction in get_args(OneWay):
                capture = start_capture(
                    netns_pid=live.netns_pid(port.node),
                    interface=port.interface,
                    path=scratch / f"{port.interface}.{direction}.pcap",
                    state=state,
                    direction=direction,
                    buffer_kib=max(BUFFER_KIB, min(_MOST_BUFFER_KIB, share_kib)),
                )
                running.append((port, direction, stack.enter_context(capture)))
        yield running
