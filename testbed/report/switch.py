"""A switch profile as text: every number with unit, mark and source, by what it belongs to. Pure; no output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from fractions import Fraction

from testbed.report.sourced_text import sourced_text, unverified_line
from testbed.spec.sourced import Sourced
from testbed.switches.headroom import formula_headroom, reaction_ps
from testbed.switches.profile import (
    FEATURE_WORDS,
    NO_THRESHOLD,
    Buffer,
    Ecn,
    Features,
    Links,
    Paths,
    Pfc,
    Scheduling,
    ShippedHeadroom,
    SwitchProfile,
    TableSizes,
    Voq,
)
from testbed.units import format_rate, format_time


def switch_text(profile: SwitchProfile, width: int) -> str:
    """Groups of numbers, then the sources, at most `width` columns where words allow it."""
    groups = list(_groups(profile))
    rates = ", ".join(map(format_rate, profile.port_rates_bps)) or "any rate"
    model = "virtual output queues, scheduled by credits" if profile.model == "voq" else "one shared buffer"
    about = [f"{model}; ports at {rates}", unverified_line(groups)]
    return "\n".join([*about, *sourced_text(groups, width, {"log2": _alpha})])


def _alpha(exponent: int) -> str:
    """Two to a power, or none."""
    return "none" if exponent == NO_THRESHOLD else f"{exponent} (alpha = {Fraction(2) ** exponent})"


def _groups(profile: SwitchProfile) -> Iterator[tuple[str, list[tuple[str, Sourced]]]]:
    """Every number of a profile, under titles."""
    yield (
        "ports and latency",
        [
            ("ports at the fastest rate", profile.ports),
            ("ports at any rate", profile.max_ports),
            ("capacity", profile.capacity),
            ("pipeline_latency", profile.pipeline_latency),
        ],
    )
    yield (
        "features",
        [(FEATURE_WORDS[name], number) for name, number in _named(profile.features)],
    )
    yield "buffer", _named(profile.buffer)
    if profile.voq is not None:
        yield "virtual output queues", _named(profile.voq)
    if profile.features.pfc.number:
        yield from _pfc_groups(profile)
    yield "ECN, with ecn=default", _named(profile.ecn)
    yield "scheduling, with scheduling=dwrr", _named(profile.scheduling)
    if profile.features.dlb.number or profile.features.per_packet.number:
        yield "paths that know the load", _named(profile.paths)
    yield "forwarding tables", _named(profile.tables)
    if profile.features.llr.number or profile.features.cbfc.number:
        yield "links that retry, and links with credits", _named(profile.links)


def _pfc_groups(profile: SwitchProfile) -> Iterator[tuple[str, list[tuple[str, Sourced]]]]:
    """Pausing, how soon it works, and what must be held until then."""
    pfc = profile.pfc
    yield "priority flow control, where an experiment asks for lossless classes", _named(pfc)
    yield (
        "a paused port stops within",
        [(_response_name(profile, entry.rate_bps), entry.quanta) for entry in pfc.response],
    )
    if pfc.shipped:
        shipped = sorted(pfc.shipped, key=lambda entry: (entry.rate_bps, entry.length_mm))
        yield (
            "published headroom of a lossless priority group",
            [(f"{entry.label} (formula: {_formula(profile, entry)})", entry.headroom) for entry in shipped],
        )


def _named(
    group: Buffer | Ecn | Features | Links | Paths | Pfc | Scheduling | TableSizes | Voq,
) -> list[tuple[str, Sourced]]:
    """The numbers of one group by their names."""
    values = [(one.name, getattr(group, one.name)) for one in fields(group)]
    return [(name, value) for name, value in values if isinstance(value, Sourced)]


def _response_name(profile: SwitchProfile, rate_bps: int) -> str:
    return f"{format_rate(rate_bps)}: {format_time(reaction_ps(profile.pfc, rate_bps))}"


def _formula(profile: SwitchProfile, entry: ShippedHeadroom) -> str:
    """What the formula gives for the same port."""
    cell_bytes = profile.buffer.cell.number
    found = formula_headroom(
        profile.pfc, rate_bps=entry.rate_bps, length_mm=entry.length_mm, cell_bytes=cell_bytes
    )
    return f"{found:,}"
