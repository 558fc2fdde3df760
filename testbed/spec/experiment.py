"""An experiment: one question, and the fabric, NICs and scenarios that answer it.

Values only. `experiment_problems` checks what can be checked without the tables of topologies, switches and
NICs; `testbed.run.resolve` adds the rest, so that a user sees all the mistakes of a spec in one message.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from testbed.errors import Problems
from testbed.registry import unknown_name
from testbed.spec.parameters import Parameters, ParameterValue
from testbed.units import format_size

Kind: TypeAlias = Literal["idle", "poisson", "incast", "permutation", "pingpong"]

MAX_SIZE_BYTES = 1 << 30
MAX_RECORDS = 10**10
MAX_SEED = 2**64 - 1
MAX_SNAP_BYTES = 65_535
MAX_NAME_CHARS = 48

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_OPEN_LOOP: frozenset[str] = frozenset({"poisson", "incast"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One pattern of traffic."""

    name: str
    kind: Kind
    load_permille: int = 0
    """Offered load, as a share of a card's line rate; poisson, incast and permutation only."""
    fan_in: int = 0
    """How many senders one receiver has; incast only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of an experiment: a scenario, a message size, a NIC."""

    scenario: Scenario
    size_bytes: int
    nic: str

    @property
    def id(self) -> str:
        """E.g. `poisson-4KiB-transparent`; names files and orders digests."""
        return f"{self.scenario.name}-{format_size(self.size_bytes)}-{self.nic}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One question and everything needed to answer it again."""

    name: str
    question: str
    topology: str
    topology_parameters: Mapping[str, ParameterValue] = field(default_factory=Parameters)
    switch: str
    nics: tuple[str, ...]
    sizes_bytes: tuple[int, ...]
    scenarios: tuple[Scenario, ...]
    records: int
    """Message records per cell that the twin reaches."""
    emulated_records: int
    """Message records over all cells that travel as real frames; at most what the twin reaches."""
    seed: int = 1
    snap_bytes: int | None = None
    """Payload bytes that real frames carry; all of them if None."""

    def __post_init__(self) -> None:
        if isinstance(self.topology_parameters, Mapping):
            object.__setattr__(self, "topology_parameters", Parameters(self.topology_parameters))
        for name in ("nics", "sizes_bytes", "scenarios"):
            value = getattr(self, name)
            if isinstance(value, list | tuple):
                object.__setattr__(self, name, tuple(value))

    def cells(self) -> tuple[Cell, ...]:
        """All cells, by scenario, then size, then NIC."""
        return tuple(
            Cell(scenario=scenario, size_bytes=size_bytes, nic=nic)
            for scenario in self.scenarios
            for size_bytes in self.sizes_bytes
            for nic in self.nics
        )


def experiment_problems(experiment: Experiment) -> Problems:
    """Everything wrong with the values of an experiment, types included."""
    problems = Problems()
    _check_texts(experiment, problems)
    _check_lists(experiment, problems)
    _check_counts(experiment, problems)
    for index, scenario in enumerate(_items(experiment.scenarios)):
        if isinstance(scenario, Scenario):
            _check_scenario(scenario, f"scenarios[{index}]", problems)
        else:
            problems.add(
                f"scenarios[{index}]", f"{scenario!r} is no Scenario", "write Scenario(name=..., kind=...)"
            )
    return problems


def _items(value: object) -> Iterator[object]:
    """The items of a tuple; nothing of anything else, which is reported elsewhere."""
    return iter(value if isinstance(value, tuple) else ())


def _check_texts(experiment: Experiment, problems: Problems) -> None:
    """Names that become paths and keys."""
    check_name(experiment.name, "name", problems)
    for path in ("question", "topology", "switch"):
        value = getattr(experiment, path)
        if not isinstance(value, str) or not value.strip():
            problems.add(path, f"{value!r} is no text", f"say which {path}")
    if not isinstance(experiment.topology_parameters, Parameters):
        problems.add(
            "topology_parameters",
            f"{experiment.topology_parameters!r} is no mapping",
            "write {'name': value}",
        )
        return
    for name, value in experiment.topology_parameters.items():
        if isinstance(value, bool) or not isinstance(value, int | str):
            problems.add(
                f"topology_parameters.{name}",
                f"{value!r} is neither a whole number nor text",
                "write e.g. 4 or '400Gbps'",
            )


