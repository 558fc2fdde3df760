"""Fabrics to choose from: one file and one pure function each, from parameters to a `Fabric`.

A new one: copy the shortest file and change `build`; the table finds it by itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from testbed.errors import Problems, SpecError
from testbed.registry import Registry, unknown_name
from testbed.spec.fabric import Fabric
from testbed.spec.parameters import ParameterValue
from topologies._build import MAX_ENDPOINTS

__all__ = [
    "MAX_ENDPOINTS",
    "TOPOLOGIES",
    "Builder",
    "build_fabric",
    "builder_of",
    "parameter_names",
    "parse_parameters",
    "unknown_parameters",
]

Builder: TypeAlias = Callable[..., Fabric]


def _beside_this_file() -> Iterator[tuple[str, Builder]]:
    """The `build` of every file here, by the file's name."""
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        yield path.stem, importlib.import_module(f"{__name__}.{path.stem}").build


TOPOLOGIES: Registry[Builder] = Registry("topology", dict(_beside_this_file()))
"""Every topology that an experiment can name."""


def builder_of(topology: str) -> Builder:
    """The builder of a topology: of a name in the table, or of a user's own file (`path/to/mine.py`)."""
    if not topology.endswith(".py"):
        return TOPOLOGIES.get(topology)
    path = Path(topology).resolve()
    remedy = "name a file with a function `build` that returns a Fabric, or one of: " + ", ".join(
        TOPOLOGIES.names()
    )
    if not path.is_file():
        raise SpecError(f"there is no topology file {topology}", remedy=remedy)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # a .py file always has a spec and a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError, NameError) as error:
        raise SpecError(f"{topology} cannot be read: {error}", remedy=remedy) from error
    build: Builder | None = getattr(module, "build", None)
    if not callable(build):
        raise SpecError(f"{topology} has no function `build`", remedy=remedy)
    return build


def build_fabric(topology: str, parameters: Mapping[str, ParameterValue]) -> Fabric:
    """The fabric of a topology; unknown names, unknown parameters and bad values are each one `SpecError`."""
    builder = builder_of(topology)
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
