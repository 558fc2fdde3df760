"""Which machine does which part of a run: seeds if there are several, else cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from testbed.run.spread import split_cells
from testbed.spec.experiment import Experiment
from testbed.vm.runs.record import Part


def spread(
    experiment: Experiment, *, engine: str, repeat: int, hosts: Sequence[str], run_id: str
) -> tuple[Part, ...]:
    """At most one part for each host, in their order; hosts for which nothing is left have none."""
    if repeat > 1:
        shares = _shares(repeat, min(repeat, len(hosts)))
        parts = [
            Part(host="", job="", seed=experiment.seed + sum(shares[:index]), seeds=share)
            for index, share in enumerate(shares)
        ]
    elif len(hosts) == 1:
        parts = [Part(host="", job="", seed=experiment.seed)]
    else:
        count = min(len(hosts), len(experiment.cells()))
        parts = [
            Part(host="", job="", seed=experiment.seed, cells=cells)
            for cells in split_cells(experiment, engine, count)
        ]
    return tuple(
        replace(part, host=host, job=f"{run_id}-{index}")
        for index, (part, host) in enumerate(zip(parts, hosts, strict=False))
    )


def reassign(parts: Sequence[Part], hosts: Sequence[str]) -> tuple[Part, ...]:
    """The same parts; what is not done and was to be done by another machine is given to these, in turn."""
    fresh, given = [], 0
    for part in parts:
        if part.state != "fetched" and part.host not in hosts:
            part, given = replace(part, host=hosts[given % len(hosts)], state="new"), given + 1
        fresh.append(part)
    return tuple(fresh)


def _shares(whole: int, parts: int) -> list[int]:
    """A number in nearly equal shares, the larger ones first."""
    return [whole // parts + (index < whole % parts) for index in range(parts)]
