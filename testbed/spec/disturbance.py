"""Which link something befalls, and when: the text that failures and a topology's faults have in common. Pure.

A place is `l1>s1` (from l1 to s1), `l1<>s1` (both ways), `l1.5>s1` (the one cable in port 5 of l1), or `*<>*` (every
link, both ways). A time is `100us-200us`; with a period, as in `100us-110us/1ms`, it comes back every millisecond, and
with `/1ms*20` it has come 20 times in all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.errors import SpecError
from testbed.registry import nearest
from testbed.spec.fabric import FOREVER_PS, Link
from testbed.units import PS_PER_S, format_time, parse_time

EVERY = "*"
MAX_REPETITIONS = 10_000
"""Of one text; each is a line of the plan."""
FLAPPING_PS = PS_PER_S
"""What has a period and no number comes back for so long, which is longer than most cells last."""
_WAYS_NAMED = 8

PLACE = (
    r"(?P<sender>(?P<every>\*)(?=\s*<>)|[a-z][a-z0-9]*)(?:\.(?P<port>\d{1,9}))?\s*(?P<both><?)>"
    r"\s*(?P<receiver>(?(every)\*|[a-z][a-z0-9]*))"
)
TIME = r"(?P<start>[^-:/]+)(?:-(?P<end>[^-:/]+))?(?:/(?P<period>[^-:/*]+)(?:\*\s*(?P<times>\d{1,9})\s*)?)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A link and a direction by the names of nodes, which may not exist."""

    sender: str
    receiver: str
    port: int | None = None
    """Of the sender; None: every link between the two."""
    both: bool = False

    @classmethod
    def of(cls, match: re.Match[str]) -> Place:
        """From what `PLACE` found."""
        port = int(match["port"]) if match["port"] else None
        return cls(sender=match["sender"], receiver=match["receiver"], port=port, both=bool(match["both"]))

    @property
    def everywhere(self) -> bool:
        """Whether it is every link."""
        return self.sender == EVERY

    def toward(self, link: Link) -> tuple[str, ...]:
        """The ends of a link that receive what goes this way: none if it is another link."""
        if self.everywhere:
            return (link.a, link.b)
        if {link.a, link.b} != {self.sender, self.receiver} or self.port not in (
            None,
            link.port_at(self.sender),
        ):
            return ()
        return (self.receiver, self.sender) if self.both else (self.receiver,)

    def check(self, links: Sequence[Link]) -> None:
        """Both nodes must be there, and a link between them."""
        if self.everywhere:
            return
        nodes = tuple(dict.fromkeys(name for link in links for name in (link.a, link.b)))
        check_node(self.sender, nodes)
        check_node(self.receiver, nodes)
        if not any(self.toward(link) for link in links):
            port = "" if self.port is None else f" on port {self.port} of {self.sender}"
            of = [link for link in links if self.sender in (link.a, link.b)][:_WAYS_NAMED]
            ways = (f"{self.sender}.{link.port_at(self.sender)}>{link.other(self.sender)}" for link in of)
            raise SpecError(
                f"no link from {self.sender} to {self.receiver}{port}", remedy=f"use e.g. {', '.join(ways)}"
            )


def check_node(name: str, nodes: Iterable[str]) -> None:
    """Refuse a node that is not there; the nearest one is named."""
    known = list(nodes)
    if name not in known:
        near = nearest(name, known)
        raise SpecError(
            f"unknown node '{name}'" + (f"; did you mean '{near}'?" if near else ""),
            remedy=f"write '{near}'" if near else "name a node that `./tb show TOPOLOGY` lists",
        )


def spans(match: re.Match[str], what: str, *, lasts_ps: int = FOREVER_PS) -> tuple[tuple[int, int], ...]:
    """From and until, in ps, each time that it comes, of what `TIME` found.

    Without a time it is there from the beginning. Without an end it lasts for `lasts_ps`. `what` names it in errors.
    """
    if not match["start"]:
        return ((0, FOREVER_PS),)
    from_ps = parse_time(match["start"])
    until_ps = parse_time(match["end"]) if match["end"] else min(from_ps + lasts_ps, FOREVER_PS)
    return _repeated(from_ps, until_ps, match, what) if match["period"] else ((from_ps, until_ps),)


def _repeated(from_ps: int, until_ps: int, match: re.Match[str], what: str) -> tuple[tuple[int, int], ...]:
    """Each time that it comes."""
    period_ps, lasts_ps = parse_time(match["period"]), until_ps - from_ps
    if lasts_ps >= period_ps:
        lasts = "for good" if until_ps == FOREVER_PS else format_time(lasts_ps)
        raise SpecError(
            f"a {what} that lasts {lasts} and comes back every {format_time(period_ps)} never ends",
            remedy="write a longer period, or leave it out",
        )
    number = int(match["times"]) if match["times"] else -(-FLAPPING_PS // period_ps)
    if not 1 <= number <= MAX_REPETITIONS:
        raise SpecError(
            f"a {what} every {format_time(period_ps)} comes {number:,} times"
            + ("" if match["times"] else f" in {format_time(FLAPPING_PS)}"),
            remedy=f"write how often, 1 to {MAX_REPETITIONS:,}, e.g. '/{format_time(period_ps)}*100'",
        )
    starts = range(from_ps, from_ps + number * period_ps, period_ps)
    return tuple((start_ps, start_ps + lasts_ps) for start_ps in starts)
