"""Counters of a result as text, as JSON, and in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from testbed.analysis.counter_meaning import Level, Meaning, Names
from testbed.analysis.counter_rows import Row
from testbed.analysis.counter_series import Series
from testbed.spec.fabric import interface_name
from testbed.units import BYTES_PER_KIB, PS_PER_S, PS_PER_US

_GIGA, _MEGA = 10**9, 10**6
_CLASS_LABELS = {Level.PFC: "priority", Level.QUEUE: "queue", Level.GROUP: "priority_group"}
_METRIC_PLACES = {
    Level.SWITCH: "switch",
    Level.PORT: "port",
    Level.PFC: "port",
    Level.QUEUE: "queue",
    Level.GROUP: "priority_group",
    Level.NIC: "nic",
    Level.NODE: "node",
}


def counters_text(rows: Sequence[Row], names: Names) -> str:
    """One line a counter, its place before the first of it; counters without a name there are left out."""
    lines = [line for row in rows if (line := _line(row, names))]
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(3)]
    shown, before = [], ""
    for place, name, value, unit in lines:
        first = "" if place == before else place
        shown.append(f"{first:<{widths[0]}}  {name:<{widths[1]}}  {value:>{widths[2]}} {unit}".rstrip())
        before = place
    return "\n".join(shown)


def _line(row: Row, names: Names) -> tuple[str, str, str, str] | None:
    name = row.meaning.named(names, row.place.traffic_class)
    if not name:
        return None
    unit, value = row.meaning.unit, f"{row.value:,}"
    if unit == "ps":
        unit, value = "µs", f"{row.value / PS_PER_US:,.3f}"
    return row.place.at(row.node), name, value, unit


def counters_json(rows: Sequence[Row], names: Names, *, result: str) -> dict[str, Any]:
    """The same rows; durations in picoseconds, but in microseconds where another's name says so."""
    return {
        "result": result,
        "names": names,
        "counters": [
            {
                "cell": row.cell,
                "node": row.node,
                "port": row.place.port,
                "queue": row.place.traffic_class,
                "counter": name,
                "value": row.value / PS_PER_US
                if (us := names != "own" and row.meaning.unit == "ps")
                else row.value,
                "unit": "us" if us else row.meaning.unit,
            }
            for row in rows
            if (name := row.meaning.named(names, row.place.traffic_class))
        ],
    }


# -------------------------------------------------------------------------------------------------- Prometheus


class _Rows(Collector):
    """Hands the rows to the library that writes them."""

    def __init__(self, rows: Sequence[Row], experiment: str) -> None:
        self._rows, self._experiment = rows, experiment

    def collect(self) -> Iterator[Metric]:
        """One family for each counter."""
        families: dict[Meaning, CounterMetricFamily | GaugeMetricFamily] = {}
        for row in self._rows:
            labels = {"experiment": self._experiment, "cell": row.cell, "node": row.node} | _place_labels(row)
            if row.meaning not in families:
                families[row.meaning] = _family(row.meaning, list(labels))
            value = row.value / PS_PER_S if row.meaning.unit == "ps" else row.value
            families[row.meaning].add_metric(list(labels.values()), value)
        yield from families.values()


def prometheus_text(rows: Sequence[Row], *, experiment: str) -> str:
    """Text exposition format 0.0.4: names in base units, durations in seconds."""
    registry = CollectorRegistry()
    registry.register(_Rows(rows, experiment))
    return generate_latest(registry).decode()


def metric_name(meaning: Meaning) -> str:
    """`tnic_port_in_octets`; `_total` is added to what only grows."""
    place = _METRIC_PLACES[meaning.level]
    name = meaning.name.removeprefix("pg_") if meaning.level is Level.GROUP else meaning.name
    name = name.removeprefix("queue_") if meaning.level is Level.QUEUE else name
    return f"tnic_{place}_{name.removesuffix('_ps')}" + ("_seconds" if meaning.unit == "ps" else "")


def _family(meaning: Meaning, labels: list[str]) -> CounterMetricFamily | GaugeMetricFamily:
    kind = GaugeMetricFamily if meaning.gauge else CounterMetricFamily
    unit = "seconds" if meaning.unit == "ps" else meaning.unit
    return kind(metric_name(meaning), f"{meaning.what} ({unit})".strip(), labels=labels)


def _place_labels(row: Row) -> dict[str, str]:
    labels = {}
    if row.place.port is not None:
        labels["port"] = interface_name(row.node, row.place.port)
    if row.place.traffic_class is not None:
        labels[_CLASS_LABELS[row.meaning.level]] = str(row.place.traffic_class)
    return labels


# --------------------------------------------------------------------------------------------------- over time


def readable_unit(series: Series) -> tuple[str, int]:
    """The unit that a series is shown in, and how many of its own make one."""
    return {
        "bit/s": ("Gb/s", _GIGA),
        "packets/s": ("Mpackets/s", _MEGA),
        "bytes": ("KiB", BYTES_PER_KIB),
    }.get(series.unit, (series.unit, 1))


def series_text(series: Series) -> str:
    """Time, counter, and its rate since the time before."""
    unit, scale = readable_unit(series)
    head = ("time (µs)", f"{series.meaning.name} ({series.meaning.unit})", unit)
    shown = series.per_interval() / scale
    rows = [
        (f"{time / PS_PER_US:,.3f}", f"{value:,}", f"{rate:,.3f}")
        for time, value, rate in zip(series.time_ps[1:], series.value[1:], shown, strict=True)
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(f"{text:>{width}}" for text, width in zip(row, widths, strict=True))
        for row in (head, *rows)
    )


def series_json(series: Series, *, result: str, cell: str) -> dict[str, Any]:
    """Every sample; `rate` is that of the interval before it, null for the first."""
    rates = [None, *(None if series.meaning.gauge else rate for rate in series.per_interval().tolist())]
    return {
        "result": result,
        "cell": cell,
        "place": series.place.at(series.node),
        "counter": series.meaning.name,
        "unit": series.meaning.unit,
        "rate_unit": None if series.meaning.gauge else series.unit,
        "samples": [
            {"time_ps": time, "value": value, "rate": rate}
            for time, value, rate in zip(series.time_ps.tolist(), series.value.tolist(), rates, strict=True)
        ],
    }
