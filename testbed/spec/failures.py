"""What goes wrong in an experiment, and when. Pure.

A failure is text: WHERE@WHEN:WHAT.

    l1<>s1@100us-300us:down          no carrier, both ways; up again at 300 us
    l1<>s1@100us-110us/1ms*20:down   flapping: 20 times, once every millisecond
    l1>s1@100us-200us:loss=100%      silent loss in one direction: the carrier stays
    l1>s1@100us-200us:ber=1e-6       corruption: bit error ratio behind the FEC
    l1<>s1@100us-200us:rate=100Gbps  a slower link; `delay=1us` makes it longer
    s1@100us-200us:restart           a switch: its buffer is lost, its ports are down until it is back
    c3@100us-200us:restart           a card with its NIC
    c3@100us:process                 the process that stands in for the NIC is ended, and started again
    controller@100us-200us:lost      nobody reacts meanwhile; the switches go on forwarding

Of parallel cables all have it, unless the sender's port is named: `l1.5>s1`. `*<>*` is every link, for `loss` and
`ber`. Without an end (`@100us:down`) it lasts, but for `process`, which is a moment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from testbed.errors import Problems, SpecError
from testbed.registry import unknown_name
from testbed.spec.disturbance import PLACE, TIME, Place, spans
from testbed.spec.fabric import FOREVER_PS, Link
from testbed.spec.settings import time_above_zero
from testbed.units import PS_PER_S, RATIO_UNIT, byte_time_ps, format_time, parse_ppm, parse_rate, parse_ratio

FailureKind: TypeAlias = Literal["down", "loss", "ber", "rate", "delay", "restart", "process", "lost"]
CONTROLLER = "controller"
FAILURE_EXAMPLE = "l1<>s1@100us-300us:down"
MAX_DELAY_PS = PS_PER_S
"""`kMostExtraPs` in testbed/engine/plan.hpp."""
MOMENT_PS = 1
"""What has no duration is over after so long."""

_FAILURE = re.compile(
    rf"\s*(?:{PLACE}|(?P<node>[a-z][a-z0-9]*(?!\s*[<>.])))\s*(?:@\s*{TIME})?"
    r":\s*(?P<kind>[^\s=:]+)\s*(?:=\s*(?P<value>[^:]*))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure, once: a text with a period becomes several. Nodes by name; whether they exist is not checked yet."""

    kind: FailureKind
    where: str
    """The sender of a link, or the node, or `controller`."""
    receiver: str = ""
    """The far end of a link; empty for a node."""
    port: int | None = None
    """Of the sender; None: every link between the two."""
    both: bool = False
    """Both directions of a link."""
    from_ps: int
    until_ps: int
    """FOREVER_PS: it does not end."""
    loss_ppm: int = 0
    ber_e18: int = 0
    rate_bps: int = 0
    delay_ps: int = 0
    text: str = ""
    """As it was written."""

    def __post_init__(self) -> None:
        if not 0 <= self.from_ps < self.until_ps <= FOREVER_PS:
            raise SpecError(
                f"a failure from {format_time(self.from_ps)} until {format_time(self.until_ps)} is at no time",
                remedy="let it end after it begins",
            )

    @property
    def place(self) -> Place | None:
        """The link that it is of; None: it is of a node, or of the controller."""
        if not self.receiver:
            return None
        return Place(sender=self.where, receiver=self.receiver, port=self.port, both=self.both)

    def toward(self, link: Link) -> tuple[str, ...]:
        """The ends of a link that it keeps frames from; none if it is no failure of that link."""
        return self.place.toward(link) if self.place else ()


def parse_failures(texts: Sequence[str]) -> tuple[Failure, ...]:
    """The failures of these texts in their order, each time that they come; all bad texts are named in one error."""
    problems = Problems()
    found: list[Failure] = []
    for index, text in enumerate(texts):
        try:
            found += _parsed(text)
        except SpecError as error:
            problems.add(f"failures[{index}]", f"'{text.strip()}': {error}", error.remedy)
    problems.raise_if_any()
    return tuple(found)


