"""A picture of a fabric: tiers as rows, one colour per kind of cable. Draws; decides nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch

from testbed.errors import SpecError
from testbed.report.describe import ENDPOINT_TIER, LinkClass, link_class, link_classes, tier_name, tiers_of
from testbed.spec.fabric import Fabric
from testbed.units import format_length, format_rate

Position: TypeAlias = tuple[float, float]

# Okabe and Ito's palette, which also colour-blind readers can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_SWITCH_FILL, _NIC_FILL, _EDGE, _SERVER_FILL = "#DCE6F0", "#FFFFFF", "#333333", "#F2F2F2"
_ROW_INCH, _LEFT_INCH, _RIGHT_INCH, _BOX_HIGH = 1.45, 1.3, 0.95, 0.34
_MOST_NICS_DRAWN = 40
_MOST_NAMES_IN_ROW = 48
_SUFFIXES = (".png", ".svg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One drawn node, or several endpoints of one switch drawn as one."""

    label: str
    tier: int
    server: str
    stands_for: tuple[str, ...]


def draw_fabric(fabric: Fabric, path: Path) -> None:
    """Draw a fabric into a PNG or SVG file."""
    if path.suffix not in _SUFFIXES:
        raise SpecError(f"{path} is neither PNG nor SVG", remedy=f"end the name in {' or '.join(_SUFFIXES)}")
    figure = fabric_figure(fabric)
    metadata: dict[str, str | None] = {"Date": None} if path.suffix == ".svg" else {}
    try:
        with mpl.rc_context({"svg.hashsalt": fabric.topology, "svg.fonttype": "none"}):
            figure.savefig(path, dpi=150, metadata=metadata)
    except OSError as error:
        remedy = "name a file in a directory that exists and that you may write to"
        raise SpecError(f"cannot write {path}: {error.strerror}", remedy=remedy) from error


def fabric_figure(fabric: Fabric) -> Figure:
    """The picture itself."""
    boxes = _boxes(fabric)
    rows = _rows(fabric, boxes)
    widest = max(len(row) for row in rows.values())
    width_inch = min(max(7.0, 0.62 * widest + _LEFT_INCH + _RIGHT_INCH), 20.0)
    legend_inch = 0.22 * len(link_classes(fabric))
    height_inch = _ROW_INCH * (len(rows) - 1) + 1.6 + legend_inch
    figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = _places(rows, width_inch)
    _draw_links(axes, fabric, places)
    _label_rates(axes, fabric, places, width_inch - _RIGHT_INCH + 0.1)
    _draw_servers(axes, rows, places)
    _draw_boxes(axes, fabric, rows, places, width_inch)
    _finish(figure, axes, fabric, rows, width_inch)
    return figure


def _boxes(fabric: Fabric) -> list[Box]:
    """Every switch; every endpoint, or one box for those of a switch where there are too many."""
    switches = [Box(label=s.name, tier=s.tier, server="", stands_for=(s.name,)) for s in fabric.switches]
    if len(fabric.endpoints) <= _MOST_NICS_DRAWN:
        return switches + [
            Box(label=_nic_label(e.name, e.cards), tier=ENDPOINT_TIER, server=e.server, stands_for=(e.name,))
            for e in fabric.endpoints
        ]
    groups: dict[str, list[str]] = {}
    for endpoint in fabric.endpoints:
        groups.setdefault(fabric.neighbours(endpoint.name)[0], []).append(endpoint.name)
    return switches + [
        Box(label=f"{len(names)}\nNICs", tier=ENDPOINT_TIER, server="", stands_for=tuple(names))
        for names in groups.values()
    ]


def _nic_label(name: str, cards: int) -> str:
    """A NIC, with its cards if it has several."""
    return name if cards == 1 else f"{name}\n{cards} cards"


def _rows(fabric: Fabric, boxes: list[Box]) -> dict[int, list[Box]]:
    """Boxes by tier from below, each row ordered by where the row below is joined to it."""
    rows: dict[int, list[Box]] = {}
    for box in sorted(boxes, key=lambda box: box.tier):
        rows.setdefault(box.tier, []).append(box)
    return rows


