"""The model against closed forms and published figures: `ORACLES`, each with the rows that it compares.

Expected values are written out here, from the literature, and never come from the model. Must not import the command
line, nor the fabric: every run is the twin's.
"""

from __future__ import annotations

from testbed.errors import SpecError
from testbed.registry import Registry, unknown_name
from testbed.validate import (
    buffer,
    congestion,
    control_plane,
    delivery,
    ecn,
    fanout,
    forwarding,
    incast,
    links,
    nic_rates,
    nics,
    paths,
    pfc,
    queueing,
    scheduling,
)
from testbed.validate.row import Oracle

_MODULES = (
    buffer,
    pfc,
    ecn,
    queueing,
    scheduling,
    paths,
    forwarding,
    links,
    incast,
    fanout,
    control_plane,
    delivery,
    nics,
    nic_rates,
    congestion,
)
ORACLES: Registry[Oracle] = Registry(
    "oracle", {oracle.name: oracle for module in _MODULES for oracle in module.ORACLES}
)
"""Every oracle, in the order of the report."""


def chosen(names: list[str]) -> tuple[Oracle, ...]:
    """The oracles of these names or subjects; all of them for no names."""
    everything = [ORACLES.get(name) for name in ORACLES.names()]
    subjects = {oracle.subject for oracle in everything}
    for name in names:
        if name not in ORACLES and name not in subjects:
            raise _unknown(name, subjects)
    wanted = set(names)
    return tuple(oracle for oracle in everything if not names or {oracle.name, oracle.subject} & wanted)


def _unknown(name: str, subjects: set[str]) -> SpecError:
    return unknown_name("oracle", name, [*ORACLES.names(), *sorted(subjects - set(ORACLES.names()))])


__all__ = ["ORACLES", "chosen"]
