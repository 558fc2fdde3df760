"""A switch as an experiment uses it: a profile, and what `switch_settings` change or switch on. Pure.

Nothing set: the product's pipeline, buffer and egress thresholds, strict priority, flows hashed, everything else off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from testbed.errors import Problems, SpecError
from testbed.registry import unknown_name
from testbed.spec.parameters import Parameters, ParameterValue
from testbed.spec.settings import BY_EXPERIMENT
from testbed.spec.sourced import Sourced
from testbed.switches import SWITCHES
from testbed.switches.headroom import auto_headroom, auto_numbers, reaction_ps, response
from testbed.switches.profile import FEATURE_WORDS, NO_THRESHOLD, Ecn, SwitchProfile, Voq
from testbed.switches.settings import HASHED, PARSERS, Curve, PathChoice, Shaper, Trim, Watchdog

# key -> group and name of the number of the profile that it replaces
_NUMBERS: Mapping[str, tuple[str, str]] = {
    "pipeline_latency": ("", "pipeline_latency"),
    "buffer": ("buffer", "pool"),
    "alpha_log2": ("buffer", "alpha_log2"),
    "ingress_alpha_log2": ("buffer", "ingress_alpha_log2"),
    "lossless_alpha_log2": ("pfc", "alpha_log2"),
}
# key -> what it reads as when it asks for nothing
_OFF: Mapping[str, object] = {
    "cut_through": False,
    "ingress_alpha_log2": NO_THRESHOLD,
    "lossless": (),
    "watchdog": None,
    "ecn": "off",
    "ecn_at": False,
    "scheduling": (),
    "shaper": (),
    "paths": HASHED,
    "trim": None,
    "int": False,
    "sflow": 0,
    "llr": False,
    "cbfc": False,
}
_VOQ_KEYS = ("pipeline_latency", "buffer", "ecn", "hash_seed")
# key -> the feature without which it can only be off
_FEATURE_OF = {
    "cut_through": "cut_through",
    "lossless": "pfc",
    "ecn": "ecn",
    "trim": "trimming",
    "int": "telemetry",
    "llr": "llr",
    "cbfc": "cbfc",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchSetup:
    """A profile with what an experiment makes of it."""

    profile: SwitchProfile
    """Its numbers, those that the experiment sets in their place."""
    settings: Parameters = field(default_factory=Parameters)
    """As written."""
    cut_through: bool
    lossless_classes: tuple[int, ...] = ()
    """None: PFC is off."""
    headroom_bytes: int | None = None
    """Of a lossless priority group at every port; None: by the port's rate and cable."""
    watchdog: Watchdog | None = None
    curve: Curve | None = None
    """Marking of every class; None: ECN is off."""
    ecn_at_enqueue: bool = False
    weights: tuple[int, ...] = ()
    """Of the eight classes, 0 for strict priority; empty: all strict."""
    shapers: tuple[Shaper, ...] = ()
    paths: PathChoice = HASHED
    same_seed: bool = False
    """Whether all switches hash flows alike, so that each tier repeats the choice of the one before."""
    trim: Trim | None = None
    telemetry: bool = False
    sflow_interval: int = 0
    llr: bool = False
    cbfc: bool = False

    def headroom(self, rate_bps: int, length_mm: int) -> int:
        """What a lossless priority group behind such a link may take beyond its threshold, in bytes."""
        if self.headroom_bytes is not None:
            return self.headroom_bytes
        return auto_headroom(self.profile, rate_bps, length_mm)

    @property
    def shared_bytes(self) -> int:
        """The part of the buffer that queues share.

        The headroom pool of a product is carved out of its memory; the buffer that an experiment sets is the
        shared part itself, and headroom comes on top.
        """
        buffer = self.profile.buffer
        carved = self.lossless_classes and "buffer" not in self.settings
        return buffer.pool.number - (buffer.headroom_pool.number if carved else 0)

    @property
    def keeps_order(self) -> bool:
        """Whether all packets of a flow take one way."""
        return self.paths == HASHED

    def reaction_ps(self, rates_bps: Iterable[int]) -> int:
        """From a pause frame to the class being stopped: what the port of the shortest such time may take.

        The engine has one for each switch; so no port takes longer than the standard lets it.
        """
        return min(reaction_ps(self.profile.pfc, rate) for rate in rates_bps)

    def used_numbers(self, links: Iterable[tuple[int, int]]) -> dict[str, Sourced]:
        """The sourced numbers that a run rests on, by their path; `links`: rate in bit/s and length in mm."""
        numbers = {
            path: number
            for part in (self._always(), self._when_lossless(links), self._when_on())
            for path, number in part
        }
        return {f"{self.profile.name}.{path}": number for path, number in numbers.items()}

    def _always(self) -> Iterator[tuple[str, Sourced]]:
        profile, buffer = self.profile, self.profile.buffer
        yield "pipeline_latency", profile.pipeline_latency
        if self.settings.get("cut_through") != "off":
            yield "features.cut_through", profile.features.cut_through
        yield "buffer.pool", buffer.pool
        if profile.voq is not None:
            yield from _numbers_of(profile.voq, "voq")
            return
        for name in ("cell", "reserved", "alpha_log2", "ingress_alpha_log2"):
            yield f"buffer.{name}", getattr(buffer, name)
        if self.limits_ingress:
            yield "buffer.group_reserved", buffer.group_reserved

    def _when_lossless(self, links: Iterable[tuple[int, int]]) -> Iterator[tuple[str, Sourced]]:
        if not self.lossless_classes:
            return
        pfc = self.profile.pfc
        yield "features.pfc", self.profile.features.pfc
        yield "buffer.headroom_pool", self.profile.buffer.headroom_pool
        for name in ("alpha_log2", "xon_offset", "pause_quanta", "generation"):
            yield f"pfc.{name}", getattr(pfc, name)
        for rate, length in links:
            entry = response(pfc, rate)
            yield f"pfc.response[{entry.label}]", entry.quanta
            if self.headroom_bytes is None:
                yield from auto_numbers(self.profile, rate, length).items()

    def _when_on(self) -> Iterator[tuple[str, Sourced]]:
        profile, features = self.profile, self.profile.features
        for key, name in _FEATURE_OF.items():
            if key not in ("cut_through", "lossless") and self._is_on(key):
                yield f"features.{name}", getattr(features, name)
        if self.settings.get("ecn") == "default":
            yield from _numbers_of(profile.ecn, "ecn")
        if self.settings.get("scheduling") == "dwrr":
            yield "scheduling.weights", profile.scheduling.weights
        if self.weights:
            yield "scheduling.quantum", profile.scheduling.quantum
        if self.llr:
            yield "links.llr_latency", profile.links.llr_latency
        if self.cbfc:
            yield "links.cbfc_credit", profile.links.cbfc_credit
            yield "pfc.generation", profile.pfc.generation
        path_feature = _path_feature(self.paths)
        if path_feature:
            yield f"features.{path_feature}", getattr(features, path_feature)
        if self.paths.flowlet_gap_ps:
            yield "paths.flowlet_entries", profile.paths.flowlet_entries
        if self.paths.kind == "least_loaded":
            yield "paths.load_quantum", profile.paths.load_quantum

    def _is_on(self, key: str) -> bool:
        return key in self.settings and PARSERS[key](self.settings[key]) != _OFF[key]

    @property
    def limits_ingress(self) -> bool:
        """Whether priority groups are accounted for."""
        return bool(self.lossless_classes) or self.profile.buffer.ingress_alpha_log2.number != NO_THRESHOLD