def _places(rows: dict[int, list[Box]], width_inch: float) -> dict[str, Position]:
    """Where each node is; all rows share the width, the units are inches."""
    places: dict[str, Position] = {}
    span = width_inch - _LEFT_INCH - _RIGHT_INCH
    for height, row in enumerate(rows.values()):
        for index, box in enumerate(row):
            at = (_LEFT_INCH + span * (index + 0.5) / len(row), _ROW_INCH * height)
            places.update(dict.fromkeys(box.stands_for, at))
    return places


def _class_colours(fabric: Fabric) -> dict[LinkClass, str]:
    """One colour per kind of cable."""
    kinds = link_classes(fabric)
    return {kind: _COLOURS[index % len(_COLOURS)] for index, kind in enumerate(kinds)}


def _line_width(kind: LinkClass) -> float:
    """Thicker where faster."""
    return 0.8 + 0.9 * min(kind.rate_bps / (400 * 10**9), 3.0)


def _draw_links(axes: Axes, fabric: Fabric, places: dict[str, Position]) -> None:
    """One line for parallel links; from the top of the lower box to the bottom of the upper one."""
    tiers, colours = tiers_of(fabric), _class_colours(fabric)
    lines = {
        (places[link.a], places[link.b], link_class(link, tiers)): link_class(link, tiers)
        for link in fabric.links
    }
    alpha, thin = (0.9, 1.0) if len(lines) <= 200 else (0.3, 0.4)
    for (a, b, _), kind in lines.items():
        (x_low, y_low), (x_high, y_high) = sorted((a, b), key=lambda at: at[1])
        edge = _BOX_HIGH / 2 if y_low != y_high else 0
        ys = (y_low + edge, y_high - edge)
        axes.plot(
            (x_low, x_high), ys, color=colours[kind], lw=thin * _line_width(kind), alpha=alpha, zorder=1
        )


def _label_rates(axes: Axes, fabric: Fabric, places: dict[str, Position], right: float) -> None:
    """The rate of each kind of cable: beside the gap that it crosses, or on the line within a tier."""
    colours, tiers = _class_colours(fabric), tiers_of(fabric)
    row_y = {tiers[name]: y for name, (_, y) in places.items()}
    taken: Counter[float] = Counter()
    for kind, number in link_classes(fabric).items():
        text, align = format_rate(kind.rate_bps), "left"
        y = (row_y[kind.lower_tier] + row_y[kind.upper_tier]) / 2
        x = right
        if kind.lower_tier == kind.upper_tier:
            text, align = text if number == 1 else f"{number} × {text}", "center"
            xs = [place[0] for name, place in places.items() if tiers[name] == kind.lower_tier]
            x, y = sum(xs) / len(xs), y + 0.14
        axes.text(x, y - 0.2 * taken[y], text, color=colours[kind], fontsize=9, ha=align, va="center")
        taken[y] += 1


def _draw_servers(axes: Axes, rows: dict[int, list[Box]], places: dict[str, Position]) -> None:
    """A ground behind the NICs that share a server."""
    servers: dict[str, list[Position]] = {}
    for box in rows.get(ENDPOINT_TIER, []):
        if box.server:
            servers.setdefault(box.server, []).append(places[box.stands_for[0]])
    if all(len(at) == 1 for at in servers.values()):
        return
    for server, at in servers.items():
        left, right, y = min(x for x, _ in at) - 0.27, max(x for x, _ in at) + 0.27, at[0][1]
        ground = FancyBboxPatch(
            (left, y - 0.52), right - left, 0.78, boxstyle="round,pad=0,rounding_size=0.06", zorder=0
        )
        ground.set(facecolor=_SERVER_FILL, edgecolor="#BBBBBB", linewidth=0.8)
        axes.add_patch(ground)
        axes.text(
            (left + right) / 2, y - 0.41, server, fontsize=7.5, ha="center", va="center", color="#555555"
        )


