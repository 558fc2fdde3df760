"""What goes wrong in a cell and what follows, as a log in order of time; and for how long frames are lost. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from testbed.analysis.failures import FailureEvent
from testbed.controller.carrier import CarrierEvent, port_events
from testbed.controller.tables import TableUpdate
from testbed.run.resolve import Network
from testbed.spec.fabric import FOREVER_PS
from testbed.spec.failures import Failure

_DARK = ("down", "restart")
_SILENT = ("loss", "ber")
_MOST_NAMED = 4


def failure_events(network: Network, updates: Sequence[TableUpdate]) -> tuple[FailureEvent, ...]:
    """The log of a cell whose tables change so; empty without failures."""
    found = [*_of_failures(network.failures), *_noticed(network), *_rules(updates)]
    return tuple(sorted(found, key=lambda event: event.time_ps))


def stated_outage_ps(network: Network, updates: Sequence[TableUpdate]) -> int | None:
    """How long frames are lost by the first failure that costs any: until it is over, or there is another way.

    With failover that is until the switches notice it, else until the controller's rules are in effect in all of them.
    None: no failure costs frames, or it does not end.
    """
    first = min(
        (one for one in network.failures if one.kind in (*_DARK, *_SILENT)),
        key=lambda failure: failure.from_ps,
        default=None,
    )
    if first is None:
        return None
    ends = [first.until_ps + (network.control.link_up_ps if first.kind in _DARK else 0)]
    ends += _ways_around(network, first, updates) if first.kind == "down" else []
    return min(ends) - first.from_ps if min(ends) < FOREVER_PS else None


def _ways_around(network: Network, first: Failure, updates: Sequence[TableUpdate]) -> Iterator[int]:
    """When frames are on another way."""
    events = _port_events(network)
    noticed_ps = next((event.time_ps for event in events if event.time_ps >= first.from_ps), FOREVER_PS)
    if network.control.rules.failover:
        yield noticed_ps
    # Until something else can have been answered, what takes effect is the answer to this.
    later = [event.time_ps for event in events if event.time_ps > noticed_ps]
    later += [one.until_ps for one in network.failures if one.kind == "lost"]
    next_ps = min((time_ps for time_ps in later if time_ps > noticed_ps), default=FOREVER_PS)
    answers = [
        update.time_ps
        for update in updates
        if noticed_ps < update.time_ps < next_ps + network.control.control_latency_ps
    ]
    if answers:
        yield max(answers)


def _of_failures(failures: Sequence[Failure]) -> Iterator[FailureEvent]:
    for one in failures:
        if one.kind == "lost":
            yield FailureEvent(time_ps=one.from_ps, kind="controller", text="lost")
            if one.until_ps < FOREVER_PS:
                yield FailureEvent(time_ps=one.until_ps, kind="controller", text="back")
            continue
        yield FailureEvent(time_ps=one.from_ps, kind="begins", text=one.text)
        if one.until_ps < FOREVER_PS:
            yield FailureEvent(time_ps=one.until_ps, kind="ends", text=one.text)


def _noticed(network: Network) -> Iterator[FailureEvent]:
    for event in _port_events(network):
        link = network.fabric.links[event.link]
        state = "up" if event.up else "down"
        yield FailureEvent(time_ps=event.time_ps, kind="noticed", text=f"{link.a}-{link.b} is {state}")


def _port_events(network: Network) -> Sequence[CarrierEvent]:
    control = network.control
    return port_events(
        network.fabric,
        network.failures,
        detection_ps=control.detection_ps,
        link_up_ps=control.link_up_ps,
    )


def _rules(updates: Sequence[TableUpdate]) -> Iterator[FailureEvent]:
    """One line for all switches at a time."""
    by_time: dict[int, list[str]] = {}
    for update in updates:
        by_time.setdefault(update.time_ps, []).append(update.switch)
    for time_ps, names in by_time.items():
        more = len(names) - _MOST_NAMED
        text = ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        yield FailureEvent(time_ps=time_ps, kind="rules", text=text)
