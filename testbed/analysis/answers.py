"""The answers: one plain sentence per scenario and pair of NICs, from cell summaries alone. Pure.

A difference is claimed only where the 95 % intervals of the two percentiles do not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

from testbed.analysis.breakdown import attribute, share_ppm
from testbed.analysis.percentiles import MIN_SAMPLES_BEYOND, PPM, Percentile, percentile_name
from testbed.analysis.summary import ANSWER_QUANTILE_PPM, CellSummary
from testbed.units import PS_PER_MS, PS_PER_NS, PS_PER_S, PS_PER_US, format_size

_NAME = percentile_name(ANSWER_QUANTILE_PPM)
_UNITS = ((PS_PER_S, "s"), (PS_PER_MS, "ms"), (PS_PER_US, "µs"), (PS_PER_NS, "ns"), (1, "ps"))
_RATIO_AS_PERCENT_BELOW = 1.1
_REST = "the NICs and the fabric"


def answers(cells: Sequence[CellSummary]) -> tuple[str, ...]:
    """For each scenario, the first NIC beside every other one at p99.9; alone if it is the only one."""
    sentences = []
    for scenario in dict.fromkeys(cell.scenario for cell in cells):
        here = [cell for cell in cells if cell.scenario == scenario]
        first, *others = dict.fromkeys(cell.nic for cell in here)
        compared: list[str | None] = [*others] or [None]
        for other in compared:
            clauses = list(_clauses(here, first, other))
            if clauses:
                sentences.append(f"{here[0].condition}, {'; '.join(clauses)}.")
    return tuple(sentences)


def approximate_time(ps: int) -> str:
    """A time to three significant digits, for sentences: `2.13 µs`."""
    scale, unit = next((s, u) for s, u in _UNITS if abs(ps) >= s or s == 1)
    value = ps / scale
    digits = 0 if scale == 1 else max(0, 3 - len(str(abs(round(value)))))
    text = f"{value:.{digits}f}"
    if abs(float(text)) >= 1000 and scale < PS_PER_S:  # 999.7 ns rounds to 1000 ns: 1.00 µs
        return approximate_time(scale * 1000 * (1 if ps > 0 else -1))
    return f"{text} {unit}".replace("-", "−")


def readable_size(size_bytes: int) -> str:
    """`4 KiB`."""
    text = format_size(size_bytes)
    number = text.rstrip("BKMGi")
    return f"{number} {text[len(number) :]}"


def _clauses(here: Sequence[CellSummary], first: str, other: str | None) -> list[str]:
    """One clause per message size that both NICs have."""
    by_key = {(cell.size_bytes, cell.nic): cell for cell in here}
    clauses: list[str] = []
    for size in dict.fromkeys(cell.size_bytes for cell in here):
        a = by_key.get((size, first))
        b = a if other is None else by_key.get((size, other))
        if a is not None and b is not None:
            put = f"{'the ' + _NAME if not clauses else 'that'} of a {readable_size(size)} put"
            clauses.append(_alone(put, a) if other is None else _compared(put, a, b))
    return clauses


def _alone(put: str, cell: CellSummary) -> str:
    value = cell.percentiles[_NAME].value_ps
    if value is None:
        return f"{put} cannot be stated ({_too_few(cell)})"
    return f"{put} is {approximate_time(value)} with {cell.nic}"


def _compared(put: str, a: CellSummary, b: CellSummary) -> str:
    left, right = a.percentiles[_NAME], b.percentiles[_NAME]
    if left.value_ps is None or right.value_ps is None:
        return f"{put} cannot be compared ({_too_few(a if left.value_ps is None else b)})"
    values = f"({approximate_time(left.value_ps)} and {approximate_time(right.value_ps)})"
    if left.value_ps == right.value_ps:
        return f"{put} is the same with {a.nic} as with {b.nic}, {approximate_time(left.value_ps)}"
    if _overlap(left, right):
        return f"{put} does not differ measurably between {a.nic} and {b.nic} {values}: the intervals overlap"
    verdict = _verdict(left.value_ps, right.value_ps)
    return f"{put} is {verdict} with {a.nic} than with {b.nic} {values}{_reasons(a, b)}"


def _too_few(cell: CellSummary) -> str:
    beyond = cell.percentiles[_NAME].samples_beyond
    return (
        f"only {beyond} of the {cell.n:,} messages with {cell.nic} lie beyond it, "
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
    percent = round(100 * share_ppm(software, abs(total)) / PPM)
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