def configured(profile: SwitchProfile, settings: Mapping[str, ParameterValue]) -> SwitchSetup:
    """A profile under an experiment's settings; all that is wrong with them is named in one `SpecError`."""
    problems = Problems()
    values = _parsed(settings, problems)
    for key, value in values.items():
        _check_product(profile, key, value, problems)
    if values.get("buffer", profile.buffer.cell.number) < profile.buffer.cell.number:
        problems.add(
            "buffer",
            f"less than one cell of {profile.buffer.cell.number} bytes",
            "write a larger one, e.g. '64MB'",
        )
    problems.raise_if_any()
    effective = _with_numbers(profile, values)
    return SwitchSetup(
        profile=effective,
        settings=Parameters(settings),
        cut_through=values.get("cut_through", bool(profile.features.cut_through.number)),
        lossless_classes=_lossless(profile, values.get("lossless", ())),
        headroom_bytes=values.get("headroom"),
        watchdog=values.get("watchdog"),
        curve=_curve(profile, values.get("ecn", "off")),
        ecn_at_enqueue=values.get("ecn_at", False),
        weights=_weights(profile, values.get("scheduling", ())),
        shapers=values.get("shaper", ()),
        paths=values.get("paths", HASHED),
        same_seed=values.get("hash_seed", False),
        trim=values.get("trim"),
        telemetry=values.get("int", False),
        sflow_interval=values.get("sflow", 0),
        llr=values.get("llr", False),
        cbfc=values.get("cbfc", False),
    )


