"""An experiment: one question, and the fabric, NICs and scenarios that answer it.

Values only. `experiment_problems` checks what can be checked without the tables of topologies, switches and
NICs; `testbed.run.resolve` adds the rest, so that a user sees all the mistakes of a spec in one message.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, get_args

from testbed.errors import Problems, SpecError
from testbed.registry import unknown_name
from testbed.spec.failures import FAILURE_EXAMPLE, parse_failures
from testbed.spec.parameters import Parameters, ParameterValue
from testbed.units import format_size

Kind: TypeAlias = Literal["idle", "poisson", "incast", "victim", "permutation", "pairs", "pingpong"]
Operation: TypeAlias = Literal["put", "put_signal", "send", "get"]
"""What a message asks for: write, write and tell, write into the receive that is posted next, read."""
LoadOf: TypeAlias = Literal["port", "card"]
"""Whose load: of a NIC's port, which its cards share, or of each card."""
HostAgents: TypeAlias = Literal["", "stopped", "starved", "killed"]
"""What befalls the hosts' control processes in mid-run; empty: nothing."""

STATIC = "static"
FRAMEWORKS = ("ryu", "os-ken")
"""Under which the testbed's own application runs; the preferred one first."""
CONTROLLERS = (STATIC, *FRAMEWORKS)
"""Who programs switches; or an application or a dump of tables, by its file."""
APPLICATION, DUMP = ".py", ".json"
CONTROLLER_FILES = (APPLICATION, DUMP)

VICTIM_DESTINATION = 1
"""The endpoint that the measured flow of a `victim` scenario goes to; its incast goes to endpoint 0."""

FAN_IN_KINDS: frozenset[str] = frozenset({"incast", "victim"})
"""Scenarios in which many senders have one receiver."""

