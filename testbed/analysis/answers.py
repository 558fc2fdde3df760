"""The answers: one plain sentence per scenario and pair of NICs or variants, from cell summaries alone. Pure.

A difference is claimed only where the 95 % intervals of the two percentiles do not overlap.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from testbed.analysis.breakdown import attribute, share_ppm
from testbed.analysis.percentiles import MIN_SAMPLES_BEYOND, Percentile, percentile_name
from testbed.analysis.summary import ANSWER_QUANTILE_PPM, CellSummary
from testbed.units import PPM_PER_WHOLE, PS_PER_MS, PS_PER_NS, PS_PER_S, PS_PER_US, format_size

_NAME = percentile_name(ANSWER_QUANTILE_PPM)
_UNITS = ((PS_PER_S, "s"), (PS_PER_MS, "ms"), (PS_PER_US, "µs"), (PS_PER_NS, "ns"), (1, "ps"))
_RATIO_AS_PERCENT_BELOW = 1.1
MOST_PAIRED = 3
"""With more variants than these, a sentence tells the best and the worst alone."""
_MOST_LISTED = 4
_REST = "the NICs and the fabric"


def answers(
    cells: Sequence[CellSummary],
    references: Collection[str] = (),
    disturbed: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, ...]:
    """For each scenario, at p99.9: the first NIC beside every other one, or, for each NIC, its variants.

    Of many NICs the best is told instead, at each size or with each variant. `references`: variants that are shown,
    and not ranked. `disturbed`: variants that disturb host agents, and how.
    """
    sentences: list[str] = agent_answers(cells, disturbed) if disturbed else []
    for scenario in dict.fromkeys(cell.scenario for cell in cells):
        here = [cell for cell in cells if cell.scenario == scenario]
        if len({cell.nic for cell in here}) > MOST_PAIRED:
            sentences += nic_answers(here)
        elif any(cell.variant for cell in here):
            for nic in dict.fromkeys(cell.nic for cell in here):
                where = f"{here[0].condition} with {nic}" if _several_nics(here) else here[0].condition
                sentences += variant_answers([cell for cell in here if cell.nic == nic], where, references)
        else:
            sentences += _pairs(here, here[0].condition)
    return tuple(sentences)


def variant_answers(cells: Sequence[CellSummary], where: str, references: Collection[str]) -> list[str]:
    """The variants of one scenario and NIC: each beside the first if they are few, else the best and the worst."""
    sizes = dict.fromkeys(cell.size_bytes for cell in cells)
    if len({cell.variant for cell in cells}) <= MOST_PAIRED:
        sentences = _pairs(cells, where)
    else:
        clauses = [
            _ranked(
                _put(size, first=not place), [cell for cell in cells if cell.size_bytes == size], references
            )
            for place, size in enumerate(sizes)
        ]
        sentences = [f"{where}, {'; '.join(clauses)}."]
    alike = [[cell for cell in cells if cell.size_bytes == size] for size in sizes]
    counted = [tell(same) for same in alike for tell in (_goodputs, _drops, _marks)]
    return sentences + [f"{where}, {text}." for text in dict.fromkeys(counted) if text]


def nic_answers(cells: Sequence[CellSummary]) -> list[str]:
    """Many NICs in one scenario: which is the best at each size, or with each variant; what some cannot carry."""
    where, spans = cells[0].condition, _spans(cells)
    clauses = [_span_text(span, cells[0].nic) for span in spans]
    sentences = [
        f"{where}, the {_NAME} of a put {'; '.join(clauses)}."
        if clauses
        else f"{where}, no {_NAME} can be compared: too few messages, or more than the NICs can carry."
    ]
    full = [text for nic in dict.fromkeys(cell.nic for cell in cells) if (text := _full(cells, nic))]
    return sentences + ([f"{where}, more is offered than arrives with {'; '.join(full)}."] if full else [])


Step = tuple[str, list[CellSummary]]
"""A size or a variant by name, and the cells of all NICs there, the fastest first."""


def _spans(cells: Sequence[CellSummary]) -> list[list[Step]]:
    """Steps in a row at which the same NICs are the best."""
    sizes, steps = dict.fromkeys(cell.size_bytes for cell in cells), dict[str, list[CellSummary]]()
    for cell in cells:
        size = readable_size(cell.size_bytes) if len(sizes) > 1 or not cell.variant else ""
        steps.setdefault(", ".join(filter(None, [size, cell.variant])), []).append(cell)
    spans: list[list[Step]] = []
    for name, here in steps.items():
        stated = sorted(
            (c for c in here if _is_stated(c) and not c.saturated),
            key=lambda cell: cell.percentiles[_NAME].value_ps or 0,
        )
        if not stated:
            continue
        if spans and {c.nic for c in _alike(spans[-1][-1][1])} == {c.nic for c in _alike(stated)}:
            spans[-1].append((name, stated))
        else:
            spans.append([(name, stated)])
    return spans


def _alike(ordered: Sequence[CellSummary]) -> list[CellSummary]:
    """The best, and those whose intervals do not tell them from it."""
    return [cell for cell in ordered if _overlap(ordered[0].percentiles[_NAME], cell.percentiles[_NAME])]


def _span_text(span: Sequence[Step], first_nic: str) -> str:
    """The best with its interval at both ends, how far the next is behind it, the first NIC, and the last."""
    ends = [span[0], span[-1]] if len(span) > 1 else [span[0]]
    at = f"at {span[0][0]}" if len(span) == 1 else f"from {span[0][0]} to {span[-1][0]}"
    best = _alike(span[0][1])
    values = " and ".join(_with_interval(cells[0].percentiles[_NAME]) for _, cells in ends)
    others = [cell.nic for cell in span[0][1] if cell not in best]
    told = dict.fromkeys([*others[:1], *(nic for nic in others if nic == first_nic), *others[-1:]])
    behind = [text for nic in told if (text := _behind(nic, ends))]
    listed = f" ({', '.join([values, *behind])})"
    if len(best) == 1:
        return f"is lowest with {best[0].nic} {at}{listed}"
    return f"does not differ measurably between {_listed([cell.nic for cell in best])} {at}{listed}"


def _behind(nic: str, ends: Sequence[Step]) -> str:
    """`rdma 8.0 to 3.4 times that`."""
    times = [
        (cell.percentiles[_NAME].value_ps or 0) / (cells[0].percentiles[_NAME].value_ps or 1)
        for _, cells in ends
        for cell in cells
        if cell.nic == nic
    ]
    texts = list(dict.fromkeys(f"{one:.0f}" if one >= 10 else f"{one:.2f}" for one in times))
    return f"{nic} {' to '.join(texts)} times that" if texts else ""


def _with_interval(found: Percentile) -> str:
    """`2.13 µs [2.10 µs, 2.20 µs]`; an exact one has none."""
    text = approximate_time(found.value_ps or 0)
    if found.low_ps == found.value_ps == found.high_ps:
        return text
    low, high = ("–" if bound is None else approximate_time(bound) for bound in (found.low_ps, found.high_ps))
    return f"{text} [{low}, {high}]"


def _full(cells: Sequence[CellSummary], nic: str) -> str:
    """What a NIC cannot carry: `kernel (64 B to 4 KiB)`."""
    full = [cell for cell in cells if cell.nic == nic and cell.saturated]
    sizes = list(dict.fromkeys(cell.size_bytes for cell in full))
    variants = list(dict.fromkeys(cell.variant for cell in full if cell.variant))
    if not full:
        return ""
    if len({cell.size_bytes for cell in cells}) == 1:
        return f"{nic} ({_listed(variants)})" if variants else nic
    span = readable_size(sizes[0]) + (f" to {readable_size(sizes[-1])}" if len(sizes) > 1 else "")
    return f"{nic} ({span}{', ' + _listed(variants) if variants else ''})"


def agent_answers(cells: Sequence[CellSummary], disturbed: Mapping[str, str]) -> list[str]:
    """Whether the records of each NIC are the same, whatever befell the hosts' control processes."""
    sentences = []
    for nic in dict.fromkeys(cell.nic for cell in cells if cell.variant in disturbed):
        own = [cell for cell in cells if cell.nic == nic]
        hit = [cell for cell in own if cell.variant in disturbed]
        if not all(cell.emulated_digest for cell in hit):
            sentences.append("host agents are processes beside real frames: the twin has none to disturb.")
            continue
        calm = [cell for cell in own if cell.variant not in disturbed]
        digests: dict[tuple[str, int], set[str]] = {}
        for cell in own:
            digests.setdefault((cell.scenario, cell.size_bytes), set()).add(cell.emulated_digest)
        ways = _listed(list(dict.fromkeys(disturbed[cell.variant] for cell in hit)))
        if digests.keys() != {(cell.scenario, cell.size_bytes) for cell in calm}:
            sentences.append(f"{nic} has no variant with undisturbed host agents to compare with.")
        elif all(len(found) == 1 for found in digests.values()):
            told = f"all {sum(cell.emulated_records for cell in hit):,} records of {nic} on real frames are the same"
            sentences.append(
                f"with host agents {ways} in mid-run, {told}, bit for bit, as with none disturbed "
                f"(SHA-256 {', '.join(next(iter(found))[:12] for found in digests.values())})."
            )
        else:
            sentences.append(f"with host agents {ways} in mid-run, the records of {nic} differ.")
    return list(dict.fromkeys(sentences))


