"""A switch profile as text: every number with unit, mark and source, by what it belongs to. Pure; no output.

Sources are numbered and listed once, below: most of them stand behind many numbers.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from fractions import Fraction

from testbed.spec.sourced import UNVERIFIED, Sourced
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
    Voq,
)
from testbed.units import format_rate, format_time

_Row = tuple[str, str, str, str]
_GAP = "  "
_INDENT = 7
_UNLIMITED = 2**63 - 1


def switch_text(profile: SwitchProfile, width: int) -> str:
    """Groups of numbers, then the sources, at most `width` columns where words allow it."""
    sources: dict[str, int] = {}
    groups = {title: [_row(*item, sources) for item in items] for title, items in _groups(profile)}
    every = [row for rows in groups.values() for row in rows]
    widths = (
        max(len(f"{name}{_GAP}{value}") for name, value, *_ in every),
        max(len(row[2]) for row in every),
    )
    lines = [_summary(profile)]
    for title, rows in groups.items():
        lines += ["", title, *(_aligned(row, widths) for row in rows)]
    lines += ["", "sources", *_sources(sources, width)]
    return "\n".join(lines)


def _summary(profile: SwitchProfile) -> str:
    """What kind of switch it is, and how well it is known."""
    numbers = [number for _, items in _groups(profile) for _, number in items]
    unverified = sum(number.mark in UNVERIFIED for number in numbers)
    rates = ", ".join(map(format_rate, profile.port_rates_bps)) or "any rate"
    model = "virtual output queues, scheduled by credits" if profile.model == "voq" else "one shared buffer"
    return (
        f"{model}; ports at {rates}\n"
        f"{unverified} of {len(numbers)} numbers are not verified (marks M, E and assumed)"
    )


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
    group: Buffer | Ecn | Features | Links | Paths | Pfc | Scheduling | Voq,
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


def _row(name: str, number: Sourced, sources: dict[str, int]) -> _Row:
    """Name, value with unit, mark, number of the source."""
    reference = sources.setdefault(number.source, len(sources) + 1)
    return name, _value(number), number.mark, f"[{reference}]"


def _value(number: Sourced) -> str:
    """A value as a person reads it."""
    if isinstance(number.value, tuple):
        return ", ".join(map(str, number.value))
    if number.value == _UNLIMITED:
        return "unlimited"
    formatted = _UNITS.get(number.unit)
    return formatted(number.value) if formatted else f"{number.value:,} {number.unit}"


def _alpha(exponent: int) -> str:
    """Two to a power, or none."""
    return "none" if exponent == NO_THRESHOLD else f"{exponent} (alpha = {Fraction(2) ** exponent})"


_UNITS: Mapping[str, Callable[[int], str]] = {
    "ps": format_time,
    "bit/s": format_rate,
    "log2": _alpha,
    "yes/no": lambda value: "yes" if value else "no",
    "ppm": lambda value: f"{value / 10_000:g} %",
    "permille": lambda value: f"{value / 10:g} %",
}


def _aligned(row: _Row, widths: Sequence[int]) -> str:
    """Names to the left, values to the right: a long name may stand where another row has a long value."""
    name, value, mark, reference = row
    return _GAP + _GAP.join([name + value.rjust(widths[0] - len(name)), mark.ljust(widths[1]), reference])


def _sources(sources: Mapping[str, int], width: int) -> Iterator[str]:
    """Each source behind its number; a long address stays whole."""
    for source, reference in sources.items():
        yield from textwrap.wrap(
            source,
            width,
            initial_indent=f"{_GAP}[{reference}]".ljust(_INDENT),
            subsequent_indent=" " * _INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
