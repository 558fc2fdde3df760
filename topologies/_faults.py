"""What the links of a topology do to frames: faults, reordering, duplicates. Pure.

Faults are text: `l1>s1@100us-200us:100%`, several separated by commas. That one loses all frames that l1 starts to send
to s1 from 100 us until 200 us; the way back is sound, unless it is `l1<>s1`. Without `@...` the fault lasts; with a
period, as in `@100us-110us/1ms`, it comes back every millisecond, and with `/1ms*20` it has come 20 times in all.
Of parallel cables all have it, unless the sender's port is named: `l1.5>s1`. `*<>*` is every link, both ways.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from testbed.errors import Problems, SpecError
from testbed.spec.disturbance import PLACE, TIME, Place, spans
from testbed.spec.fabric import Link, LinkFault
from testbed.units import parse_ppm

NO_FAULTS = "none"
FAULTS_EXAMPLE = "l1>s1@100us-200us:100%"

_FAULT = re.compile(rf"\s*{PLACE}\s*(?:@\s*{TIME})?:(?P<loss>[^-:]+)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultText:
    """One fault as it was written: nodes by name, links not known yet."""

    place: Place
    faults: tuple[LinkFault, ...]
    """Each time that it comes, toward the receiver."""

    def of(self, link: Link) -> tuple[LinkFault, ...]:
        """What of it a link has."""
        return tuple(replace(fault, toward=end) for end in self.place.toward(link) for fault in self.faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairments:
    """What the links of a topology do to frames; all of them, but for faults."""

    faults: tuple[FaultText, ...] = ()
    reorder_e18: int = 0
    reorder_delay_ps: int | None = None
    duplicate_e18: int = 0


SOUND = Impairments()


def parse_faults(text: str) -> tuple[FaultText, ...]:
    """The faults of a text; `none` has none."""
    return () if text.strip() == NO_FAULTS else tuple(_parsed(part) for part in text.split(","))


def with_impairments(links: Sequence[Link], impairments: Impairments) -> tuple[Link, ...]:
    """The links, each with what it does; a fault of no link is refused."""
    for one in impairments.faults:
        _check(one.place, links)
    if impairments == SOUND:
        return tuple(links)
    return tuple(
        replace(
            link,
            faults=tuple(fault for one in impairments.faults for fault in one.of(link)),
            reorder_e18=impairments.reorder_e18,
            reorder_delay_ps=impairments.reorder_delay_ps,
            duplicate_e18=impairments.duplicate_e18,
        )
        for link in links
    )


def _parsed(text: str) -> FaultText:
    """One fault; it has an end if it has a beginning."""
    match = _FAULT.fullmatch(text)
    if match is None or (match["start"] and not match["end"]):
        raise SpecError(f"'{text.strip()}' is no fault", remedy=f"write e.g. '{FAULTS_EXAMPLE}'")
    place, loss_ppm = Place.of(match), parse_ppm(match["loss"])
    times = spans(match, "fault")
    faults = tuple(
        LinkFault(toward=place.receiver, from_ps=from_ps, until_ps=until_ps, loss_ppm=loss_ppm)
        for from_ps, until_ps in times
    )
    return FaultText(place=place, faults=faults)


def _check(place: Place, links: Sequence[Link]) -> None:
    """An error under the name of the parameter."""
    try:
        place.check(links)
    except SpecError as error:
        problems = Problems()
        problems.add("faults", str(error), error.remedy)
        raise SpecError.collect(problems) from None
