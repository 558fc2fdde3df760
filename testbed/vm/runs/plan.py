"""From an experiment and machines to a run that has not begun."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed.spec.experiment import Experiment
from testbed.vm.runs.record import Run, new_run_id
from testbed.vm.runs.sent import pack
from testbed.vm.runs.spread import spread


def plan(
    experiment: Experiment,
    *,
    engine: str,
    repeat: int,
    hosts: Sequence[str],
    identity: str,
    directory: str,
    host_key: str,
    keep: bool,
) -> tuple[Run, Mapping[str, Path]]:
    """The run, and the files it sends, by their places there. `repeat`: with how many seeds."""
    run_id, sent = new_run_id(), pack(experiment)
    run = Run(
        id=run_id,
        began_at_s=int(time.time()),
        experiment=sent.experiment,
        originals=sent.originals,
        engine=engine,
        identity=identity,
        directory=directory,
        host_key=host_key,
        keep=keep,
        parts=spread(experiment, engine=engine, repeat=repeat, hosts=hosts, run_id=run_id),
    )
    return run, sent.files