MAX_SIZE_BYTES = 1 << 30
MAX_RECORDS = 10**10
MAX_SEED = 2**64 - 1
MAX_SNAP_BYTES = 65_535
MAX_NAME_CHARS = 48
MAX_BATCH = 4_096

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_OPEN_LOOP: frozenset[str] = frozenset({"poisson", "incast", "pairs"})
_OPTIONAL_LOAD: frozenset[str] = frozenset({"permutation", "victim"})
_TAKES_BATCHES: frozenset[str] = frozenset({"idle", "poisson", "incast", "pairs"})
_LOADS_CARDS: frozenset[str] = frozenset({"poisson", "pairs"})
_VARIANT_PARAMETERS = ("topology_parameters", "switch_settings", "nic_settings", "control_settings")
"""What an experiment gives by name and a variant merges over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One pattern of traffic."""

    name: str
    kind: Kind
    load_permille: int = 0
    """Offered load, as a share of a port's line rate; poisson, incast, permutation, pairs and victim only."""
    load_of: LoadOf = "port"
    """Whether the cards behind a NIC share that load, or each has it; poisson and pairs only."""
    fan_in: int = 0
    """How many senders one receiver has; incast and victim only."""
    records: int = 0
    """Message records per cell of this scenario; 0: those of the experiment."""
    op: Operation = "put"
    """What each message asks for."""
    batch: int = 1
    """Messages that a card posts at once; open loops only. The load is that of all of them."""

    @property
    def measured_destination(self) -> int | None:
        """The endpoint whose messages the percentiles are of; None: all messages count."""
        return VICTIM_DESTINATION if self.kind == "victim" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One of the alternatives that an experiment compares; what it does not say is the experiment's."""

    name: str
    nics: tuple[str, ...] = ()
    """Those of the experiment's that it is of; none: all of them."""
    topology: str = ""
    """Another topology, whose parameters are then the variant's alone."""
    switch: str = ""
    """Another switch."""
    switch_settings: Mapping[str, ParameterValue] = field(default_factory=Parameters)
    """Merged over the experiment's."""
    nic_settings: Mapping[str, ParameterValue] = field(default_factory=Parameters)
    """Merged over the experiment's."""
    host_agents: HostAgents = ""
    """In place of the experiment's."""
    topology_parameters: Mapping[str, ParameterValue] = field(default_factory=Parameters)
    """Merged over the experiment's."""
    control_settings: Mapping[str, ParameterValue] = field(default_factory=Parameters)
    """Merged over the experiment's."""
    failures: tuple[str, ...] = ()
    """In place of the experiment's, if there are any."""
    row: str = ""
    """Where a table of many variants puts it, and in which column; none: a row of its own."""
    column: str = ""
    reference: bool = False
    """Shown beside the others, but out of the ranking: a bound, and no candidate."""

    def __post_init__(self) -> None:
        _freeze_parameters(self, _VARIANT_PARAMETERS)
        for name in ("nics", "failures"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))

    def changes(self) -> str:
        """What it sets, in words: `tomahawk5, alpha_log2=-2`; empty where it is the experiment as it stands."""
        of_nics = {f"nic.{key}": value for key, value in self.nic_settings.items()}
        sets = (self.topology_parameters, self.switch_settings, of_nics, self.control_settings)
        texts = [f"{key}={value}" for pairs in sets for key, value in pairs.items()] + list(self.failures)
        agents = [f"host agents {self.host_agents}"] * bool(self.host_agents)
        named = [name for name in (self.topology, self.switch) if name]
        return ", ".join(named + texts + agents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of an experiment: a scenario, a message size, a NIC, and a variant if there are any."""

    scenario: Scenario
    size_bytes: int
    nic: str
    variant: str = ""

    @property
    def id(self) -> str:
        """E.g. `poisson-4KiB-transparent`, with variants `poisson-4KiB-transparent-dac`; names files."""
        parts = [self.scenario.name, format_size(self.size_bytes), self.nic, self.variant]
        return "-".join(part for part in parts if part)


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
    most_bytes: int = 0
    """Payload of a cell's records: large messages have so many fewer of them; 0: no limit."""
    emulated_records: int
    """Message records over all cells that travel as real frames; at most what the twin reaches."""
    seed: int = 1
    snap_bytes: int | None = None
    """Payload bytes that real frames carry; all of them if None."""
    sample_interval_ps: int | None = None
    """Virtual time between two samples of the counters; None: a 200th of a cell's measured time, 0: no samples."""
    switch_settings: Mapping[str, ParameterValue] = field(default_factory=Parameters)
    """What the experiment sets of its switches, e.g. `{"alpha_log2": -2}`; the rest is the profile's."""
    nic_settings: Mapping[str, ParameterValue] = field(default_factory=Parameters)
    """What it sets of its NICs, e.g. `{"cards": 4, "rdma.post": "blueflame"}`; the rest is the profiles'."""
    host_agents: HostAgents = ""
    """What befalls the hosts' control processes; real frames only."""
    failures: tuple[str, ...] = ()
    """What goes wrong, and when (`testbed.spec.failures`), e.g. `["l1<>s1@100us-300us:down"]`."""
    control_settings: Mapping[str, ParameterValue] = field(default_factory=Parameters)
    """What it sets of its control plane, e.g. `{"failover": "on", "control_latency": "2ms"}`."""
    controller: str = ""
    """Who programs the switches: static, ryu, os-ken, an application (PATH.py), or a dump of tables (PATH.json);
    empty: ryu on real frames, static in the twin alone, which have the same rules."""
    variants: tuple[Variant, ...] = ()
    """Alternatives to compare; none: the experiment as it stands."""
    budget_ps: int = 0
    """A time that small messages are to make, and of which the report says what is left; 0: none."""

    def __post_init__(self) -> None:
        _freeze_parameters(self, _VARIANT_PARAMETERS)
        for name in ("nics", "sizes_bytes", "scenarios", "variants", "failures"):
            value = getattr(self, name)
            if isinstance(value, list | tuple):
                object.__setattr__(self, name, tuple(value))

    def cells(self) -> tuple[Cell, ...]:
        """All cells, by scenario, then size, then NIC, then variant."""
        return tuple(
            Cell(scenario=scenario, size_bytes=size_bytes, nic=nic, variant=variant)
            for scenario in self.scenarios
            for size_bytes in self.sizes_bytes
            for nic in self.nics
            for variant in [variant.name for variant in self.variants if nic in (variant.nics or [nic])]
            or [""] * (not self.variants)
        )

    def records_of(self, cell: Cell) -> int:
        """Message records of a cell that the twin reaches."""
        records = cell.scenario.records or self.records
        return min(records, max(1, self.most_bytes // cell.size_bytes)) if self.most_bytes else records

    def of_variant(self, variant: Variant) -> Experiment:
        """The experiment that a variant is, without the others."""
        return replace(
            self,
            nics=variant.nics or self.nics,
            topology=variant.topology or self.topology,
            switch=variant.switch or self.switch,
            switch_settings={**self.switch_settings, **variant.switch_settings},
            nic_settings={**self.nic_settings, **variant.nic_settings},
            host_agents=variant.host_agents or self.host_agents,
            topology_parameters={
                **({} if variant.topology else self.topology_parameters),
                **variant.topology_parameters,
            },
            control_settings={**self.control_settings, **variant.control_settings},
            failures=variant.failures or self.failures,
            variants=(),
        )


def _freeze_parameters(spec: Experiment | Variant, names: Iterable[str]) -> None:
    """Make mappings hashable; what is no mapping is reported by `experiment_problems`."""
    for name in names:
        value = getattr(spec, name)
        if isinstance(value, Mapping):
            object.__setattr__(spec, name, Parameters(value))


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
    _check_variants(experiment, problems)
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
    for path in _VARIANT_PARAMETERS:
        _check_parameters(getattr(experiment, path), path, problems)
    _check_host_agents(experiment.host_agents, "host_agents", problems)
    _check_failures(experiment.failures, "", problems)
    _check_controller(experiment.controller, problems)


def _check_controller(value: object, problems: Problems) -> None:
    """One by name, or a file."""
    if not isinstance(value, str):
        problems.add("controller", f"{value!r} is no text", f"write one of {', '.join(CONTROLLERS)}, or ''")
    elif value and value not in CONTROLLERS and not value.endswith(CONTROLLER_FILES):
        error = unknown_name("controller", value, CONTROLLERS)
        remedy = f"{error.remedy}, an application (PATH.py), or a dump of tables (PATH.json)"
        problems.add("controller", str(error), remedy)


def _check_failures(failures: object, path: str, problems: Problems) -> None:
    """Texts that say what goes wrong, and when."""
    if not isinstance(failures, tuple) or not all(isinstance(one, str) for one in failures):
        where = f"{path}.failures" if path else "failures"
        problems.add(where, f"{failures!r} is no list of texts", f"write e.g. ['{FAILURE_EXAMPLE}']")
        return
    try:
        parse_failures(failures)
    except SpecError as error:
        problems.absorb(error, path=path)


def _check_host_agents(value: object, path: str, problems: Problems) -> None:
    """One of the things that may befall them."""
    if value not in get_args(HostAgents):
        known = [one for one in get_args(HostAgents) if one]
        problems.add(path, f"{value!r} befalls no host agent", f"write one of {', '.join(known)}, or ''")


def _check_parameters(parameters: object, path: str, problems: Problems) -> None:
    """Names to whole numbers and text."""
    if not isinstance(parameters, Parameters):
        problems.add(path, f"{parameters!r} is no mapping", "write {'name': value}")
        return
    for name, value in parameters.items():
        if isinstance(value, bool) or not isinstance(value, int | str):
            problems.add(
                f"{path}.{name}", f"{value!r} is neither a whole number nor text", "write e.g. 4 or '400Gbps'"
            )


def _check_variants(experiment: Experiment, problems: Problems) -> None:
    """Names that tell them apart, and values of the right kinds."""
    if not isinstance(experiment.variants, tuple):
        problems.add("variants", f"{experiment.variants!r} is no list", "write [Variant(name=...), ...]")
    for index, variant in enumerate(_items(experiment.variants)):
        path = f"variants[{index}]"
        if not isinstance(variant, Variant):
            problems.add(path, f"{variant!r} is no Variant", "write Variant(name=...)")
            continue
        check_name(variant.name, f"{path}.name", problems)
        for name in ("switch", "topology"):
            if not isinstance(getattr(variant, name), str):
                problems.add(f"{path}.{name}", f"{getattr(variant, name)!r} is no text", f"name a {name}")
        _check_own_nics(variant, experiment, f"{path}.nics", problems)
        for name in _VARIANT_PARAMETERS:
            _check_parameters(getattr(variant, name), f"{path}.{name}", problems)
        _check_host_agents(variant.host_agents, f"{path}.host_agents", problems)
        _check_failures(variant.failures, path, problems)
    _check_unique(
        [v.name for v in _items(experiment.variants) if isinstance(v, Variant)], "variants", problems
    )


def _check_own_nics(variant: Variant, experiment: Experiment, path: str, problems: Problems) -> None:
    """Some of the experiment's."""
    if not isinstance(variant.nics, tuple):
        problems.add(path, f"{variant.nics!r} is no list", "name NICs of the experiment, or none")
    for nic in _items(variant.nics):
        if nic not in _items(experiment.nics):
            problems.add(path, f"{nic!r} is no NIC of the experiment", "add it to nics, or leave it out")


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
    _check_range(experiment.most_bytes, 0, 2**62, "most_bytes", "write a number of bytes, or 0", problems)
    _check_range(experiment.budget_ps, 0, 2**62, "budget_ps", "write a time in ps, or 0", problems)
    _check_range(experiment.seed, 0, MAX_SEED, "seed", "write 0 to 2^64-1", problems)
    if experiment.sample_interval_ps is not None:
        remedy = "write a time in ps, 0 for no samples, or None"
        _check_range(experiment.sample_interval_ps, 0, 2**62, "sample_interval_ps", remedy, problems)
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
    if scenario.op not in get_args(Operation):
        error = unknown_name("operation", str(scenario.op), get_args(Operation))
        problems.add(f"{path}.op", str(error), error.remedy)
    _check_batch(scenario, f"{path}.batch", problems)
    if scenario.load_of not in get_args(LoadOf):
        error = unknown_name("load of", str(scenario.load_of), get_args(LoadOf))
        problems.add(f"{path}.load_of", str(error), error.remedy)
    elif scenario.load_of == "card" and scenario.kind not in _LOADS_CARDS:
        problems.add(f"{path}.load_of", f"the load of {scenario.kind} is a port's", "leave it out")
    _check_range(
        scenario.records, 0, MAX_RECORDS, f"{path}.records", f"write 1 to {MAX_RECORDS}, or 0", problems
    )
    if scenario.kind in FAN_IN_KINDS:
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
    elif scenario.kind in _OPTIONAL_LOAD:
        _check_range(load, 0, 1000, path, "write 1 to 1000 permille, or 0 for back to back", problems)
    elif load != 0:
        problems.add(path, f"{scenario.kind} has no load", "leave it out, or use kind='poisson'")


def _check_batch(scenario: Scenario, path: str, problems: Problems) -> None:
    """A closed loop posts when a message is done, one at a time."""
    _check_range(scenario.batch, 1, MAX_BATCH, path, f"write 1 to {MAX_BATCH:,}", problems)
    if scenario.batch != 1 and scenario.kind not in _TAKES_BATCHES:
        problems.add(
            path, f"{scenario.kind} posts no batches", f"leave it out; {', '.join(sorted(_TAKES_BATCHES))} do"
        )
