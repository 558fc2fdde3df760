"""Faults of links as a topology parameter: `l1>s1@100us-200us:100%`, several separated by commas. Pure.

That one loses all frames that l1 starts to send to s1 from 100 us until 200 us; the way back is sound.
Without `@...` the fault lasts. Of parallel cables all have it, unless the sender's port is named: `l1.5>s1`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from testbed.errors import Problems, SpecError
from testbed.registry import nearest
from testbed.spec.fabric import FOREVER_PS, Link, LinkFault
from testbed.units import parse_ppm, parse_time

NO_FAULTS = "none"
FAULTS_EXAMPLE = "l1>s1@100us-200us:100%"
_WAYS_NAMED = 8

_FAULT = re.compile(
    r"\s*(?P<sender>[a-z][a-z0-9]*)(?:\.(?P<port>\d{1,9}))?\s*>\s*(?P<receiver>[a-z][a-z0-9]*)\s*"
    r"(?:@\s*(?P<start>[^-:]+)-(?P<end>[^-:]+))?:(?P<loss>[^-:]+)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultText:
    """One fault as it was written: nodes by name, links not known yet."""

    sender: str
    port: int | None
    """Of the sender; None for every link between the two."""
    fault: LinkFault

    def is_of(self, link: Link) -> bool:
        """Whether a link has it."""
        joined = {link.a, link.b} == {self.sender, self.fault.toward}
        return joined and self.port in (None, link.port_at(self.sender))


def parse_faults(text: str) -> tuple[FaultText, ...]:
    """The faults of a text; `none` has none."""
    return () if text.strip() == NO_FAULTS else tuple(_parsed(part) for part in text.split(","))


def with_faults(links: Sequence[Link], faults: Iterable[FaultText]) -> tuple[Link, ...]:
    """The links, each with its faults; a fault of no link is refused."""
    found = tuple(faults)
    for one in found:
        _check(one, links)
    if not found:
        return tuple(links)
    return tuple(replace(link, faults=tuple(one.fault for one in found if one.is_of(link))) for link in links)


def _parsed(text: str) -> FaultText:
    """One fault."""
    match = _FAULT.fullmatch(text)
    if match is None:
        raise SpecError(f"'{text.strip()}' is no fault", remedy=f"write e.g. '{FAULTS_EXAMPLE}'")
    start, end = match["start"], match["end"]
    fault = LinkFault(
        toward=match["receiver"],
        from_ps=parse_time(start) if start else 0,
        until_ps=parse_time(end) if end else FOREVER_PS,
        loss_ppm=parse_ppm(match["loss"]),
    )
    return FaultText(sender=match["sender"], port=int(match["port"]) if match["port"] else None, fault=fault)


def _check(one: FaultText, links: Sequence[Link]) -> None:
    """Both nodes must be there, and a link between them."""
    nodes = dict.fromkeys(name for link in links for name in (link.a, link.b))
    for name in (one.sender, one.fault.toward):
        if name not in nodes:
            near = nearest(name, nodes)
            raise _refused(
                f"unknown node '{name}'" + (f"; did you mean '{near}'?" if near else ""),
                f"write '{near}'" if near else "name a node that `./tb show TOPOLOGY` lists",
            )
    if not any(one.is_of(link) for link in links):
        port = "" if one.port is None else f" on port {one.port} of {one.sender}"
        of = [link for link in links if one.sender in (link.a, link.b)][:_WAYS_NAMED]
        ways = ", ".join(f"{one.sender}.{link.port_at(one.sender)}>{link.other(one.sender)}" for link in of)
        raise _refused(f"no link from {one.sender} to {one.fault.toward}{port}", f"use e.g. {ways}")


def _refused(problem: str, remedy: str) -> SpecError:
    """An error under the name of the parameter."""
    problems = Problems()
    problems.add("faults", problem, remedy)
    return SpecError.collect(problems)