def _parsed(settings: Mapping[str, ParameterValue], problems: Problems) -> dict[str, Any]:
    """Every known key with its value, read."""
    values: dict[str, Any] = {}
    for key, text in settings.items():
        try:
            if key not in PARSERS:
                raise unknown_name("switch setting", key, PARSERS)
            values[key] = PARSERS[key](text)
        except SpecError as error:
            problems.add(key, str(error), error.remedy)
    return values


def _check_product(profile: SwitchProfile, key: str, value: object, problems: Problems) -> None:
    """Refuse what the product does not have, and name those that do."""
    if key in _OFF and value == _OFF[key]:
        return
    if profile.model == "voq" and key not in _VOQ_KEYS:
        problems.add(
            key,
            f"the model of {profile.name}, with virtual output queues, does not take it",
            _others("shared"),
        )
        return
    feature = _path_feature(value) if isinstance(value, PathChoice) else _FEATURE_OF.get(key)
    if feature is not None and not getattr(profile.features, feature).number:
        problems.add(key, f"{profile.name} has no {FEATURE_WORDS[feature]}", _others(feature))


def _others(feature: str) -> str:
    """What to write instead of a feature that is missing."""
    profiles = [SWITCHES.get(name) for name in SWITCHES.names()]
    having = [
        one.name
        for one in profiles
        if one.model == "shared" and (feature == "shared" or getattr(one.features, feature).number)
    ]
    return f"leave it out, or use one of: {', '.join(having)}"


def _path_feature(paths: PathChoice) -> str | None:
    """The feature that a path choice needs, if any."""
    if paths.flowlet_gap_ps:
        return "dlb"
    return None if paths.kind == "hash" else "per_packet"


def _with_numbers(profile: SwitchProfile, values: Mapping[str, Any]) -> SwitchProfile:
    """A copy with the numbers that the experiment sets."""
    for key, (group, name) in _NUMBERS.items():
        if key not in values:
            continue
        owner: Any = getattr(profile, group) if group else profile
        number = Sourced(values[key], getattr(owner, name).unit, "V", BY_EXPERIMENT)
        changed = replace(owner, **{name: number})
        profile = replace(profile, **{group: changed}) if group else changed
    return profile


def _lossless(profile: SwitchProfile, classes: tuple[int, ...] | None) -> tuple[int, ...]:
    return _table(profile.pfc.classes) if classes is None else classes


def _curve(profile: SwitchProfile, curve: Curve | str) -> Curve | None:
    if isinstance(curve, Curve):
        return curve
    ecn = profile.ecn
    default = Curve(kmin_bytes=ecn.kmin.number, kmax_bytes=ecn.kmax.number, pmax_ppm=ecn.pmax.number)
    return default if curve == "default" else None


def _weights(profile: SwitchProfile, weights: tuple[int, ...] | str) -> tuple[int, ...]:
    return weights if isinstance(weights, tuple) else _table(profile.scheduling.weights)


def _table(number: Sourced) -> tuple[int, ...]:
    assert isinstance(number.value, tuple)
    return number.value


def _numbers_of(group: Ecn | Voq, path: str) -> Iterator[tuple[str, Sourced]]:
    """Every number of a group of a profile."""
    for one in fields(group):
        yield f"{path}.{one.name}", getattr(group, one.name)
