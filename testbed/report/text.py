"""A run as text: the table, the answers, what they rest on. Reads summaries only; knows no terminal.

All values of a table share one unit and one number of decimals, so that they can be compared down a column.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table

from testbed.analysis.answers import MOST_PAIRED, approximate_time, readable_size
from testbed.analysis.budget import shares
from testbed.analysis.summary import (
    CellSummary,
    ClockStatement,
    RepeatSummary,
    RunSummary,
    largest_assumptions,
)
from testbed.report.inband import hop_table
from testbed.report.layout import (
    MISSING,
    PROSE_CHARS,
    Scale,
    Triple,
    aligned_columns,
    choose_scale,
    columns_of,
    empty_table,
    printed,
    prose,
)
from testbed.spec.sourced import Assumption
from testbed.units import PS_PER_US

COLUMNS = ("p50", "p90", "p99", "p99.9", "p99.99")
PIVOTED = ("p50", "p99.9")
WITH_INTERVAL = frozenset({"p99.9", "p99.99"})

_MOST_TOLD = 16


def report_text(
    summary: RunSummary, *, result: str = "RESULT", width: int | None = None, colour: bool = False
) -> str:
    """The whole report of a run; on a narrow terminal the table leaves out what `cell_table` says."""
    parts = [
        prose(_heading(summary), width),
        nic_tables(summary.cells, width=width, colour=colour),
        ""
        if width is not None and (_many_nics(summary.cells) or summary.budget_ps)
        else cell_table(summary.cells, width=width, colour=colour),
        budget_table(summary, colour=colour),
        rate_table(summary.cells, colour=colour),
        event_table(summary.cells, colour=colour),
        recovery_table(summary.cells, colour=colour),
        outage_table(summary.cells, colour=colour),
        hop_table(summary.cells, colour=colour),
        prose(_closing(summary, result), width),
    ]
    return "\n\n".join(part.rstrip() for part in parts if part) + "\n"


def saved_text(directory: str) -> str:
    """Where a run's files are, in the form of its report."""
    return (
        prose([("saved", directory), ("", "figures/, records/, hdr/, summary.json, report.txt")], None) + "\n"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How much of a table is shown."""

    intervals: frozenset[str] = WITH_INTERVAL
    bare: bool = False
    """Whether unit and number of messages stand below the table instead of in each row."""
    columns: tuple[str, ...] = COLUMNS
    note: str = ""


_FORMS = (
    _Form(),
    _Form(bare=True),
    _Form(bare=True, intervals=frozenset({"p99.99"}), note="all 95 % intervals: report.txt"),
    _Form(bare=True, intervals=frozenset(), note="95 % intervals: report.txt"),
    _Form(
        bare=True,
        intervals=frozenset(),
        columns=tuple(name for name in COLUMNS if name != "p90"),
        note="p90 and 95 % intervals: report.txt",
    ),
)
"""From the widest to the narrowest."""


def cell_table(cells: Sequence[CellSummary], *, width: int | None = None, colour: bool = False) -> str:
    """One row per cell; where it is wider than `width`, units and n go first, then intervals, then p90."""
    for form in _FORMS:
        text = printed(_table(cells, form), colour)
        if width is None or columns_of(text) <= width:
            break
    notes = [*_constant_labels(cells), *([form.note] if form.note else [])]
    if form.bare:
        notes = [f"times in {_scale_of(cells).unit}", *_common_n(cells), *notes]
    return text + (f"({'; '.join(notes)})\n" if notes else "")


def nic_tables(cells: Sequence[CellSummary], *, width: int | None = None, colour: bool = False) -> str:
    """Many NICs beside each other: a row for each scenario and size, a column for each NIC; p50, then p99.9."""
    if not _many_nics(cells):
        return ""
    nics = list(dict.fromkeys(cell.nic for cell in cells))
    labels = {
        name: label for name, label in _LABELS.items() if name != "NIC" and len({*map(label, cells)}) > 1
    }
    rows: dict[tuple[str, ...], dict[str, CellSummary]] = {}
    for cell in cells:
        rows.setdefault(tuple(label(cell) for label in labels.values()), {})[cell.nic] = cell
    scale = _scale_of(cells)
    texts = []
    for percentile in PIVOTED:
        if not any(cell.percentiles[percentile].value_ps for cell in cells):
            continue
        table = empty_table([f"{percentile}: {next(iter(labels), '')}", *list(labels)[1:]], nics)
        for row, found in rows.items():
            table.add_row(*row, *(_pivot_text(found.get(nic), percentile, scale) for nic in nics))
        texts.append(printed(table, colour))
    full = "; *: more is offered than arrives, so that it grows with the run" * any(
        c.saturated for c in cells
    )
    note = f"(times in {scale.unit}{full}; all percentiles and 95 % intervals: report.txt)"
    return "\n".join(texts) + textwrap.fill(note, min(width or PROSE_CHARS, PROSE_CHARS)) + "\n"


def _pivot_text(cell: CellSummary | None, percentile: str, scale: Scale) -> str:
    """A value with as many digits as there is room for."""
    value = None if cell is None else cell.percentiles[percentile].value_ps
    if cell is None or value is None:
        return MISSING
    text = f"{value / scale.ps:,.0f}" if value >= 1000 * scale.ps else scale.number(value)
    return text + ("*" if cell.saturated else " ")


def _many_nics(cells: Sequence[CellSummary]) -> bool:
    return len({cell.nic for cell in cells}) > MOST_PAIRED


def budget_table(summary: RunSummary, *, colour: bool = False) -> str:
    """What the fabric takes of a budget at the median, and what is left; empty without a budget."""
    found = shares(summary.cells, summary.budget_ps, summary.places)
    if not found:
        return ""
    columns = list(dict.fromkeys(share.column for share in found))
    rows = list(dict.fromkeys(share.row for share in found))
    texts = []
    for title, name in (
        (f"left of {approximate_time(summary.budget_ps)}", "left_ps"),
        ("fabric", "fabric_ps"),
    ):
        table = empty_table([title], [column.replace(", ", ",\n") or title for column in columns])
        for row in rows:
            values = {share.column: getattr(share, name) / PS_PER_US for share in found if share.row == row}
            sign = "+" if name == "left_ps" else ""
            table.add_row(
                row,
                *(
                    f"{values[one]:{sign}.2f}".replace("-", "−") if one in values else MISSING
                    for one in columns
                ),
            )
        texts.append(printed(table, colour))
    return (
        "\n".join(texts)
        + "(p50 in µs; the fabric: all but the stages of the NICs at both ends; −: too much)\n"
    )


def rate_table(cells: Sequence[CellSummary], *, colour: bool = False) -> str:
    """What arrives, in cells whose senders are as fast as they can be, or whose NICs cannot keep up; else empty."""
    rated = [cell for cell in cells if cell.goodput_bps and (cell.closed_loop or cell.saturated)]
    if not rated:
        return ""
    labels = _labels(cells)
    table = empty_table(list(labels), ("offered", "goodput", "M messages/s"))
    for cell in rated:
        offered = MISSING if cell.offered_bps is None else f"{cell.offered_bps / 1e9:,.1f} Gb/s"
        bps = cell.goodput_bps or 0
        rate = bps / 8 / cell.size_bytes / 1e6
        table.add_row(
            *(label(cell) for label in labels.values()), offered, f"{bps / 1e9:,.1f} Gb/s", f"{rate:,.2f}"
        )
    return (
        printed(table, colour)
        + "(payload of all cards; where less arrives than is offered, latencies grow)\n"
    )


def event_table(cells: Sequence[CellSummary], *, colour: bool = False) -> str:
    """What the fabric did to frames in each cell where it did anything; empty if it did nowhere."""
    found = [(cell, _events(cell)) for cell in cells]
    names = [name for name in _EVENT_COLUMNS if any(name in events for _, events in found)]
    if not names:
        return ""
    shown = _labels(cells)
    table = empty_table(list(shown), [_EVENT_COLUMNS[name] for name in names])
    for cell, events in found:
        if events:
            texts = (_event_text(name, events.get(name, 0), cell) for name in names)
            table.add_row(*(label(cell) for label in shown.values()), *texts)
    return printed(table, colour) + f"({_event_note(names)})\n"


def _event_note(names: Sequence[str]) -> str:
    """What the counts are of: the fabric sees every frame of a cell, records are of measured messages only."""
    of_messages = [name for name in ("retransmits", "lost") if name in names]
    notes = ["counts of the whole cell"] if set(names) - set(of_messages) else []
    if of_messages:
        notes.append(f"{' and '.join(of_messages)} of the measured messages only")
    if "pause_ps" in names:
        notes.append("a pause counts for each class of a port that is stopped")
    return "; ".join(notes)


_EVENT_COLUMNS = {
    "discards": "drops",
    "trimmed": "trimmed",
    "retransmits": "retransmits",
    "lost": "lost",
    "ecn_marked": "ECN marks",
    "pause_frames": "PFC frames",
    "pause_ps": "paused for",
    "watchdog_storms": "PFC storms",
    "fcs_errors": "FCS errors",
    "llr_replays": "LLR replays",
}
"""Events by name, with their headings."""


def _events(cell: CellSummary) -> dict[str, int]:
    of_messages = {"retransmits": cell.retransmits, "lost": cell.lost}
    return {**cell.events, **{name: number for name, number in of_messages.items() if number}}


def _event_text(name: str, value: int, cell: CellSummary) -> str:
    if not value:
        return MISSING
    if name == "lost":
        return f"{value:,} of {cell.n + value:,}"
    return approximate_time(value) if name.endswith("_ps") else f"{value:,}"


def recovery_table(cells: Sequence[CellSummary], *, colour: bool = False) -> str:
    """What a lost packet costs its message in each cell where one was sent again; empty if none was anywhere."""
    found = [(cell, cell.recovery) for cell in cells if cell.recovery is not None]
    if not found:
        return ""
    times = [(one.median_ps, one.p99_ps, one.max_ps) for _, one in found]
    scale = choose_scale(abs(value) for row in times for value in row if value is not None)
    labels = _labels(cells)
    table = empty_table(list(labels), ("hit", "recovery p50", "p99", "max"))
    for (cell, one), row in zip(found, times, strict=True):
        texts = (MISSING if value is None else f"{scale.number(value)} {scale.unit}" for value in row)
        table.add_row(*(label(cell) for label in labels.values()), f"{one.messages:,}", *texts)
    note = "messages with a packet that was sent again: latency beyond the median of the others"
    return printed(table, colour) + f"({note})\n"


def outage_table(cells: Sequence[CellSummary], *, colour: bool = False) -> str:
    """How many messages failures hit, beside how long they last for the fabric; empty without failures."""
    found = [(cell, cell.outage) for cell in cells if cell.outage is not None]
    if not found:
        return ""
    scale = choose_scale(value for _, one in found for value in (one.stated_ps, one.slowest_ps) if value)
    labels = _labels(cells)
    table = empty_table(list(labels), ("outage", "messages hit", "slowest"))
    for cell, one in found:
        outage = "no end" if one.stated_ps is None else "none"
        if one.stated_ps:
            outage = f"{scale.number(one.stated_ps)} {scale.unit}"
        slowest = f"{scale.number(one.slowest_ps)} {scale.unit}" if one.slowest_ps else MISSING
        table.add_row(*(label(cell) for label in labels.values()), outage, f"{one.hit:,}", slowest)
    note = (
        "outage: how long in all frames between some cards are lost, by the tables and the failures; hit: sent"
        " again, from the first failure on; a change of the way brings packets out of order, and makes some NICs"
        " send again, too"
    )
    return printed(table, colour) + textwrap.fill(f"({note})", PROSE_CHARS) + "\n"


def _labels(cells: Sequence[CellSummary]) -> dict[str, Callable[[CellSummary], str]]:
    """The columns that say which cell a row is of; with variants, only what is not the same in all of them."""
    if not any(cell.variant for cell in cells):
        return {name: _LABELS[name] for name in ("scenario", "size", "NIC")}
    varying = {name: label for name, label in _LABELS.items() if len({label(cell) for cell in cells}) > 1}
    return {**varying, "variant": _LABELS["variant"]}


_LABELS: dict[str, Callable[[CellSummary], str]] = {
    "scenario": lambda cell: cell.scenario,
    "size": lambda cell: readable_size(cell.size_bytes),
    "NIC": lambda cell: cell.nic,
    "variant": lambda cell: cell.variant,
}


def _constant_labels(cells: Sequence[CellSummary]) -> list[str]:
    """What all rows have in common, and no column says."""
    hidden = [
        label(cells[0]) for name, label in _LABELS.items() if name not in _labels(cells) and label(cells[0])
    ]
    return [", ".join(hidden)] if hidden else []


def repeat_table(
    runs: Sequence[RunSummary], spreads: RepeatSummary, *, width: int | None = None, colour: bool = False
) -> str:
    """Over the runs of several seeds: the mean of each percentile and its 95 % t-interval."""
    for shown in (COLUMNS, ("p50", "p99", "p99.9", "p99.99"), ("p50", "p99.9"), ("p99.9",)):
        text = printed(_repeat_table(runs[0].cells, spreads, shown), colour)
        if width is None or columns_of(text) <= width:
            break
    seeds = ", ".join(str(seed) for seed in spreads.seeds)
    part = f"; {part_text(runs[0])}" if runs[0].part_of else ""
    return text + f"mean over the seeds {seeds}, with its 95 % t-interval{part}\n"


def _repeat_table(cells: Sequence[CellSummary], spreads: RepeatSummary, columns: Sequence[str]) -> Table:
    found = [[cell.percentiles[name] for name in columns] for cell in spreads.cells]
    rows = [[(s.mean_ps, s.low_ps, s.high_ps) if s else (None, None, None) for s in row] for row in found]
    scale = choose_scale(value for row in rows for value, _, _ in row if value is not None)
    labels = _labels(cells)
    table = empty_table(list(labels), columns)
    for cell, row in zip(cells, aligned_columns(rows, [True] * len(columns), scale), strict=True):
        table.add_row(*(label(cell) for label in labels.values()), *row)
    return table


def clock_text(clock: ClockStatement) -> str:
    """How exact the run was, in one line."""
    if clock.emulated_records == 0:
        return f"twin: {clock.twin_records:,} records, no frames on wires"
    real = f"{clock.clock}, on real frames: {clock.emulated_records:,} records"
    if clock.equal is None:
        return f"{real}, not compared with the twin"
    if clock.equal:
        beyond = clock.twin_records - clock.emulated_records
        more = f"; {beyond:,} more from the twin" if beyond > 0 else ""
        foreign = f"; {clock.foreign_frames:,} foreign frames left alone" if clock.foreign_frames else ""
        return f"{real}, every one equal to the twin's{more}{foreign}"
    return f"{real}, NOT equal to the twin's: {clock.difference or 'the first difference is not known'}"


def _heading(summary: RunSummary) -> list[tuple[str, str]]:
    return [
        (summary.experiment, f"{summary.fabric}; seed {summary.seed}"),
        ("part", part_text(summary)),
        ("question", summary.question),
        ("variants", _variants(summary)),
        ("failures", _failures(summary)),
        ("control", ", ".join(f"{key}={value}" for key, value in summary.control.items())),
        ("clock", clock_text(summary.clock)),
    ]


def part_text(summary: RunSummary) -> str:
    """That cells are missing, and how many; empty where none is."""
    if not summary.part_of:
        return ""
    return f"{len(summary.cells)} of the {summary.part_of} cells of the experiment; the others were not run"


def _variants(summary: RunSummary) -> str:
    """What each variant sets; those whose name is all that they set are only counted with the fabric."""
    told = {name: text or "as it stands" for name, text in summary.variants.items() if text != name}
    if len(told) > _MOST_TOLD:
        return f"{len(told)}; what each sets: summary.json"
    return "; ".join(f"{name}: {text}" for name, text in told.items())


def _failures(summary: RunSummary) -> str:
    """What goes wrong wherever no variant has failures of its own."""
    more = len(summary.failures) - _MOST_TOLD
    shown = ", ".join(summary.failures[:_MOST_TOLD])
    return f"{shown} and {more} more" if more > 0 else shown


def _closing(summary: RunSummary, result: str) -> list[tuple[str, str]]:
    answers = [("answer" if not i else "", answer) for i, answer in enumerate(summary.answers)]
    return [
        *answers,
        ("rests on", _rests_on(summary.assumptions, result)),
        ("digest", summary.records_digest),
    ]


def _rests_on(assumptions: tuple[Assumption, ...], result: str) -> str:
    if not assumptions:
        return "no assumed or estimated values"
    largest = "; ".join(f"{found.path} = {_assumed(found)}" for found in largest_assumptions(assumptions))
    plural = "value" if len(assumptions) == 1 else "values"
    return f"{len(assumptions)} assumed or estimated {plural} (./tb assumptions {result}); the largest: {largest}"


def _assumed(found: Assumption) -> str:
    if isinstance(found.value, tuple):
        low, high = min(found.value, default=0), max(found.value, default=0)
        if found.unit == "ps":
            return f"{approximate_time(low)} to {approximate_time(high)}"
        return f"{low:,} to {high:,} {found.unit}"
    return approximate_time(found.value) if found.unit == "ps" else f"{found.value:,} {found.unit}"


def _table(cells: Sequence[CellSummary], form: _Form) -> Table:
    counted = not (form.bare and _common_n(cells))
    labels = _labels(cells)
    table = empty_table(list(labels), (*form.columns, "max", *(["n"] if counted else [])))
    rows = [[*(_triple(cell, name) for name in form.columns), (cell.max_ps, None, None)] for cell in cells]
    shown = [name in form.intervals for name in (*form.columns, "max")]
    scale = _scale_of(cells)
    for cell, texts in zip(cells, aligned_columns(rows, shown, scale, units=not form.bare), strict=True):
        count = [f"{cell.n:,}"] if counted else []
        table.add_row(*(label(cell) for label in labels.values()), *texts, *count)
    return table


def _common_n(cells: Sequence[CellSummary]) -> list[str]:
    """The number of messages, if all cells have the same."""
    numbers = {cell.n for cell in cells}
    return [f"n = {numbers.pop():,} each"] if len(numbers) == 1 else []


def _scale_of(cells: Sequence[CellSummary]) -> Scale:
    """One for all times of a table."""
    percentiles = [_triple(cell, name)[0] for cell in cells for name in COLUMNS]
    return choose_scale(v for v in (*percentiles, *(cell.max_ps for cell in cells)) if v is not None)


def _triple(cell: CellSummary, name: str) -> Triple:
    found = cell.percentiles.get(name)
    return (found.value_ps, found.low_ps, found.high_ps) if found else (None, None, None)
