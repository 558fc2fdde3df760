"""`--set key=value`: a copy of an experiment with some of its fields replaced.

Text is parsed here, at the edge; whether the values make sense is checked where the spec is resolved.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from testbed.errors import Problems, SpecError
from testbed.registry import unknown_name
from testbed.spec.experiment import Experiment, Scenario, Variant
from testbed.spec.parameters import Parameters, ParameterValue
from testbed.units import parse_permille, parse_size, parse_time

NO_FAILURES = "none"
_WHOLE = re.compile(r"[+-]?\d[\d_]*", re.ASCII)
_MAX_DIGITS = 40
_Named = TypeVar("_Named", Scenario, Variant)


def apply_overrides(experiment: Experiment, overrides: Sequence[str]) -> Experiment:
    """Apply `key=value` texts in order; all that cannot be applied are named in one `SpecError`."""
    problems = Problems()
    for text in overrides:
        key, equals, value = text.partition("=")
        key, value = key.strip(), value.strip()
        try:
            if not equals or not value:
                raise SpecError(f"'{text}' is no key=value", remedy="write e.g. records=1000")
            experiment = _apply(experiment, key, value)
        except SpecError as error:
            problems.add(key or text, str(error), error.remedy)
    problems.raise_if_any()
    return experiment


def _apply(experiment: Experiment, key: str, value: str) -> Experiment:
    """One override: a field of the experiment, of its topology, or of a scenario."""
    head, dot, tail = key.partition(".")
    if key == "nics":
        return _with_nics(experiment, _names(value))
    if key in _FIELDS:
        field, parse = _FIELDS[key]
        return replace(experiment, **{field: parse(value)})
    if key == "records":
        same = tuple(replace(scenario, records=0) for scenario in experiment.scenarios)
        return replace(experiment, records=_whole(value), most_bytes=0, scenarios=same)
    if key == "topology":
        return replace(experiment, topology=value, topology_parameters=Parameters())
    if key == "scenarios":
        return replace(experiment, scenarios=_chosen(experiment.scenarios, "scenario", value))
    if key == "variants":
        return replace(experiment, variants=_chosen(experiment.variants, "variant", value))
    if head == "topology" and dot and tail:
        parameters = Parameters(experiment.topology_parameters).merged(tail, _parameter(value))
        return replace(experiment, topology_parameters=parameters)
    if head == "switch" and dot and tail:
        settings = Parameters(experiment.switch_settings).merged(tail, _parameter(value))
        return replace(experiment, switch_settings=settings)
    if head == "nic" and dot and tail:
        settings = Parameters(experiment.nic_settings).merged(tail, _parameter(value))
        return replace(experiment, nic_settings=settings)
    if head == "control" and dot and tail:
        settings = Parameters(experiment.control_settings).merged(tail, _parameter(value))
        return replace(experiment, control_settings=settings)
    if key == "failures":
        return _with_failures(experiment, () if value == NO_FAILURES else _names(value))
    scenarios = {scenario.name: scenario for scenario in experiment.scenarios}
    if dot and head in scenarios and tail in _SCENARIO_FIELDS:
        field, parse = _SCENARIO_FIELDS[tail]
        scenarios[head] = replace(scenarios[head], **{field: parse(value)})
        return replace(experiment, scenarios=tuple(scenarios.values()))
    raise unknown_name("key", key, override_keys(experiment))


def _with_nics(experiment: Experiment, nics: tuple[str, ...]) -> Experiment:
    """Other NICs; variants of NICs that are gone go, too."""
    own = [(variant, tuple(nic for nic in variant.nics if nic in nics)) for variant in experiment.variants]
    kept = tuple(replace(variant, nics=left) for variant, left in own if left or not variant.nics)
    return replace(experiment, nics=nics, variants=kept)


def _with_failures(experiment: Experiment, failures: tuple[str, ...]) -> Experiment:
    """Other failures, also in place of those that a variant has."""
    kept = tuple(replace(variant, failures=()) for variant in experiment.variants)
    return replace(experiment, failures=failures, variants=kept)


def override_keys(experiment: Experiment) -> tuple[str, ...]:
    """Every key that `apply_overrides` takes for this experiment."""
    of_scenarios = (f"{s.name}.{field}" for s in experiment.scenarios for field in _SCENARIO_FIELDS)
    of_nics = ("nic.SETTING", *(f"nic.{nic}.SETTING" for nic in experiment.nics))
    chosen = ("scenarios", *(["variants"] if experiment.variants else []))
    return (
        "records",
        *_FIELDS,
        "nics",
        *chosen,
        "topology",
        "topology.PARAMETER",
        "switch.SETTING",
        "failures",
        "control.SETTING",
        *of_nics,
        *of_scenarios,
    )


def _chosen(items: Sequence[_Named], kind: str, value: str) -> tuple[_Named, ...]:
    """The named scenarios or variants of the experiment, in the order named."""
    known = {item.name: item for item in items}
    for name in _names(value):
        if name not in known:
            raise unknown_name(kind, name, known)
    return tuple(known[name] for name in _names(value))


def _names(value: str) -> tuple[str, ...]:
    """Comma-separated names."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _sizes(value: str) -> tuple[int, ...]:
    """Comma-separated sizes."""
    return tuple(parse_size(part) for part in _names(value))


def _whole(value: str) -> int:
    """A whole number, `1_000_000` allowed."""
    if not _WHOLE.fullmatch(value) or len(value) > _MAX_DIGITS:
        raise SpecError(f"'{value}' is no whole number", remedy="write e.g. 1000 or 1_000_000")
    return int(value.replace("_", ""))


def _snap(value: str) -> int | None:
    """Bytes, or `full`."""
    if value == "full":
        return None
    return _whole(value) if _WHOLE.fullmatch(value) else parse_size(value)


def _interval(value: str) -> int | None:
    """A time, `off`, or `auto`."""
    return {"off": 0, "auto": None}[value] if value in ("off", "auto") else parse_time(value)


def _parameter(value: str) -> ParameterValue:
    """A topology parameter: a whole number if it reads as one, else text for the builder."""
    return _whole(value) if _WHOLE.fullmatch(value) else value


_Parser = Callable[[str], Any]
_FIELDS: dict[str, tuple[str, _Parser]] = {
    "emulated_records": ("emulated_records", _whole),
    "seed": ("seed", _whole),
    "snap": ("snap_bytes", _snap),
    "sample_interval": ("sample_interval_ps", _interval),
    "switch": ("switch", str),
    "host_agents": ("host_agents", str),
    "controller": ("controller", str),
    "sizes": ("sizes_bytes", _sizes),
}
_SCENARIO_FIELDS: dict[str, tuple[str, _Parser]] = {
    "load": ("load_permille", parse_permille),
    "fan_in": ("fan_in", _whole),
    "records": ("records", _whole),
    "op": ("op", str),
    "batch": ("batch", _whole),
}
