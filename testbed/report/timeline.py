"""Head-of-line blocking drawn as a timeline: queues and pauses port by port, and below them the victims' latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from testbed.analysis.answers import approximate_time
from testbed.analysis.curves import thin_depth
from testbed.analysis.depths import PAUSES, Followed, SampleKind, Samples, intervals
from testbed.analysis.hops import CARD_TIER
from testbed.analysis.records import Records, latencies_ps
from testbed.report import canvas
from testbed.report.cell_figure import Source, cell_figure, frame
from testbed.units import BYTES_PER_KIB, PS_PER_US

MOST_LANES = 8
_LANE_INCHES = 0.72
_POINTS_INCHES = 2.1
_DEPTH, _STOPPED, _SENT, _OTHER = "#0072B2", "#D55E00", "#CC79A7", "#56B4E9"
_MOST_DRAWN = 2_000
"""More points than these go into the SVG as a picture."""
_SPREAD = 8
"""Latencies further apart than this factor are drawn on a logarithmic axis."""

Window = tuple[int, int]
Spans = list[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One egress port."""

    entity: int
    port: int
    stopped: Spans
    """When the neighbour had stopped it."""
    sent: Spans
    """When it had stopped the neighbour."""
    samples: Samples
    """Its depth."""


def timeline_figure(followed: Followed, records: Records, window_ps: Window, source: Source) -> Figure:
    """Lanes of ports that were stopped, that stopped others, or that all wait for; messages below."""
    lanes = lanes_of(followed, window_ps)
    figure = cell_figure(_LANE_INCHES * len(lanes) + _POINTS_INCHES)
    ratios = [*[_LANE_INCHES] * len(lanes), _POINTS_INCHES]
    axes = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    highest_kib = max((_peak_kib(lane) for lane in lanes), default=1.0)
    for axis, lane in zip(axes[:-1], lanes, strict=True):
        _draw_lane(axis, lane, followed, window_ps, highest_kib)
    hot = hot_card(followed)
    victims = victims_of(records, hot, source.cell.destination)
    _draw_messages(axes[-1], records, victims, [span for lane in lanes for span in lane.stopped])
    axes[-1].set_xlim(window_ps[0] / PS_PER_US, window_ps[1] / PS_PER_US)
    label = f"virtual time (µs); messages stand at their intended time{followed.cut_note}"
    axes[-1].set_xlabel(label, fontsize=9)
    axes[-1].xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    frame(figure, "Who waits for whom", source, _legend(followed, lanes, hot), columns=3)
    return figure


def lanes_of(followed: Followed, window_ps: Window) -> list[Lane]:
    """The port that all wait for, then those that stopped others or were stopped, in the order in which that began."""
    hot, received = hot_port(followed), _ports(followed, SampleKind.PAUSE_RECEIVED)
    heard = {(followed.peers[port], port[0]) for port in received if port in followed.peers}
    # What a neighbour says it received need not be told twice.
    told = {port for port in _ports(followed, *PAUSES) if (port[0], followed.peers.get(port)) in heard}
    ports = received | (_ports(followed, *PAUSES) - told)
    lanes = [_lane(followed, port, window_ps) for port in sorted(ports | ({hot} if hot else set()))]
    lanes.sort(key=lambda lane: (-_paused_ps(lane), -_peak_kib(lane)))
    first = [lane for lane in lanes if (lane.entity, lane.port) == hot]
    others = [lane for lane in lanes if lane not in first and _paused_ps(lane)]
    kept = others[: MOST_LANES - len(first)]
    return first + sorted(
        kept, key=lambda lane: (min((lane.stopped + lane.sent)[:1] or [(0, 0)]), lane.entity)
    )


def _ports(followed: Followed, *kinds: SampleKind) -> set[tuple[int, int]]:
    found = np.unique(followed.of(*kinds)[["entity", "port"]])
    return {(int(one["entity"]), int(one["port"])) for one in found}


def _lane(followed: Followed, port: tuple[int, int], window_ps: Window) -> Lane:
    own = followed.samples[(followed.samples["entity"] == port[0]) & (followed.samples["port"] == port[1])]

    def spans(kind: SampleKind) -> Spans:
        return _within(intervals(own[own["kind"] == kind], window_ps[1]), window_ps)

    return Lane(
        entity=port[0],
        port=port[1],
        stopped=spans(SampleKind.PAUSE_RECEIVED),
        sent=spans(SampleKind.PAUSE_SENT),
        samples=own[own["kind"] == SampleKind.PORT],
    )


def _within(spans: Spans, window_ps: Window) -> Spans:
    low, high = window_ps
    return [(max(begin, low), min(end, high)) for begin, end in spans if begin < high and end > low]


def _paused_ps(lane: Lane) -> int:
    return sum(end - begin for begin, end in lane.stopped + lane.sent)


def _peak_kib(lane: Lane) -> float:
    return int(lane.samples["value"].max()) / BYTES_PER_KIB if len(lane.samples) else 0.0


