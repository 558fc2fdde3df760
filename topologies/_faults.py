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
from testbed.registry import nearest
from testbed.spec.fabric import FOREVER_PS, Link, LinkFault
from testbed.units import PS_PER_S, format_time, parse_ppm, parse_time

NO_FAULTS = "none"
FAULTS_EXAMPLE = "l1>s1@100us-200us:100%"
EVERY = "*"
MAX_REPETITIONS = 10_000
"""Of one fault; each is a line of the plan."""
FLAPPING_PS = PS_PER_S
"""A fault with a period and no number comes back for so long, which is longer than most cells last."""
_WAYS_NAMED = 8

_FAULT = re.compile(
    r"\s*(?P<sender>(?P<every>\*)(?=\s*<>)|[a-z][a-z0-9]*)(?:\.(?P<port>\d{1,9}))?\s*(?P<both><?)>"
    r"\s*(?P<receiver>(?(every)\*|[a-z][a-z0-9]*))\s*"
    r"(?:@\s*(?P<start>[^-:]+)-(?P<end>[^-:/]+)(?:/(?P<period>[^-:*]+)(?:\*\s*(?P<times>\d{1,9})\s*)?)?)?"
    r":(?P<loss>[^-:]+)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultText:
    """One fault as it was written: nodes by name, links not known yet."""

    sender: str
    receiver: str
    port: int | None
    """Of the sender; None for every link between the two."""
    faults: tuple[LinkFault, ...]
    """Each time that it comes, of each direction that it is of."""

    @property
    def everywhere(self) -> bool:
        """Whether every link has it."""
        return EVERY in (self.sender, self.receiver)

    def of(self, link: Link) -> tuple[LinkFault, ...]:
        """What of it a link has."""
        if self.everywhere:
            once = [fault for fault in self.faults if fault.toward == self.receiver]
            once = once[: len(self.faults) // 2]  # both ways are written alike
            return tuple(replace(fault, toward=end) for end in (link.a, link.b) for fault in once)
        return self.faults if self.is_of(link) else ()

    def is_of(self, link: Link) -> bool:
        """Whether a link has it."""
        joined = {link.a, link.b} == {self.sender, self.receiver}
        return joined and self.port in (None, link.port_at(self.sender))


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
        _check(one, links)
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
    """One fault."""
    match = _FAULT.fullmatch(text)
    if match is None:
        raise SpecError(f"'{text.strip()}' is no fault", remedy=f"write e.g. '{FAULTS_EXAMPLE}'")
    sender, receiver, start, end = match["sender"], match["receiver"], match["start"], match["end"]
    first = LinkFault(
        toward=receiver,
        from_ps=parse_time(start) if start else 0,
        until_ps=parse_time(end) if end else FOREVER_PS,
        loss_ppm=parse_ppm(match["loss"]),
    )
    times = _repeated(first, match["period"], match["times"]) if match["period"] else (first,)
    return FaultText(
        sender=sender,
        receiver=receiver,
        port=int(match["port"]) if match["port"] else None,
        faults=times + tuple(replace(fault, toward=sender) for fault in times if match["both"]),
    )


def _repeated(first: LinkFault, period: str, times: str | None) -> tuple[LinkFault, ...]:
    """A fault each time that it comes."""
    period_ps, lasts_ps = parse_time(period), first.until_ps - first.from_ps
    if lasts_ps >= period_ps:
        raise SpecError(
            f"a fault that lasts {format_time(lasts_ps)} and comes back every {format_time(period_ps)} never ends",
            remedy="write a longer period, or leave it out",
        )
    number = int(times) if times else -(-FLAPPING_PS // period_ps)
    if not 1 <= number <= MAX_REPETITIONS:
        raise SpecError(
            f"a fault every {format_time(period_ps)} comes {number:,} times"
            + ("" if times else f" in {format_time(FLAPPING_PS)}"),
            remedy=f"write how often, 1 to {MAX_REPETITIONS:,}, e.g. '/{format_time(period_ps)}*100'",
        )
    starts = range(first.from_ps, first.from_ps + number * period_ps, period_ps)
    return tuple(replace(first, from_ps=start_ps, until_ps=start_ps + lasts_ps) for start_ps in starts)


def _check(one: FaultText, links: Sequence[Link]) -> None:
    """Both nodes must be there, and a link between them."""
    if one.everywhere:
        return
    nodes = dict.fromkeys(name for link in links for name in (link.a, link.b))
    for name in (one.sender, one.receiver):
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
        raise _refused(f"no link from {one.sender} to {one.receiver}{port}", f"use e.g. {ways}")


def _refused(problem: str, remedy: str) -> SpecError:
    """An error under the name of the parameter."""
    problems = Problems()
    problems.add("faults", problem, remedy)
    return SpecError.collect(problems)
