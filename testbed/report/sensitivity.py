"""What a sensitivity study found, as text: a table for each group, sentences about what flips. Knows no terminal."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.analysis.answers import approximate_time, readable_size
from testbed.analysis.sensitivity import Group, Parameter, Point, Response, Sensitivity
from testbed.report.layout import empty_table, printed, prose
from testbed.report.parameters import quantity_name, range_text, short_path, value_text

MOST_ROWS = 20
"""So many parameters a table and a figure show, those that move the most; the others are counted."""
_MOST_SWINGS = 3
_ORDER = ("base", "range", "at low", "at high", "swing")
_FORMS = (_ORDER, ("range", "at low", "at high", "swing"), ("range", "swing"))
"""From the widest to the narrowest."""
_MOST_NAMED = 12


def sensitivity_text(found: Sensitivity, *, width: int | None = None, colour: bool = False) -> str:
    """The whole report."""
    head = [
        ("experiment", found.experiment),
        ("question", found.question),
        ("fabric", found.fabric),
        ("varied", f"{len(found.parameters)} assumed numbers, one at a time; {found.runs:,} runs of"
         f" {found.records:,} messages, seed {found.seed}, twin"),
    ]  # fmt: skip
    parts = [prose(head, width)]
    for group in found.groups:
        table = _table(found, group, width, colour)
        parts += [_heading(group, width), table, prose(_verdict(found, group), width)]
    parts.append(prose(_closing(found), width))
    return "\n\n".join(part.rstrip() for part in parts if part) + "\n"


def group_name(group: Group) -> str:
    """`load, 4 KiB`."""
    return ", ".join(part for part in (group.scenario, readable_size(group.size_bytes), group.nic) if part)


def drawn(group: Group) -> tuple[Response, ...]:
    """The bars of a figure: what moves most, and whatever flips."""
    moving = [one for one in group.responses if one.swing_ps]
    return tuple(one for place, one in enumerate(moving) if place < MOST_ROWS or one.flips)


def shown(group: Group) -> tuple[Response, ...]:
    """The rows of a table: the bars, and whatever failed."""
    bars = drawn(group)
    return bars + tuple(one for one in group.responses if _failed(one) and one not in bars)


def rest_text(group: Group, rows: Sequence[Response]) -> str:
    """How many parameters are not among the rows, and how much the largest of them moves; empty if all are."""
    smaller = [one for one in group.responses if one.swing_ps and one not in rows]
    rest = [one for one in group.responses if not one.swing_ps and one not in rows]
    idle, failed = sum(not _failed(one) for one in rest), sum(map(_failed, rest))
    parts = []
    if smaller:
        most = approximate_time(max(one.swing_ps for one in smaller))
        parts.append(f"{len(smaller)} smaller ones are left out, {most} at most")
    if idle:
        parts.append(f"{idle} of {len(group.responses)} do not move it")
    if failed:
        parts.append(f"{failed} failed at one end of the range and did not move it at the other")
    return "; ".join(parts)


def flips_text(parameter: Parameter, response: Response) -> str:
    """`rdma best at ≤ 1.20 µs`, for each flip."""
    return "; ".join(
        f"{flip.best} best at {'≤' if flip.at < parameter.base else '≥'} {value_text(parameter, flip.at)}"
        for flip in response.flips
    )


def _failed(response: Response) -> bool:
    return bool(response.low.failure or response.high.failure)


def _heading(group: Group, width: int | None) -> str:
    values = ", ".join(f"{name} {approximate_time(value)}" for name, value in group.base_ps.items())
    lines = [(group_name(group), f"{group.condition}, {group.quantile}: {values}")]
    if group.best:
        ahead = approximate_time(group.quantity_ps)
        apart = "" if group.measurable else "; their intervals overlap, so that is no measurable difference"
        ratio = group.base_ps[group.rival] / max(group.base_ps[group.best], 1)
        if group.quantity_ps:
            said = f"{group.best} is best, {ahead} ahead of {group.rival} ({ratio:.3g} times){apart}"
        else:
            said = f"{group.best} and {group.rival} are the same"
        lines.append(("base", said))
    return prose(lines, width)


def _table(found: Sensitivity, group: Group, width: int | None, colour: bool) -> str:
    """One row for each parameter that moves anything; a narrow terminal leaves out columns."""
    rows = shown(group)
    if not rows:
        return ""
    each = group.alternatives if 1 < len(group.alternatives) <= _MOST_SWINGS else ()
    flips = ("flips",) if any(row.flips for row in rows) else ()
    of_each = tuple(f"of {name}" for name in each)
    forms = [(*_ORDER, *of_each, *flips), *((*form, *flips) for form in _FORMS)]
    for columns in forms:
        table = empty_table(["parameter"], columns)
        for row in rows:
            texts = _texts(found.parameters[row.parameter], row)
            table.add_row(short_path(row.path), *(texts[column] for column in columns))
        text = printed(table, colour)
        if width is None or max(map(len, text.splitlines())) <= width:
            break
    return text + ("" if columns == forms[0] else "(all columns: report.txt)\n")


def _texts(parameter: Parameter, row: Response) -> dict[str, str]:
    """What stands in each column."""
    return {
        "base": value_text(parameter, parameter.base),
        "range": range_text(parameter),
        "at low": _result(row.low),
        "at high": _result(row.high),
        "swing": approximate_time(row.swing_ps),
        **{f"of {name}": approximate_time(swing) for name, swing in row.swings_ps.items()},
        "flips": flips_text(parameter, row),
    }


def _result(point: Point) -> str:
    return "failed" if point.quantity_ps is None else approximate_time(point.quantity_ps)


def _verdict(found: Sensitivity, group: Group) -> list[tuple[str, str]]:
    """What the columns are, what flips, what is not shown."""
    lines = [("at low, high", quantity_name(group)), ("not shown", rest_text(group, shown(group)))]
    if group.best:
        named = [
            f"{short_path(one.path)}: {flips_text(found.parameters[one.parameter], one)}"
            for one in group.flipping
        ]
        lines.append(("flips", "; ".join(named) or "no flip within the range of any parameter"))
    return lines


def _failures(found: Sensitivity) -> list[tuple[str, str]]:
    """Each value that failed, with the reason, once; and where, if not everywhere."""
    where: dict[str, list[str]] = {}
    for group in found.groups:
        for row in group.responses:
            for point in (row.low, row.high):
                if point.failure:
                    at = value_text(found.parameters[row.parameter], point.at)
                    told = f"{short_path(row.path)} = {at}: {point.failure}"
                    where.setdefault(told, []).append(group_name(group))
    every = len(found.groups)
    return [
        ("failed", told if len(names) == every else f"{told} (in {_listed(names, '; ')})")
        for told, names in where.items()
    ]


def _closing(found: Sensitivity) -> list[tuple[str, str]]:
    left = [f"{one.path} ({one.reason})" for one in found.left_out]
    unmoved = [short_path(path) for path in found.unmoved]
    none = f"{len(unmoved)} of {len(found.parameters)} parameters"
    return [
        *_failures(found),
        ("no effect", f"{none}: {_listed(unmoved)}" if unmoved else ""),
        ("left out", f"{len(left)}: {_listed(left, '; ')}" if left else ""),
        ("ranges", "by mark where a number states none: assumed ×0.5 … ×2, E ×0.75 … ×1.33, M ×0.8 … ×1.25"),
    ]


def _listed(names: Sequence[str], between: str = ", ") -> str:
    more = [f"{len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return between.join([*names[:_MOST_NAMED], *more])
