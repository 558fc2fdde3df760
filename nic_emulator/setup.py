"""A NIC as an experiment uses it: a profile, and what `nic_settings` change or switch on. Pure.

Nothing set: the profile's own choices, one card behind the NIC, payload in the card's performance memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from nic_emulator.card import CORSAIR, LocalPath, Memory, added_stages
from nic_emulator.profile import ENTROPY_FORMATS, Choice, NicProfile, OpName, Place, Stage, Table
from nic_emulator.settings import CLASSES, PARSERS, Batch, Window, number_like
from testbed.errors import Problems, SpecError
from testbed.registry import Registry, unknown_name
from testbed.spec.parameters import Parameters, ParameterValue
from testbed.spec.settings import BY_EXPERIMENT
from testbed.spec.sourced import Sourced
from testbed.units import format_time

MAX_SELECTIVE_WINDOW_PKTS = 64
"""A selective acknowledgement has a bitmap of so many packets."""

_CONGESTION = "congestion."
# where a card does it all itself, it waits for no other
_OF_THE_CARD: frozenset[Place] = frozenset({"post", "notify", "signal"})
_OF_EVERY_NIC = ("cards", "memory", "local", "mtu", "window", "retransmission_timeout")
# key -> field of the profile that it replaces; a NIC takes it if its profile has that
_NUMBERS: Mapping[str, str] = {
    "mtu": "mtu_bytes",
    "paths": "paths",
    "tlp": "tail_loss_probe",
    "retransmission_timeout": "retransmission_timeout",
    "virtual_channels": "virtual_channels",
}
# what a transport without acknowledgements does not use
_OF_RELIABLE = (
    "window_pkts",
    "ack_bytes",
    "ack_class",
    "ack_every_pkts",
    "ack_latency",
    "retransmission_timeout",
    "retry_limit",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NicSetup:
    """A profile with what an experiment makes of it."""

    profile: NicProfile
    """Its numbers, those that the experiment sets in their place; what is not in use is left out."""
    settings: Parameters = field(default_factory=Parameters)
    """As written, for this NIC."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """The value of each of its choices."""
    cards: int = 1
    memory: Memory = "performance"
    local: LocalPath = "bridge"

    @property
    def sprays(self) -> bool:
        """Whether packets of a stream take several paths."""
        return self.profile.paths is not None and self.profile.paths.number > 1

    def bears_reordering(self, *, keeps_order: bool) -> bool:
        """Whether the reorder window is in use, on switches that keep the order of a flow or do not."""
        return self.profile.expects_reordering or self.sprays or not keeps_order

    @property
    def unused(self) -> frozenset[str]:
        """Fields of the profile that take no part."""
        return frozenset(_OF_RELIABLE if self.profile.reliability == "unreliable" else ())

    def stages(self, place: Place, *, size_bytes: int, op: OpName) -> tuple[Stage, ...]:
        """The stages of one place, for messages of one size."""
        stages = self.profile.at(place)
        if place == "send" and self._is_inline(size_bytes, op):
            return tuple(stage for stage in stages if not stage.reads_payload)
        return stages

    def _is_inline(self, size_bytes: int, op: OpName) -> bool:
        limit = self.profile.max_inline
        return self.profile.posts_inline and op != "get" and limit is not None and size_bytes <= limit.number


def configured(profile: NicProfile, settings: Mapping[str, ParameterValue]) -> NicSetup:
    """A profile under settings of its own; all that is wrong with them is named in one `SpecError`."""
    problems = Problems()
    values = _parsed(profile, settings, problems)
    problems.raise_if_any()
    chosen = {key: values.get(key, choice.default) for key, choice in profile.choices.items()}
    _check_choices(profile, chosen, problems)
    effective = _with_choices(profile, chosen)
    effective = _with_numbers(effective, values, problems)
    effective = _with_batch(effective, values.get("batch"))
    effective = _with_receives(effective, values.get("receive_depth"))
    effective = _with_congestion(effective, settings, problems)
    effective = _with_host(effective, values, problems)
    _check(effective, values, problems)
    problems.raise_if_any()
    setup = NicSetup(
        profile=effective,
        settings=Parameters(settings),
        chosen=chosen,
        cards=values.get("cards", 1),
        memory=values.get("memory", "performance"),
        local=values.get("local", "bridge"),
    )
    return replace(setup, profile=_in_use(setup))


def configured_all(
    names: Iterable[str], settings: Mapping[str, ParameterValue], *, known: Registry[NicProfile]
) -> dict[str, NicSetup]:
    """The NICs of an experiment, each with the settings for all of them and those that name it.

    Settings that name another NIC are checked against that one, so that a slip of the pen is never without effect.
    """
    names, problems = list(names), Problems()
    settings = _without_strangers(settings, known, problems)
    named = {key.partition(".")[0] for key in settings} & set(known.names())
    found = {}
    for name in [*names, *sorted(named - set(names))]:
        profile, written = known.get(name), _written_keys(name, settings, known, shared=name in names)
        try:
            found[name] = configured(
                profile, {key: settings[as_written] for key, as_written in written.items()}
            )
        except SpecError as error:
            for problem in error.problems:
                problems.add(written.get(problem.path, problem.path), problem.problem, problem.remedy)
    problems.raise_if_any()
    return {name: found[name] for name in names}


def _without_strangers(
    settings: Mapping[str, ParameterValue], known: Registry[NicProfile], problems: Problems
) -> dict[str, ParameterValue]:
    """What some NIC may take; what none does is a slip of the pen, and named once."""
    every = dict.fromkeys(key for name in known.names() for key in setting_keys(known.get(name)))
    found = dict(settings)
    for key in settings:
        head = key.partition(".")[0]
        if head not in known and key not in every and not key.startswith(_CONGESTION):
            error = unknown_name("NIC setting", key, every)
            problems.add(key, str(error), error.remedy)
            del found[key]
    return found


def _written_keys(
    name: str, settings: Mapping[str, ParameterValue], known: Registry[NicProfile], *, shared: bool
) -> dict[str, str]:
    """The keys for one NIC, and how each is written; one that names the NIC goes before one for all."""
    keys = {key: key for key in settings if shared and key.partition(".")[0] not in known}
    return keys | {key.removeprefix(f"{name}."): key for key in settings if key.startswith(f"{name}.")}


def setting_keys(profile: NicProfile) -> tuple[str, ...]:
    """Every setting that a NIC takes; parameters of congestion control apart."""
    numbers = [key for key, name in _NUMBERS.items() if getattr(profile, name) is not None]
    has = {
        "batch": profile.batching is not None,
        "receive_depth": profile.receives is not None,
        "congestion": bool(profile.congestions),
        "host_stalls": any(stage.software for stage in profile.stages),
        "host_jitter": any(stage.software for stage in profile.stages),
    }
    known = [key for key in PARSERS if key in _OF_EVERY_NIC or key in numbers or has.get(key)]
    return (*known, *profile.choices)


# ------------------------------------------------------------------------------------------------- reading


def _parsed(
    profile: NicProfile, settings: Mapping[str, ParameterValue], problems: Problems
) -> dict[str, Any]:
    """Every known key with its value, read."""
    keys, values = setting_keys(profile), {}
    for key, value in settings.items():
        if key.startswith(_CONGESTION) and profile.congestions:
            continue  # read with the part that it is for
        try:
            if key not in keys:
                raise _no_setting(profile, key, keys)
            values[key] = (
                _choice(profile.choices[key], key, value) if key in profile.choices else PARSERS[key](value)
            )
        except SpecError as error:
            problems.add(key, str(error), error.remedy)
    return values


def _no_setting(profile: NicProfile, key: str, keys: tuple[str, ...]) -> SpecError:
    error = unknown_name(f"setting of {profile.name}", key, keys)
    if key in PARSERS:  # no slip of the pen
        return SpecError(
            f"{profile.name} has no setting '{key}'; known: {', '.join(keys)}",
            remedy=f"leave it out, or name the NIC that it is for: NAME.{key}",
        )
    return error


def _choice(choice: Choice, key: str, value: ParameterValue) -> str:
    if value not in choice.options:
        raise unknown_name(key, str(value), choice.options)
    return str(value)


# ------------------------------------------------------------------------------------------------- applying


def _set(owner: Any, name: str, value: int) -> Any:  # noqa: ANN401 - a profile, or a part of one
    """A copy with one number replaced."""
    return replace(
        owner,
        **{name: replace(getattr(owner, name), value=value, mark="V", source=BY_EXPERIMENT, range=None)},
    )


def _with_choices(profile: NicProfile, chosen: Mapping[str, str]) -> NicProfile:
    for key, value in chosen.items():
        profile = replace(profile, **profile.choices[key].options[value])
    there = [s for s in profile.stages if all(chosen[key] in values for key, values in s.when.items())]
    return replace(profile, stages=tuple(replace(stage, when={}) if stage.when else stage for stage in there))


def _with_numbers(profile: NicProfile, values: Mapping[str, Any], problems: Problems) -> NicProfile:
    for key, name in _NUMBERS.items():
        if key in values and getattr(profile, name) is None:  # a choice has taken it away
            problems.add(key, f"{profile.name} has no {key} with the other settings", "leave it out")
        elif key in values:
            profile = _set(profile, name, values[key])
    window: Window | None = values.get("window")
    return (
        profile if window is None else _set(profile, "window_pkts", window.in_pkts(profile.mtu_bytes.number))
    )


def _with_batch(profile: NicProfile, batch: Batch | None) -> NicProfile:
    if batch is None or profile.batching is None:
        return profile
    batching = _set(profile.batching, "bytes", batch.size_bytes)
    if batch.delay_ps is not None:
        batching = _set(batching, "delay", batch.delay_ps)
    return replace(profile, batching=batching)


def _with_receives(profile: NicProfile, depth: int | None) -> NicProfile:
    if depth is None or profile.receives is None:
        return profile
    return replace(profile, receives=_set(profile.receives, "depth", depth))


def _with_congestion(
    profile: NicProfile, settings: Mapping[str, ParameterValue], problems: Problems
) -> NicProfile:
    """The part in use alone, with the parameters that the experiment sets."""
    name = str(settings.get("congestion", profile.congestion or "off"))
    if name != "off" and name not in profile.congestions:
        error = unknown_name(f"congestion control of {profile.name}", name, ("off", *profile.congestions))
        problems.add("congestion", str(error), error.remedy)
        return profile
    parameters = dict(profile.congestions.get(name, {}))
    for key, value in settings.items():
        if key.startswith(_CONGESTION) and profile.congestions:
            _set_parameter(name, parameters, key, value, problems)
    return replace(
        profile,
        congestion="" if name == "off" else name,
        congestions={} if name == "off" else {name: parameters},
        cnp_interval=profile.cnp_interval if name == "dcqcn" else None,
    )


def _set_parameter(
    part: str, parameters: dict[str, Sourced], key: str, value: ParameterValue, problems: Problems
) -> None:
    name = key.removeprefix(_CONGESTION)
    try:
        if name not in parameters:
            raise unknown_name(f"parameter of congestion={part}", name, parameters)
        number = number_like(parameters[name], value)
        parameters[name] = replace(parameters[name], value=number, mark="V", source=BY_EXPERIMENT, range=None)
    except SpecError as error:
        problems.add(key, str(error), error.remedy)


def _with_host(profile: NicProfile, values: Mapping[str, Any], problems: Problems) -> NicProfile:
    """Host software that is disturbed more or less."""
    stalls, jitter = values.get("host_stalls"), values.get("host_jitter")
    if stalls is None and jitter is None:
        return profile
    if not any(stage.software for stage in profile.stages):
        key = "host_jitter" if stalls is None else "host_stalls"
        problems.add(key, f"{profile.name} has no host software with these settings", "leave it out")
        return profile
    return replace(
        profile,
        stages=tuple(_disturbed(s, stalls, jitter) if s.software else s for s in profile.stages),
    )


def _disturbed(stage: Stage, stalls: Fraction | None, jitter: Fraction | None) -> Stage:
    """Stalls at so many times the rate; jitter so many times as long."""
    if stalls is not None and stage.stall:
        interval = round(stage.stall_interval.number / stalls) if stalls else 0
        stage = replace(_set(stage, "stall_interval", interval), stall=stage.stall if stalls else ())
    if jitter is not None:
        stage = replace(stage, jitter=_scaled(stage.jitter, jitter) if jitter else ())
    return stage


def _scaled(table: Table, factor: Fraction) -> Table:
    if factor == 1:
        return table
    return tuple(
        (ppm, replace(ps, value=round(ps.number * factor), mark="V", source=BY_EXPERIMENT))
        for ppm, ps in table
    )


def _check_choices(profile: NicProfile, chosen: Mapping[str, str], problems: Problems) -> None:
    """Refuse what another choice leaves without effect."""
    for key, value in chosen.items():
        for other, values in profile.choices[key].needs.items():
            if value != profile.choices[key].default and chosen[other] not in values:
                needed = " or ".join(f"{other}={one}" for one in values)
                problems.add(
                    key,
                    f"'{value}' does nothing with {other}={chosen[other]}",
                    f"set {needed}, or leave it out",
                )


def _check(profile: NicProfile, values: Mapping[str, Any], problems: Problems) -> None:
    """Settings that do not go together."""
    if profile.paths is not None and profile.paths.number > 1 and profile.wire_format not in ENTROPY_FORMATS:
        known = " or ".join(
            f"{key}={value}"
            for key, choice in profile.choices.items()
            for value, fields in choice.options.items()
            if fields.get("wire_format") in ENTROPY_FORMATS
        )
        problems.add(
            "paths",
            f"the header of {profile.name} has no field that spreads packets over paths",
            f"set {known}, too" if known else "leave it out",
        )
    if profile.reliability == "selective" and profile.window_pkts.number > MAX_SELECTIVE_WINDOW_PKTS:
        problems.add(
            "window",
            f"{profile.window_pkts.number} packets, an acknowledgement tells of {MAX_SELECTIVE_WINDOW_PKTS}",
            f"use at most {MAX_SELECTIVE_WINDOW_PKTS} packets, or a larger mtu",
        )
    channels = profile.virtual_channels
    if channels is not None and profile.data_class.number + channels.number > CLASSES:
        problems.add(
            "virtual_channels",
            f"{channels.number} classes from class {profile.data_class.number}, there are {CLASSES}",
            f"use at most {CLASSES - profile.data_class.number}",
        )
    if profile.batching is not None and profile.batching.bytes.number > profile.mtu_bytes.number:
        problems.add(
            "batch",
            f"{profile.batching.bytes.number:,} bytes, a packet holds {profile.mtu_bytes.number:,}",
            "write a smaller size, or a larger mtu",
        )
    probe = profile.tail_loss_probe
    if probe is not None and probe.number >= profile.retransmission_timeout.number:
        problems.add(
            "tlp" if "tlp" in values else "retransmission_timeout",
            f"a tail-loss probe after {format_time(probe.number)} comes with the time-out or behind it",
            "let the time-out be later, or set tlp=off",
        )
    if "local" in values and values.get("cards", 1) == 1:
        problems.add("local", "one card has no other beside it", "set cards, too")


def _in_use(setup: NicSetup) -> NicProfile:
    """The profile with the stages of its cards, without what is off."""
    profile = setup.profile
    stages = added_stages(
        profile.stages, card=CORSAIR, cards=setup.cards, memory=setup.memory, local=setup.local
    )
    if setup.cards > 1 and profile.initiator == "device":
        stages = tuple(replace(s, per_card=True) if s.place in _OF_THE_CARD else s for s in stages)
    batching, receives = profile.batching, profile.receives
    return replace(
        profile,
        stages=stages,
        choices={},
        max_inline=profile.max_inline if profile.posts_inline else None,
        paths=profile.paths if setup.sprays else None,
        tail_loss_probe=_unless_zero(profile.tail_loss_probe),
        batching=batching if batching and batching.bytes.number else None,
        receives=receives if receives and receives.depth.number else None,
        virtual_channels=profile.virtual_channels,
    )


def _unless_zero(number: Sourced | None) -> Sourced | None:
    return number if number is not None and number.number else None