def hot_port(followed: Followed) -> tuple[int, int] | None:
    """The egress port to a card that was deepest; None if none held anything."""
    depths = followed.of(SampleKind.PORT)
    cards = {
        port for port, peer in followed.peers.items() if followed.tiers.get(peer, CARD_TIER) == CARD_TIER
    }
    to_card = [
        place
        for place, (entity, port) in enumerate(
            zip(depths["entity"].tolist(), depths["port"].tolist(), strict=True)
        )
        if (entity, port) in cards
    ]
    if not to_card:
        return None
    peak = depths[to_card][int(np.argmax(depths["value"][to_card]))]
    return int(peak["entity"]), int(peak["port"])


def hot_card(followed: Followed) -> int | None:
    """The card behind the hot port."""
    port = hot_port(followed)
    return None if port is None else followed.peers[port]


def victims_of(records: Records, hot: int | None, destination: int | None) -> npt.NDArray[np.bool_]:
    """The messages of the measured flow, or all that do not go to the card that the others wait for."""
    if destination is not None:
        return np.asarray(records["dst"] == destination)
    if hot is None:
        return np.ones(len(records), np.bool_)
    return np.asarray(records["dst"] != hot)


def _draw_lane(axis: Axes, lane: Lane, followed: Followed, window_ps: Window, highest_kib: float) -> None:
    """Depth as a filled line; stopped as hatched spans; what it sent as a strip along the top."""
    curve = thin_depth("", lane.samples["time_ps"], lane.samples["value"])
    times = np.concatenate([[0], curve.time_ps, [window_ps[1]]]) / PS_PER_US
    last = curve.depth_bytes[-1:] if len(curve.depth_bytes) else np.zeros(1, np.int64)
    depths = np.concatenate([[0], curve.depth_bytes, last]) / BYTES_PER_KIB
    axis.fill_between(times, depths, step="post", color=_DEPTH, alpha=0.35, linewidth=0)
    axis.step(times, depths, where="post", color=_DEPTH, linewidth=0.9)
    for begin, end in lane.stopped:
        axis.axvspan(
            begin / PS_PER_US, end / PS_PER_US, facecolor=_STOPPED, alpha=0.28, linewidth=0, zorder=0.5
        )
    for begin, end in lane.sent:
        axis.axvspan(begin / PS_PER_US, end / PS_PER_US, ymin=0.9, ymax=1.0, facecolor=_SENT, linewidth=0)
    canvas.clean(axis)
    axis.tick_params(axis="x", length=0)
    axis.set_ylim(0, 1.15 * max(highest_kib, 1))
    axis.yaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
    axis.set_ylabel("KiB", fontsize=8)
    axis.set_title(followed.label(lane.entity, lane.port), loc="left", fontsize=8.5, pad=2)
    axis.set_title(_stopped_text(lane), loc="right", fontsize=7.5, pad=2, color="#555555")


def _stopped_text(lane: Lane) -> str:
    """How often and for how long the port was stopped."""
    times = len(lane.stopped)
    if not times:
        return ""
    often = "once" if times == 1 else f"{times} times"
    return f"stopped {often}, {approximate_time(sum(end - begin for begin, end in lane.stopped))} in all"


def _draw_messages(
    axis: Axes, records: Records, victims: npt.NDArray[np.bool_], stopped: Sequence[tuple[int, int]]
) -> None:
    """Latency over intended time; the times in which any port was stopped are shaded."""
    latency_us = latencies_ps(records) / PS_PER_US
    intended_us = records["intended_ps"] / PS_PER_US
    for begin, end in _union(stopped):
        axis.axvspan(begin / PS_PER_US, end / PS_PER_US, facecolor=_STOPPED, alpha=0.1, linewidth=0)
    for chosen, colour, size in ((~victims, _OTHER, 5), (victims, "#000000", 9)):
        axis.scatter(
            intended_us[chosen],
            latency_us[chosen],
            s=size,
            color=colour,
            linewidths=0,
            rasterized=bool(np.count_nonzero(chosen) > _MOST_DRAWN),
        )
    canvas.clean(axis)
    if len(records) and latency_us.max() > _SPREAD * latency_us.min():
        canvas.latency_axis(axis.yaxis, (latencies_ps(records).min(), latencies_ps(records).max()))
    axis.set_ylabel("latency (µs)", fontsize=9)


def _union(spans: Sequence[tuple[int, int]]) -> Spans:
    """Overlapping spans as one."""
    joined: Spans = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined


def _legend(followed: Followed, lanes: Sequence[Lane], hot: int | None) -> list[Artist]:
    to_hot = "other messages" if hot is None else f"messages to {followed.names[hot]}"
    sent = [Patch(facecolor=_SENT, label="has its neighbour stopped")]
    return [
        Patch(facecolor=_DEPTH, alpha=0.35, edgecolor=_DEPTH, label="depth of the egress port (KiB)"),
        Patch(facecolor=_STOPPED, alpha=0.28, label="stopped by a pause from its neighbour"),
        *(sent if any(lane.sent for lane in lanes) else []),
        Line2D([], [], linestyle="", marker="o", markersize=3.5, color=_OTHER, label=to_hot),
        Line2D([], [], linestyle="", marker="o", markersize=4, color="#000000", label="victims"),
    ]
