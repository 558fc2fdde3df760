"""Fabrics to choose from: one file and one pure function each, from parameters to a `Fabric`.

A new one: copy the shortest file, change `build`, and add a line to the table below.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from testbed.errors import Problems, SpecError
from testbed.registry import Registry, unknown_name
from testbed.spec.fabric import Fabric
from testbed.spec.parameters import ParameterValue
from topologies import dumbbell, fat_tree, leaf_spine, rail_optimized, single_switch, squadrack
from topologies._build import MAX_ENDPOINTS

__all__ = [
    "MAX_ENDPOINTS",
    "TOPOLOGIES",
    "Builder",
    "build_fabric",
    "parameter_names",
    "parse_parameters",
    "unknown_parameters",
]

Builder: TypeAlias = Callable[..., Fabric]

TOPOLOGIES: Registry[Builder] = Registry(
    "topology",
    {
        "single_switch": single_switch.build,
        "dumbbell": dumbbell.build,
        "leaf_spine": leaf_spine.build,
        "rail_optimized": rail_optimized.build,
        "fat_tree": fat_tree.build,
        "squadrack": squadrack.build,
    },
)
"""Every topology that an experiment can name, from the smallest."""


def build_fabric(topology: str, parameters: Mapping[str, ParameterValue]) -> Fabric:
    """The fabric of a topology; unknown names, unknown parameters and bad values are each one `SpecError`."""
    builder = TOPOLOGIES.get(topology)
    problems = unknown_parameters(topology, builder, parameters)
    known = {name: value for name, value in parameters.items() if name in parameter_names(builder)}
    fabric = None
    try:
        fabric = builder(**known)
    except SpecError as error:
        problems.absorb(error, path="")
    problems.raise_if_any()
    assert fabric is not None
    return fabric


def parameter_names(builder: Builder) -> tuple[str, ...]:
    """The parameters of a builder, in order."""
    return tuple(inspect.signature(builder).parameters)


def unknown_parameters(topology: str, builder: Builder, names: Iterable[str]) -> Problems:
    """A problem for each name that the builder does not take."""
    problems = Problems()
    for name in names:
        if name not in parameter_names(builder):
            error = unknown_name(f"parameter of {topology}", name, parameter_names(builder))
            problems.add(name, str(error), error.remedy)
    return problems


def parse_parameters(
    topology: str, builder: Builder, overrides: Sequence[str]
) -> Mapping[str, ParameterValue]:
    """A builder's parameters from `key=value` texts; all that cannot be read are named in one `SpecError`."""
    problems = Problems()
    found: dict[str, ParameterValue] = {}
    for text in overrides:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not value:
            problems.add(text, "it is no key=value", "write e.g. rate=100Gbps")
            continue
        found[name] = int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else value
    for problem in unknown_parameters(topology, builder, found):
        problems.add(problem.path, problem.problem, problem.remedy)
    problems.raise_if_any()
    return found