def check_name(name: object, path: str, problems: Problems) -> None:
    """A name must do as part of a path."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problems.add(path, f"{name!r} is no name", "use lower-case letters, digits, '-' and '_'")
    elif len(name) > MAX_NAME_CHARS:
        problems.add(path, f"'{name}' is longer than {MAX_NAME_CHARS} characters", "shorten it")


def _check_lists(experiment: Experiment, problems: Problems) -> None:
    """None empty, nothing twice, sizes in range."""
    names = [s.name for s in _items(experiment.scenarios) if isinstance(s, Scenario)]
    for path, values, keys in (
        ("nics", experiment.nics, list(_items(experiment.nics))),
        ("sizes_bytes", experiment.sizes_bytes, list(_items(experiment.sizes_bytes))),
        ("scenarios", experiment.scenarios, names),
    ):
        if not isinstance(values, tuple) or not values:
            problems.add(path, f"{values!r} is no list of at least one", f"give at least one of {path}")
        _check_unique(keys, path, problems)
    for index, nic in enumerate(_items(experiment.nics)):
        if not isinstance(nic, str):
            problems.add(f"nics[{index}]", f"{nic!r} is no name", "write the name of a NIC profile")
    for index, size in enumerate(_items(experiment.sizes_bytes)):
        _check_range(size, 1, MAX_SIZE_BYTES, f"sizes_bytes[{index}]", "a message has 1 B to 1 GiB", problems)


def _check_unique(keys: Iterable[object], path: str, problems: Problems) -> None:
    """Twice the same would be two cells with one id."""
    for key, times in Counter(map(repr, keys)).items():
        if times > 1:
            problems.add(path, f"{key} appears {times} times", "name each once")


def _check_counts(experiment: Experiment, problems: Problems) -> None:
    """Record counts, seed, snap length."""
    _check_range(experiment.records, 1, MAX_RECORDS, "records", f"write 1 to {MAX_RECORDS}", problems)
    _check_range(
        experiment.emulated_records, 0, MAX_RECORDS, "emulated_records", f"write 0 to {MAX_RECORDS}", problems
    )
    _check_range(experiment.seed, 0, MAX_SEED, "seed", "write 0 to 2^64-1", problems)
    if experiment.snap_bytes is not None:
        _check_range(
            experiment.snap_bytes, 0, MAX_SNAP_BYTES, "snap_bytes", f"write 0 to {MAX_SNAP_BYTES}", problems
        )


def _check_range(value: object, low: int, high: int, path: str, remedy: str, problems: Problems) -> None:
    """A whole number between two limits."""
    if isinstance(value, bool) or not isinstance(value, int):
        problems.add(path, f"{value!r} is no whole number", remedy)
    elif not low <= value <= high:
        problems.add(path, f"{value} is out of range", remedy)


def _check_scenario(scenario: Scenario, path: str, problems: Problems) -> None:
    """Each kind takes its own fields and refuses the others."""
    check_name(scenario.name, f"{path}.name", problems)
    if scenario.kind not in get_args(Kind):
        error = unknown_name("kind of scenario", str(scenario.kind), get_args(Kind))
        problems.add(f"{path}.kind", str(error), error.remedy)
        return
    _check_load(scenario, f"{path}.load_permille", problems)
    if scenario.kind == "incast":
        _check_range(
            scenario.fan_in, 1, 2**16, f"{path}.fan_in", "say how many senders, at least 1", problems
        )
    elif scenario.fan_in != 0:
        problems.add(f"{path}.fan_in", f"{scenario.kind} has no fan-in", "leave it out, or use kind='incast'")


def _check_load(scenario: Scenario, path: str, problems: Problems) -> None:
    """An open loop needs a load below 1: at 100 % the queue grows without end and no latency is steady."""
    load = scenario.load_permille
    if scenario.kind in _OPEN_LOOP:
        remedy = "write 1 to 999 permille: at 100 % an open-loop queue has no steady state"
        _check_range(load, 1, 999, path, remedy, problems)
    elif scenario.kind == "permutation":
        _check_range(load, 0, 1000, path, "write 1 to 1000 permille, or 0 for back to back", problems)
    elif load != 0:
        problems.add(path, f"{scenario.kind} has no load", "leave it out, or use kind='poisson'")
