"""The kinds of named things that `list` and `show` know, and where each kind's registry is."""

from __future__ import annotations

import importlib
from typing import Any

from testbed.registry import Registry, unknown_name

# plural -> (module, attribute)
REGISTRIES = {
    "topologies": ("topologies", "TOPOLOGIES"),
    "switches": ("testbed.switches", "SWITCHES"),
    "nics": ("nic_emulator", "NICS"),
    "cards": ("nic_emulator", "CARDS"),
    "media": ("testbed.links", "MEDIA"),
}
KINDS = (*REGISTRIES, "experiments")


def registry(kind: str) -> Registry[Any]:
    """The registry of a kind, by its plural."""
    module, attribute = REGISTRIES[kind]
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, Registry), f"{module}.{attribute} is not a Registry"
    return found


def entries(kind: str) -> list[tuple[str, str]]:
    """Name and one line of every thing of a kind."""
    if kind not in KINDS:
        raise unknown_name("kind", kind, KINDS)
    if kind == "experiments":
        from testbed.run.loader import describe_experiment, experiment_names

        return [(name, describe_experiment(name)) for name in experiment_names()]
    table = registry(kind)
    return [(name, table.describe(name)) for name in table.names()]
