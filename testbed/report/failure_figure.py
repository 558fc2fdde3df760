"""A cell with failures drawn over time: the latency of its messages, what arrived, and what happened when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from testbed.analysis.failures import EventKind, FailureEvent
from testbed.analysis.records import Records, latencies_ps
from testbed.report import canvas
from testbed.report.cell_figure import Source, cell_figure, frame
from testbed.units import PS_PER_MS, PS_PER_S, PS_PER_US

_LATENCY_INCHES, _RATE_INCHES = 2.9, 1.5
_UNHIT, _HIT, _RATE, _FAILURE = "#56B4E9", "#D55E00", "#0072B2", "#999999"
_LINES: dict[EventKind, tuple[str, Literal[":", "--", "-."], str]] = {
    "noticed": ("#CC79A7", ":", "switches notice"),
    "rules": ("#009E73", "--", "new rules in effect"),
    "controller": ("#000000", "-.", "controller lost, back"),
}
"""Colour, style and name of the lines at what is no failure itself."""
_BINS = 240
_MOST_POINTS = 20_000
"""More messages that were not hit than these are thinned out, evenly."""
_MOST_LINES = 60
_RASTERIZED = 2_000
_MANY_LINES = 12
"""More of them are thin."""
_BEFORE, _AFTER = 0.5, 0.5
"""What is shown before the first event and after the last, as shares of the time between them."""
_LEAST_PS = 100 * PS_PER_US
"""That time, at least: a moment has none of its own."""
_NARROW = 0.002
"""A failure that is a smaller share of the window is a line."""

Window = tuple[int, int]


def failure_figure(records: Records, events: Sequence[FailureEvent], source: Source) -> Figure:
    """Two panels over virtual time; failures are shaded, what follows from them is a line."""
    window = window_of(records, events)
    unit_ps, unit = (PS_PER_MS, "ms") if window[1] - window[0] >= 5 * PS_PER_MS else (PS_PER_US, "µs")
    figure = cell_figure(_LATENCY_INCHES + _RATE_INCHES)
    latency, rate = figure.subplots(2, 1, sharex=True, height_ratios=[_LATENCY_INCHES, _RATE_INCHES])
    shown = records[(records["intended_ps"] >= window[0]) & (records["intended_ps"] < window[1])]
    _draw_latency(latency, shown, unit_ps)
    _draw_rate(rate, records, window, unit_ps)
    for axis in (latency, rate):
        _draw_events(axis, events, window, unit_ps)
        canvas.clean(axis)
        axis.set_xlim(window[0] / unit_ps, window[1] / unit_ps)
    rate.set_xlabel(f"virtual time ({unit}); messages stand at their intended time", fontsize=9)
    rate.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    frame(figure, "Around the failures", source, _legend(events), columns=3)
    return figure


def window_of(records: Records, events: Sequence[FailureEvent]) -> Window:
    """From before the first event until after the last, and until those that were hit are through."""
    times = [event.time_ps for event in events]
    first, last = min(times), max(times)
    hit = records[records["retransmits"] > 0]
    hit = hit[hit["completed_ps"] >= first]
    end = int(records["intended_ps"].max()) if len(records) else last
    last = max(min(last, end), int(hit["completed_ps"].max()) if len(hit) else first, first + _LEAST_PS)
    span = last - first
    return max(0, first - int(_BEFORE * span)), min(last + int(_AFTER * span), max(end, last))


def _draw_latency(axis: Axes, records: Records, unit_ps: int) -> None:
    latency_ps, hit = latencies_ps(records), np.asarray(records["retransmits"] > 0)
    for chosen, colour, size in ((_thinned(~hit), _UNHIT, 4), (np.flatnonzero(hit), _HIT, 9)):
        axis.scatter(
            records["intended_ps"][chosen] / unit_ps,
            latency_ps[chosen] / PS_PER_US,
            s=size,
            color=colour,
            linewidths=0,
            rasterized=len(chosen) > _RASTERIZED,
        )
    if len(records):
        canvas.latency_axis(axis.yaxis, (latency_ps.min(), latency_ps.max()))
    axis.set_ylabel("latency (µs)", fontsize=9)


def _thinned(chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """The places of those chosen, evenly fewer if there are too many to draw."""
    places = np.flatnonzero(chosen)
    return places[:: max(1, -(-len(places) // _MOST_POINTS))]


def _draw_rate(axis: Axes, records: Records, window: Window, unit_ps: int) -> None:
    """Payload that arrives, in bins."""
    edges = np.linspace(window[0], window[1], _BINS + 1)
    arrived, _ = np.histogram(records["completed_ps"], bins=edges, weights=records["message_bytes"] * 8.0)
    gbps = arrived / (edges[1] - edges[0]) * (PS_PER_S / 1e9)
    axis.stairs(gbps, edges / unit_ps, color=_RATE, fill=True, alpha=0.35)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("arriving (Gb/s)", fontsize=9)


def _draw_events(axis: Axes, events: Sequence[FailureEvent], window: Window, unit_ps: int) -> None:
    begun: dict[str, int] = {}
    for event in events:
        if event.kind == "begins":
            begun[event.text] = event.time_ps
        elif event.kind == "ends":
            _shade(axis, begun.pop(event.text, window[0]), event.time_ps, window, unit_ps)
    for begin in begun.values():
        _shade(axis, begin, window[1], window, unit_ps)
    for kind, (colour, style, _) in _LINES.items():
        times = list(dict.fromkeys(event.time_ps for event in events if event.kind == kind))[:_MOST_LINES]
        width = 1.3 if len(times) <= _MANY_LINES else 0.7
        for time_ps in times:
            axis.axvline(time_ps / unit_ps, color=colour, linestyle=style, linewidth=width, zorder=0.9)


def _shade(axis: Axes, begin: int, end: int, window: Window, unit_ps: int) -> None:
    if end - begin < _NARROW * (window[1] - window[0]):
        axis.axvline(begin / unit_ps, color=_FAILURE, linewidth=1.5, zorder=0.5)
    else:
        axis.axvspan(begin / unit_ps, end / unit_ps, facecolor=_FAILURE, alpha=0.22, linewidth=0, zorder=0.5)


def _legend(events: Sequence[FailureEvent]) -> list[Artist]:
    kinds = {event.kind for event in events}
    lines = [
        Line2D([], [], color=colour, linestyle=style, linewidth=1.3, label=name)
        for kind, (colour, style, name) in _LINES.items()
        if kind in kinds
    ]
    begin = [Patch(facecolor=_FAILURE, alpha=0.22, label="failure: " + _failure_names(events))]
    return [
        *(begin if "begins" in kinds else []),
        *lines,
        Line2D([], [], linestyle="", marker="o", markersize=3.5, color=_UNHIT, label="messages"),
        Line2D([], [], linestyle="", marker="o", markersize=4, color=_HIT, label="sent again"),
    ]


def _failure_names(events: Sequence[FailureEvent]) -> str:
    names = list(dict.fromkeys(event.text for event in events if event.kind == "begins"))
    return names[0] if len(names) == 1 else f"{len(names)} of them"