def _draw_boxes(
    axes: Axes, fabric: Fabric, rows: dict[int, list[Box]], places: dict[str, Position], width_inch: float
) -> None:
    """Switches and NICs, named where there is room."""
    highest = max((switch.tier for switch in fabric.switches), default=0)
    for tier, row in rows.items():
        room = (width_inch - _LEFT_INCH - _RIGHT_INCH) / len(row)
        is_nic = tier == ENDPOINT_TIER
        wide, high = min(0.5 if is_nic else 0.72, 0.8 * room), _BOX_HIGH
        for box in row:
            x, y = places[box.stands_for[0]]
            patch = FancyBboxPatch(
                (x - wide / 2, y - high / 2), wide, high, boxstyle="round,pad=0,rounding_size=0.05", zorder=3
            )
            patch.set(facecolor=_NIC_FILL if is_nic else _SWITCH_FILL, edgecolor=_EDGE, linewidth=0.9)
            axes.add_patch(patch)
            if len(row) <= _MOST_NAMES_IN_ROW:
                axes.text(x, y, box.label, fontsize=_font_size(box, wide), ha="center", va="center", zorder=4)
        y = places[row[0].stands_for[0]][1]
        number = sum(len(box.stands_for) for box in row)
        label = f"{number:,} {_plural(tier_name(tier, highest), number)}"
        axes.text(_LEFT_INCH - 0.1, y, label, fontsize=9, ha="right", va="center")


def _font_size(box: Box, wide_inch: float) -> float:
    """As large as the longest line of the label allows."""
    longest = max(len(line) for line in box.label.split("\n"))
    most = 6.5 if "\n" in box.label else 9.0
    return min(most, 72 * wide_inch / (0.68 * longest))


def _plural(word: str, number: int) -> str:
    """English plurals of the few words used here."""
    if number == 1:
        return word
    return {"leaf": "leaves", "switch": "switches", "aggregation": "aggregation"}.get(word, f"{word}s")


def _finish(
    figure: Figure, axes: Axes, fabric: Fabric, rows: dict[int, list[Box]], width_inch: float
) -> None:
    """Title, legend, limits."""
    colours = _class_colours(fabric)
    handles = [
        Line2D([], [], color=colours[kind], lw=_line_width(kind), label=_legend_text(fabric, kind, number))
        for kind, number in link_classes(fabric).items()
    ]
    nics = len(fabric.endpoints)
    cards = f"{fabric.cards():,} cards" + ("" if fabric.cards() == nics else f" on {nics:,} NICs")
    switches = f"{len(fabric.switches):,} {_plural('switch', len(fabric.switches))}"
    axes.set_title(f"{fabric.topology}: {cards}, {switches}, {len(fabric.links):,} links", fontsize=11)
    figure.legend(handles=handles, loc="outside lower center", frameon=False, fontsize=9)
    top = _ROW_INCH * (len(rows) - 1) + 0.3
    axes.set(xlim=(0, width_inch), ylim=(-0.58, top), aspect="equal")
    axes.axis("off")


def _legend_text(fabric: Fabric, kind: LinkClass, number: int) -> str:
    """E.g. `8 × leaf-spine, 800Gbps dr 10m, 133.1 ns one way, 2 in parallel`."""
    tiers = tiers_of(fabric)
    pairs = Counter((link.a, link.b) for link in fabric.links if link_class(link, tiers) == kind)
    most = max(pairs.values())
    cable = f"{format_rate(kind.rate_bps)} {kind.medium} {format_length(kind.length_mm)}"
    parallel = f", {most} in parallel" if most > 1 else ""
    highest = max((switch.tier for switch in fabric.switches), default=0)
    ends = f"{tier_name(kind.lower_tier, highest)}-{tier_name(kind.upper_tier, highest)}"
    return f"{number:,} × {ends}, {cable}, {kind.latency_ps / 1000:.1f} ns one way{parallel}"