def _parsed(text: str) -> tuple[Failure, ...]:
    """One text."""
    match = _FAILURE.fullmatch(text)
    if match is None:
        raise SpecError("it is not WHERE@WHEN:WHAT", remedy=f"write e.g. '{FAILURE_EXAMPLE}'")
    if match["kind"] not in _KINDS:
        raise unknown_name("failure", match["kind"], _KINDS)
    kind: FailureKind = match["kind"]  # type: ignore[assignment] # it is one of the table
    _check_where(kind, match)
    first = Failure(kind=kind, where=match["node"] or "", from_ps=0, until_ps=FOREVER_PS, text=text.strip())
    if match["sender"]:
        at = Place.of(match)
        first = replace(first, where=at.sender, receiver=at.receiver, port=at.port, both=at.both)
    first = replace(first, **_value(kind, match["value"]))
    times = spans(match, "failure", lasts_ps=MOMENT_PS if kind == "process" else FOREVER_PS)
    return tuple(replace(first, from_ps=from_ps, until_ps=until_ps) for from_ps, until_ps in times)


def _check_where(kind: FailureKind, match: re.Match[str]) -> None:
    """Links go down, nodes restart, and the controller is lost."""
    owner = _KINDS[kind].owner
    node = match["node"]
    given = "link" if node is None else CONTROLLER if node == CONTROLLER else "node"
    if given != owner:
        known = ", ".join(one for one, of in _KINDS.items() if of.owner == given)
        raise SpecError(
            f"'{kind}' is of a {owner}, and this is a {given}",
            remedy=f"write e.g. '{_KINDS[kind].example}', or one of a {given}: {known}",
        )
    if match["every"] and not _KINDS[kind].everywhere:
        raise SpecError(
            f"'{kind}' of every link at once leaves nothing to compare",
            remedy=f"name the link, e.g. '{_KINDS[kind].example}'",
        )
    if node is not None and not match["start"]:
        raise SpecError(f"it does not say when '{kind}' is", remedy=f"write e.g. '{_KINDS[kind].example}'")


def _value(kind: FailureKind, text: str | None) -> dict[str, Any]:
    """What follows `=`, as the field of a failure that it is."""
    known = _KINDS[kind]
    if known.read is None:
        if text is not None:
            raise SpecError(f"'{kind}' takes no value", remedy=f"write e.g. '{known.example}'")
        return {}
    if text is None or not text.strip():
        raise SpecError(f"'{kind}' needs a value", remedy=f"write e.g. '{known.example}'")
    return {known.field: known.read(text.strip())}


def _loss(text: str) -> int:
    """Parts per million above zero."""
    loss_ppm = parse_ppm(text)
    if not 1 <= loss_ppm <= 1_000_000:
        raise SpecError(f"it loses {loss_ppm:,} of a million frames", remedy="write 1ppm to 100%")
    return loss_ppm


def _ber(text: str) -> int:
    """Wrong bits in 10^18; at a half a link says nothing any more."""
    ber_e18 = parse_ratio(text)
    if not 0 < ber_e18 <= RATIO_UNIT // 2:
        raise SpecError(
            f"'{text}' is no bit error ratio", remedy="write one above 0 and up to 0.5, e.g. '1e-6'"
        )
    return ber_e18


def _rate(text: str) -> int:
    """Bits per second whose byte takes whole picoseconds."""
    rate_bps = parse_rate(text)
    byte_time_ps(rate_bps)
    return rate_bps


def _delay(text: str) -> int:
    """Picoseconds above zero, up to the engine's limit."""
    delay_ps = time_above_zero(text)
    if delay_ps > MAX_DELAY_PS:
        raise SpecError(
            f"a link that is {format_time(delay_ps)} longer",
            remedy=f"write at most {format_time(MAX_DELAY_PS)}",
        )
    return delay_ps


@dataclass(frozen=True, slots=True)
class _Kind:
    """What may be written of one kind of failure."""

    owner: Literal["link", "node", "controller"]
    example: str
    field: str = ""
    read: Callable[[str], int] | None = None
    everywhere: bool = False
    """Whether every link can have it."""


_KINDS: Mapping[str, _Kind] = {
    "down": _Kind("link", FAILURE_EXAMPLE),
    "loss": _Kind("link", "l1>s1@100us-200us:loss=100%", "loss_ppm", _loss, everywhere=True),
    "ber": _Kind("link", "l1>s1@100us-200us:ber=1e-6", "ber_e18", _ber, everywhere=True),
    "rate": _Kind("link", "l1<>s1@100us-200us:rate=100Gbps", "rate_bps", _rate),
    "delay": _Kind("link", "l1<>s1@100us-200us:delay=1us", "delay_ps", _delay),
    "restart": _Kind("node", "s1@100us-200us:restart"),
    "process": _Kind("node", "c3@100us:process"),
    "lost": _Kind("controller", "controller@100us-200us:lost"),
}