def _goodputs(cells: Sequence[CellSummary]) -> str:
    """The alternatives that carry most and least, where senders are as fast as they can be, or cannot keep up."""
    rated = [cell for cell in cells if cell.goodput_bps and (cell.closed_loop or cell.saturated)]
    if not rated:
        return ""
    stated = [(cell.goodput_bps or 0, cell) for cell in cells if cell.goodput_bps]
    (most, best), (least, worst) = (pick(stated, key=lambda pair: pair[0]) for pick in (max, min))
    what = f"the goodput of {readable_size(best.size_bytes)} puts"
    if most < least * 1.02:
        return ""
    return (
        f"{what} is highest with {best.alternative}, {_rate(best)}, and "
        f"{most / least:.1f} times lower with {worst.alternative}, {_rate(worst)}"
    )


def _rate(cell: CellSummary) -> str:
    """Over the whole fabric."""
    bps = cell.goodput_bps or 0
    return f"{_three(bps / 1e9)} Gb/s ({_three(bps / 8 / cell.size_bytes / 1e6)} M messages/s)"


def _three(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _several_nics(cells: Sequence[CellSummary]) -> bool:
    return len({cell.nic for cell in cells}) > 1


def _pairs(here: Sequence[CellSummary], where: str) -> list[str]:
    """The first alternative beside every other one; alone if it is the only one."""
    sentences = []
    first, *others = dict.fromkeys(cell.alternative for cell in here)
    compared: list[str | None] = [*others] or [None]
    for other in compared:
        clauses = list(_clauses(here, first, other))
        if clauses:
            sentences.append(f"{where}, {'; '.join(clauses)}.")
    return sentences


def _put(size: int, *, first: bool) -> str:
    """What a clause is about."""
    return f"{'the ' + _NAME if first else 'that'} of a {readable_size(size)} put"


def _ranked(put: str, everything: Sequence[CellSummary], references: Collection[str]) -> str:
    """The best and the worst of many variants, as far as their intervals tell them apart; then the references."""
    cells = [cell for cell in everything if cell.variant not in references] or list(everything)
    beside = [
        f"{approximate_time(cell.percentiles[_NAME].value_ps or 0)} with {cell.variant}"
        for cell in everything
        if cell not in cells and _is_stated(cell)
    ]
    return _best_and_worst(put, cells) + (f"; for reference, {_listed(beside)}" if beside else "")


def _best_and_worst(put: str, cells: Sequence[CellSummary]) -> str:
    stated = [(cell.percentiles[_NAME].value_ps or 0, cell) for cell in cells if _is_stated(cell)]
    if len(stated) < 2:
        return f"{put} cannot be compared ({_too_few(next(c for c in cells if not _is_stated(c)))})"
    (low_ps, best), (high_ps, worst) = (pick(stated, key=lambda pair: pair[0]) for pick in (min, max))
    low, high = best.percentiles[_NAME], worst.percentiles[_NAME]
    if low_ps == high_ps:
        return f"{put} is the same with all {len(stated)} variants, {approximate_time(low_ps)}"
    ends = (
        f"{approximate_time(low_ps)} with {best.variant} and {approximate_time(high_ps)} with {worst.variant}"
    )
    if _overlap(low, high):
        return (
            f"{put} does not differ measurably between {len(stated)} variants ({ends}): the intervals overlap"
        )
    near = [c.variant for _, c in stated if c is not best and _overlap(low, c.percentiles[_NAME])]
    also = (
        f"; {_listed(near)} {'does' if len(near) == 1 else 'do'} not differ measurably from it"
        if near
        else ""
    )
    return (
        f"{put} is lowest with {best.variant} ({approximate_time(low_ps)}{also}) and "
        f"{_verdict(high_ps, low_ps)} with {worst.variant} ({approximate_time(high_ps)}), the highest of {len(stated)}"
    )


def _is_stated(cell: CellSummary) -> bool:
    return cell.percentiles[_NAME].value_ps is not None


def _drops(cells: Sequence[CellSummary]) -> str:
    """Which variants lose frames, if not all or none of them do."""
    dropped = {cell.variant: cell.events.get("discards", 0) for cell in cells}
    losing = [f"{variant} ({number:,})" for variant, number in dropped.items() if number]
    sparing = [variant for variant, number in dropped.items() if not number]
    if not losing or not sparing:
        return ""
    what = f"frames of {readable_size(cells[0].size_bytes)} puts are dropped"
    if len(losing) <= _MOST_LISTED or len(sparing) > _MOST_LISTED:
        return f"{what} with {_listed(losing)} only"
    return f"{what} with all variants but {_listed(sparing)}"


def _marks(cells: Sequence[CellSummary]) -> str:
    """How many messages are marked with the variant that marks most, and with the one that marks least."""
    shares = {cell.variant: 100 * cell.marked_messages / cell.n for cell in cells if cell.n}
    if len(set(shares.values())) < 2:
        return ""
    most, least = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
    return (
        f"{shares[most]:.3g} % of the {readable_size(cells[0].size_bytes)} puts carry a congestion mark with {most}, "
        f"the most, and {shares[least]:.3g} % with {least}, the least"
    )


def _listed(names: Sequence[str]) -> str:
    """`a, b and c`; the rest of a long list is counted."""
    shown = list(names[:_MOST_LISTED])
    if len(names) > _MOST_LISTED:
        shown.append(f"{len(names) - _MOST_LISTED} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def approximate_time(ps: int) -> str:
    """A time to three significant digits, for sentences: `2.13 µs`."""
    scale, unit = next((s, u) for s, u in _UNITS if abs(ps) >= s or s == 1)
    value = ps / scale
    digits = 0 if scale == 1 else max(0, 3 - len(str(int(abs(value)))))
    text = f"{value:.{digits}f}"
    if digits and abs(float(text)) >= 10 ** (3 - digits):  # 9.997 rounds to 10.00: 10.0
        text = f"{value:.{digits - 1}f}"
    if abs(float(text)) >= 1000 and scale < PS_PER_S:  # 999.7 ns rounds to 1000 ns: 1.00 µs
        return approximate_time(scale * 1000 * (1 if ps > 0 else -1))
    return f"{text} {unit}".replace("-", "−")


def readable_size(size_bytes: int) -> str:
    """`4 KiB`."""
    text = format_size(size_bytes)
    number = text.rstrip("BKMGi")
    return f"{number} {text[len(number) :]}"


def _clauses(here: Sequence[CellSummary], first: str, other: str | None) -> list[str]:
    """One clause per message size that both alternatives have."""
    by_key = {(cell.size_bytes, cell.alternative): cell for cell in here}
    clauses: list[str] = []
    for size in dict.fromkeys(cell.size_bytes for cell in here):
        a = by_key.get((size, first))
        b = a if other is None else by_key.get((size, other))
        if a is not None and b is not None:
            put = _put(size, first=not clauses)
            clauses.append(_alone(put, a) if other is None else _compared(put, a, b))
    return clauses


def _alone(put: str, cell: CellSummary) -> str:
    value = cell.percentiles[_NAME].value_ps
    if value is None:
        return f"{put} cannot be stated ({_too_few(cell)})"
    return f"{put} is {approximate_time(value)} with {cell.alternative}"


def _compared(put: str, a: CellSummary, b: CellSummary) -> str:
    left, right = a.percentiles[_NAME], b.percentiles[_NAME]
    one, other = a.alternative, b.alternative
    if left.value_ps is None or right.value_ps is None:
        return f"{put} cannot be compared ({_too_few(a if left.value_ps is None else b)})"
    values = f"({approximate_time(left.value_ps)} and {approximate_time(right.value_ps)})"
    if left.value_ps == right.value_ps:
        return f"{put} is the same with {one} as with {other}, {approximate_time(left.value_ps)}"
    if _overlap(left, right):
        return f"{put} does not differ measurably between {one} and {other} {values}: the intervals overlap"
    verdict = _verdict(left.value_ps, right.value_ps)
    reasons = _reasons(a, b) if a.nic != b.nic else ""  # between variants all of it is the fabric
    return f"{put} is {verdict} with {one} than with {other} {values}{reasons}"


def _too_few(cell: CellSummary) -> str:
    beyond = cell.percentiles[_NAME].samples_beyond
    return (
        f"only {beyond} of the {cell.n:,} messages with {cell.alternative} lie beyond it, "
        f"{MIN_SAMPLES_BEYOND} are needed"
    )


def _overlap(a: Percentile, b: Percentile) -> bool:
    """Whether the two intervals share a value; an open bound reaches as far as the other interval."""
    a_low, a_high, b_low, b_high = a.low_ps, a.high_ps, b.low_ps, b.high_ps
    return (a_low is None or b_high is None or a_low <= b_high) and (
        b_low is None or a_high is None or b_low <= a_high
    )


def _verdict(a_ps: int, b_ps: int) -> str:
    """`3.1 times lower`, or `4 % higher` where a factor would read 1.0."""
    word, big, small = ("lower", b_ps, a_ps) if a_ps < b_ps else ("higher", a_ps, b_ps)
    if small == 0:
        return word
    ratio = big / small
    if ratio >= _RATIO_AS_PERCENT_BELOW:
        return f"{ratio:.0f} times {word}" if ratio >= 10 else f"{ratio:.1f} times {word}"
    percent = 100 * abs(a_ps - b_ps) / b_ps
    return f"{percent:.1f} % {word}" if percent >= 0.1 else f"less than 0.1 % {word}"


def _reasons(a: CellSummary, b: CellSummary) -> str:
    """How much of the difference is host software; empty where the windows do not tell."""
    found = attribute(a.components_window, b.components_window)
    if found is None or found.difference.total_ps == 0:
        return ""
    total = found.difference.total_ps
    b_is_slower = (b.percentiles[_NAME].value_ps or 0) > (a.percentiles[_NAME].value_ps or 0)
    if (total > 0) is not b_is_slower:
        return ""
    software, rest = (part if total > 0 else -part for part in (found.host_software_ps, found.rest_ps))
    percent = round(100 * share_ppm(software, abs(total)) / PPM_PER_WHOLE)
    if percent in (0, 100):
        return f": practically all of the difference is {'host software' if percent else _REST}"
    if 0 < percent < 100:
        return f": {percent} % of the difference is host software, {100 - percent} % {_REST}"
    if percent > 100:
        return (
            f": host software adds {approximate_time(software)}, "
            f"{_REST} take {approximate_time(-rest)} off that"
        )
    return (
        f": {_REST} add {approximate_time(rest)}, host software takes {approximate_time(-software)} off that"
    )
