"""How long the control plane takes, and what an experiment sets of it. Pure.

A link fails: after `detection` both its switches know, and buckets that watch the port are skipped. After
`control_latency` more the controller's new rules begin to go into a switch, `rule_install` for each entry that
changes; all of one switch's changes take effect together. A link returns: after `link_up` its ports are up, and the
controller reacts likewise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypeAlias

from testbed.errors import Problems, SpecError
from testbed.registry import Registry, unknown_name
from testbed.spec.parameters import Parameters, ParameterValue
from testbed.spec.settings import BY_EXPERIMENT, latency, switched, time_above_zero
from testbed.spec.sourced import Sourced
from testbed.switches.profile import CLASSES
from testbed.units import PS_PER_S

PathUse: TypeAlias = Literal["ecmp", "single"]
PCP_CLASSES = tuple(range(CLASSES))
"""The class of each VLAN priority: the same number, as in the switches' model."""
DSCP_CLASSES = tuple(dscp >> 3 for dscp in range(64))
"""The class of each code point: its class selector [RFC 2474, 4.2.2], as in the switches' model."""

_MS, _US = PS_PER_S // 1_000, PS_PER_S // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTiming:
    """What each step of a reaction takes."""

    name: str
    description: str
    detection: Sourced
    """From the loss of the carrier to both its switches knowing of it, in ps."""
    control_latency: Sourced
    """From a switch that knows to the first change in any switch: message, computation, message; in ps."""
    rule_install: Sourced
    """For each flow or group entry that is added, changed or removed in a switch, in ps."""
    link_up: Sourced
    """From the return of the carrier to both its switches using the port again, in ps."""


GENERIC = ControlTiming(
    name="generic",
    description="a switch that is told of a lost link by an interrupt, and a controller in the same hall",
    detection=Sourced(
        10 * _US,
        "ps",
        "assumed",
        "loss of lock at the PHY and an interrupt: no public number found; switches that poll their ports take up to"
        " 50 ms (ExtremeXOS, default) or 150 ms (Netvisor ONE 7.0.1, default; 10 ms to 1 s):"
        " https://techdocassets.pluribusnetworks.com/netvisor/nv1_701/CG/ConfiguringLinkScanMode4.html",
        (_US, 150 * _MS),
    ),
    control_latency=Sourced(
        _MS,
        "ps",
        "assumed",
        "two messages over a management network and a computation: no public number found",
        (100 * _US, 100 * _MS),
    ),
    rule_install=Sourced(
        100 * _US,
        "ps",
        "assumed",
        "10,000 entries a second; older hardware OpenFlow switches did tens to about a thousand (from memory of"
        " Kuzniar et al., 'Methodology, measurement and analysis of flow table update characteristics in hardware"
        " OpenFlow switches', Computer Networks 136, 2018)",
        (10 * _US, 25 * _MS),
    ),
    link_up=Sourced(
        10 * _US,
        "ps",
        "assumed",
        "alignment of the lanes with the signal there and no link training; with training up to seconds",
        (_US, 3 * PS_PER_S),
    ),
)

TIMINGS: Registry[ControlTiming] = Registry("control plane", {GENERIC.name: GENERIC})
"""One for all switches; looked up when it is needed, so that its numbers can be varied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOptions:
    """What the rules are to do."""

    paths: PathUse = "ecmp"
    """All shortest paths, or one for each destination."""
    failover: bool = False
    """Whether switches go around a lost link by themselves."""
    weights: bool = False
    """Whether paths are used in proportion to the capacity behind them."""
    class_of_pcp: tuple[int, ...] = PCP_CLASSES
    class_of_dscp: tuple[int, ...] = DSCP_CLASSES


DEFAULT_RULES = RuleOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSetup:
    """A control plane as an experiment uses it."""

    timing: ControlTiming
    """Its numbers, those that the experiment sets in their place."""
    settings: Parameters = field(default_factory=Parameters)
    """As written."""
    rules: RuleOptions = DEFAULT_RULES

    @property
    def detection_ps(self) -> int:
        """Loss of the carrier to the switches' knowledge."""
        return self.timing.detection.number

    @property
    def control_latency_ps(self) -> int:
        """A switch's knowledge to the first change."""
        return self.timing.control_latency.number

    @property
    def rule_install_ps(self) -> int:
        """For each entry."""
        return self.timing.rule_install.number

    @property
    def link_up_ps(self) -> int:
        """Return of the carrier to the port's use."""
        return self.timing.link_up.number

    def used_numbers(self) -> dict[str, Sourced]:
        """The sourced numbers that a run with failures rests on, by their path."""
        return {f"control.{self.timing.name}.{name}": getattr(self.timing, name) for name in _NUMBERS}


def path_use(value: ParameterValue) -> PathUse:
    """`ecmp` or `single`."""
    if value == "ecmp" or value == "single":
        return "ecmp" if value == "ecmp" else "single"
    raise SpecError(f"'{value}' is no use of paths", remedy="write 'ecmp' or 'single'")


def class_map(value: ParameterValue, usual: tuple[int, ...]) -> tuple[int, ...]:
    """`26:3,46:5` or `8-15:2`: the class of each value, or of those from one to another; the others' are as usual."""
    found = list(usual)
    for part in str(value).split(","):
        match = _CLASS.fullmatch(part.strip())
        if match is None:
            raise SpecError(
                f"'{part.strip()}' gives no value its class", remedy="write e.g. '3:5' or '0-7:0'"
            )
        low, high, to = int(match[1]), int(match[2] or match[1]), int(match[3])
        if not low <= high < len(usual):
            raise SpecError(
                f"'{part.strip()}': there are values from 0 to {len(usual) - 1}", remedy="write one of them"
            )
        if to >= CLASSES:
            raise SpecError(f"'{part.strip()}': there is no class {to}", remedy=f"write 0 to {CLASSES - 1}")
        found[low : high + 1] = [to] * (high + 1 - low)
    return tuple(found)


_CLASS = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?:(\d{1,3})", re.ASCII)
_NUMBERS: Mapping[str, Callable[[str], int]] = {
    "detection": time_above_zero,
    "control_latency": time_above_zero,
    "rule_install": latency,
    "link_up": time_above_zero,
}
_OPTIONS: Mapping[str, Callable[[ParameterValue], Any]] = {
    "failover": switched,
    "paths": path_use,
    "weights": switched,
    "class_of_pcp": partial(class_map, usual=PCP_CLASSES),
    "class_of_dscp": partial(class_map, usual=DSCP_CLASSES),
}
CONTROL_KEYS = (*_OPTIONS, *_NUMBERS)
"""What `control_settings` may set."""


def configured(settings: Mapping[str, ParameterValue]) -> ControlSetup:
    """The control plane under an experiment's settings; all that is wrong with them is named in one `SpecError`."""
    problems = Problems()
    options: dict[str, Any] = {}
    timing = TIMINGS.get(GENERIC.name)
    for key, value in settings.items():
        try:
            if key in _OPTIONS:
                options[key] = _OPTIONS[key](value)
            elif key in _NUMBERS:
                changed: dict[str, Any] = {key: Sourced(_NUMBERS[key](str(value)), "ps", "V", BY_EXPERIMENT)}
                timing = replace(timing, **changed)
            else:
                raise unknown_name("control setting", key, CONTROL_KEYS)
        except SpecError as error:
            problems.add(key, str(error), error.remedy)
    problems.raise_if_any()
    return ControlSetup(timing=timing, settings=Parameters(settings), rules=RuleOptions(**options))
