"""Which links have no carrier, and when: what a failure does to the light on a cable, and what ports make of it. Pure.

A failure of one direction takes the carrier of both ends: the receiver has a local fault, tells the sender so in the
other direction, and neither port carries frames then [IEEE 802.3 clause 46.3.4, link fault signalling]. A switch or a
card that restarts is dark on all its links. Silent losses, errors and slowness leave the carrier as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from testbed.spec.fabric import FOREVER_PS, Fabric, Link
from testbed.spec.failures import Failure

Spans: TypeAlias = Sequence[tuple[int, int]]
"""From and until, in ps; ascending, none touches the next; FOREVER_PS: it does not end."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class CarrierEvent:
    """A link loses its carrier, or has it again."""

    time_ps: int
    link: int
    """Its place in `fabric.links`."""
    up: bool


def carrier_events(fabric: Fabric, failures: Sequence[Failure]) -> tuple[CarrierEvent, ...]:
    """By time, then link. A link that two failures take down is up again when both are over."""
    dark = dark_spans(fabric, failures)
    return _events((link, span) for link, spans in dark.items() for span in spans)


def port_events(
    fabric: Fabric, failures: Sequence[Failure], *, detection_ps: int, link_up_ps: int
) -> tuple[CarrierEvent, ...]:
    """The same as the ports of both ends know it: `carrier_events` later, without what they do not notice."""
    dark = dark_spans(fabric, failures)
    return _events(
        (link, (down_ps + detection_ps, up_ps))
        for link, spans in dark.items()
        for down_ps, up_ps, is_noticed in unusable_spans(
            spans, detection_ps=detection_ps, link_up_ps=link_up_ps
        )
        if is_noticed
    )


def dark_spans(fabric: Fabric, failures: Sequence[Failure]) -> Mapping[int, Spans]:
    """By link: when it has no carrier. Links that always have it are left out."""
    found: dict[int, list[tuple[int, int]]] = {}
    for failure in failures:
        for index, link in enumerate(fabric.links):
            if _is_dark(failure, link):
                found.setdefault(index, []).append((failure.from_ps, failure.until_ps))
    return {index: union(found[index]) for index in sorted(found)}


def union(spans: Iterable[tuple[int, int]]) -> Spans:
    """Spans that overlap or touch, as one."""
    merged: list[tuple[int, int]] = []
    for from_ps, until_ps in sorted(spans):
        if merged and from_ps <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(until_ps, merged[-1][1]))
        else:
            merged.append((from_ps, until_ps))
    return merged


def unusable_spans(dark: Spans, *, detection_ps: int, link_up_ps: int) -> tuple[tuple[int, int, bool], ...]:
    """When no frame gets through a link without carrier in these spans, and whether its ports go down.

    A port that has gone down needs a carrier without a break for `link_up_ps`: it stays down through shorter ones. What
    is over before `detection_ps` is not noticed, and frames pass as soon as the carrier is back.
    """
    found: list[tuple[int, int, bool]] = []
    for from_ps, until_ps in dark:
        up_ps = FOREVER_PS if until_ps == FOREVER_PS else min(until_ps + link_up_ps, FOREVER_PS)
        if found and found[-1][2] and from_ps < found[-1][1]:
            found[-1] = (found[-1][0], up_ps, True)
        elif until_ps - from_ps >= detection_ps:
            found.append((from_ps, up_ps, True))
        else:
            found.append((from_ps, until_ps, False))
    return tuple(found)


def _is_dark(failure: Failure, link: Link) -> bool:
    """Whether a failure takes the carrier of a link."""
    if failure.kind == "restart":
        return failure.where in (link.a, link.b)
    return failure.kind == "down" and bool(failure.toward(link))


def _events(spans: Iterable[tuple[int, tuple[int, int]]]) -> tuple[CarrierEvent, ...]:
    """Down at the beginning of each span of a link, and up at its end, if it ends."""
    return tuple(sorted(event for link, span in spans for event in _both(link, *span)))


def _both(link: int, from_ps: int, until_ps: int) -> Iterator[CarrierEvent]:
    yield CarrierEvent(time_ps=from_ps, link=link, up=False)
    if until_ps < FOREVER_PS:
        yield CarrierEvent(time_ps=until_ps, link=link, up=True)
