"""Names, rows and series of counters, and how they are printed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed.analysis.counter_meaning import NAMINGS, Level, Meaning, Place
from testbed.analysis.counter_names import MEANINGS, meaning_of, place_of
from testbed.analysis.counter_rows import Selection, parse_place, rows_of
from testbed.analysis.counter_series import CounterSampler, Series
from testbed.errors import SpecError
from testbed.report.counters import counters_json, counters_text, metric_name, prometheus_text, series_text
from testbed.run.cell_files import read_series, series_path, write_series

COUNTERS = {
    "load": {
        "c10": {"tx_octets": 700, "tx_cnps": 0, "c3.pfc_rx": 4},
        "c2": {"tx_octets": 900, "tx_cnps": 5},
        "l1": {
            "buffer_watermark_bytes": 2048,
            "port1.in_octets": 10_000_000_000,
            "port1.out_discards": 0,
            "port12.c3.pause_rx_ps": 2_500_000,
            "port12.c3.out_octets": 77,
            "port2.c3.pg_watermark_bytes": 512,
        },
    }
}


def test_each_counter_is_named_once_at_its_place() -> None:
    by_class = {Level.PFC, Level.QUEUE, Level.GROUP}
    places = [(one.name, one.level in by_class) for one in MEANINGS]
    assert len(set(places)) == len(places)
    assert all(one.what and one.unit for one in MEANINGS)
    for one, of_class in zip(MEANINGS, (of_class for _, of_class in places), strict=True):
        assert meaning_of(("port1.c2." if of_class else "") + one.name) is one


@pytest.mark.parametrize("level", Level)
def test_no_two_counters_of_a_place_share_another_s_name(level: Level) -> None:
    for names in NAMINGS:
        found = [name for one in MEANINGS if one.level is level and (name := one.named(names))]  # type: ignore[arg-type]
        assert len(found) == len(set(found))


PATTERNS = {
    Level.SWITCH: r"SAI_BUFFER_POOL_STAT_[A-Z_]+_BYTES",
    Level.PORT: r"SAI_PORT_STAT_[A-Z_]+",
    Level.PFC: r"SAI_PORT_STAT_PFC_\{c\}_[A-Z_]+",
    Level.QUEUE: r"SAI_QUEUE_STAT_[A-Z_]+",
    Level.GROUP: r"SAI_INGRESS_PRIORITY_GROUP_STAT_[A-Z_]+",
}


def test_names_belong_to_the_object_that_the_counter_is_of() -> None:
    for one in MEANINGS:
        assert not one.sai or one.level in PATTERNS
        assert not one.sai or re.fullmatch(PATTERNS[one.level], one.sai)
        assert not one.if_mib or re.fullmatch(
            r"if(HC)?(In|Out)(Octets|UcastPkts|Discards|Errors)", one.if_mib
        )
        assert one.level in (Level.PFC, Level.QUEUE, Level.GROUP) or "{c}" not in one.ethtool


def test_names_that_engineers_look_for() -> None:
    """As in SAI's headers and mlx5's sources."""
    found = {
        key: (meaning_of(key).named("sai", 3), meaning_of(key).named("ethtool", 3))
        for key in (
            "port1.in_octets",
            "port1.c3.pfc_rx",
            "port1.c3.ecn_marked",
            "tx_timeouts",
            "rx_ecn_marked",
        )
    }
    assert found == {
        "port1.in_octets": ("SAI_PORT_STAT_IF_IN_OCTETS", "rx_bytes_phy"),
        "port1.c3.pfc_rx": ("SAI_PORT_STAT_PFC_3_RX_PKTS", "rx_prio3_pause"),
        "port1.c3.ecn_marked": ("SAI_QUEUE_STAT_WRED_ECN_MARKED_PACKETS", ""),
        "tx_timeouts": ("", "local_ack_timeout_err"),
        "rx_ecn_marked": ("", "np_ecn_marked_roce_packets"),
    }


def test_documentation_has_the_same_names(repository: Path) -> None:
    def quoted(name: str) -> str:
        return f"`{name}`" if name else ""

    text = (repository / "docs" / "counters.md").read_text(encoding="utf-8")
    names = text.partition("## Names")[2].partition("## In a result")[0]
    rows = [line for line in names.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{one.name}` | {one.unit} | {one.what}{f'; {one.differs}' if one.differs else ''} | "
        f"{quoted(one.sai)} | {quoted(one.if_mib)} | {quoted(one.ethtool)} |"
        for level in Level
        for one in MEANINGS
        if one.level is level
    ]


def test_place_of_a_key() -> None:
    assert place_of("port12.c3.pfc_rx") == (Place(12, 3), "pfc_rx")
    assert place_of("c3.pfc_rx") == (Place(0, 3), "pfc_rx"), "a NIC's port"
    assert place_of("tx_octets") == (Place(), "tx_octets")
    with pytest.raises(ValueError, match="no name of a counter"):
        place_of("port1.c9.x y")


@pytest.mark.parametrize("text", ["l1", "l1-eth3", "l1-eth3.c3", "gpu-eth-eth0", "rail-1"])
def test_places_are_read_as_they_are_written(text: str) -> None:
    node, place = parse_place(text)
    assert place.at(node) == text


def test_rows_come_by_node_port_and_class_without_zeros() -> None:
    rows = rows_of(COUNTERS, Selection())
    assert [row.place.at(row.node) for row in rows] == [
        *("c2", "c2", "c10", "c10-eth0.c3", "l1", "l1-eth1", "l1-eth2.c3", "l1-eth12.c3", "l1-eth12.c3")
    ]
    assert all(row.value for row in rows)
    assert len(rows_of(COUNTERS, Selection(nonzero=False))) == len(rows) + 2


@pytest.mark.parametrize(
    ("selection", "places"),
    [
        (Selection(node="c2"), {"c2"}),
        (Selection(port="l1-eth12"), {"l1-eth12.c3"}),
        (Selection(port="12"), {"l1-eth12.c3"}),
        (Selection(node="c10", port="0"), {"c10-eth0.c3"}),
    ],
)
def test_a_selection_is_of_a_node_or_a_port(selection: Selection, places: set[str]) -> None:
    assert {row.place.at(row.node) for row in rows_of(COUNTERS, selection)} == places


@pytest.mark.parametrize(
    ("selection", "text"),
    [
        (Selection(node="l2"), "unknown node 'l2'"),
        (Selection(port="7"), "unknown port '7'"),
        (Selection(port="l1"), "'l1' is no port"),
        (Selection(node="c2", port="l1-eth1"), "not of node c2"),
    ],
)
def test_a_selection_of_what_is_not_there_is_refused(selection: Selection, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        rows_of(COUNTERS, selection)


def test_text_says_a_place_once_and_durations_in_microseconds() -> None:
    text = counters_text(rows_of(COUNTERS, Selection(node="l1")), "own")
    assert text.splitlines()[0].split() == ["l1", "buffer_watermark_bytes", "2,048", "bytes"]
    assert re.search(r"^l1-eth12\.c3 +pause_rx_ps +2\.500 µs\n +out_octets +77 octets", text, re.MULTILINE)


def test_text_in_other_names_leaves_out_what_has_none() -> None:
    text = counters_text(rows_of(COUNTERS, Selection()), "if-mib")
    assert [line.split()[-3] for line in text.splitlines()] == [
        "ifHCOutOctets",
        "ifHCOutOctets",
        "ifHCInOctets",
    ]


def test_json_has_the_unit_of_the_name() -> None:
    rows = rows_of(COUNTERS, Selection(port="12"))
    own = counters_json(rows, "own", result="r")["counters"][0]
    sai = counters_json(rows, "sai", result="r")["counters"][0]
    assert (own["counter"], own["value"], own["unit"]) == ("pause_rx_ps", 2_500_000, "ps")
    assert (sai["counter"], sai["value"], sai["unit"]) == (
        "SAI_PORT_STAT_PFC_3_RX_PAUSE_DURATION_US",
        2.5,
        "us",
    )


def test_prometheus_text_is_read_back_by_its_own_parser() -> None:
    text = prometheus_text(rows_of(COUNTERS, Selection(nonzero=False)), experiment='a "b"')
    families = {family.name: family for family in text_string_to_metric_families(text)}
    octets = families["tnic_port_in_octets"]
    assert (octets.type, octets.documentation) == (
        "counter",
        "received, from Ethernet header to FCS (octets)",
    )
    (sample,) = octets.samples
    assert sample.name == "tnic_port_in_octets_total"
    assert sample.labels == {"experiment": 'a "b"', "cell": "load", "node": "l1", "port": "l1-eth1"}
    assert sample.value == 10_000_000_000
    assert families["tnic_switch_buffer_watermark_bytes"].type == "gauge"
    (paused,) = families["tnic_port_pause_rx_seconds"].samples
    assert (paused.labels["priority"], paused.value) == ("3", 2.5e-6)
    assert {one.labels["node"]: one.value for one in families["tnic_nic_tx_cnps"].samples} == {
        "c10": 0,
        "c2": 5,
    }
    assert families["tnic_priority_group_watermark_bytes"].samples[0].labels["priority_group"] == "3"
    assert "# HELP tnic_port_in_octets_total" in text
    assert "# TYPE tnic_port_in_octets_total counter" in text


def test_metric_names_differ_and_are_legal() -> None:
    names = [metric_name(one) for one in MEANINGS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"tnic_[a-z_]+", name) for name in names)


# ---------------------------------------------------------------------------------------------------- over time


def fed(interval_ps: int, until_ps: int, steps: list[tuple[int, int]]) -> CounterSampler:
    """A sampler of one counter, which at each step has the value of the step where something last happened."""
    sampler = CounterSampler(interval_ps, until_ps)
    for first, until in steps:
        sampler.take(
            first, until, lambda first=first: {"l1": {"port1.in_octets": first, "port1.reordered": 9}}
        )
    return sampler


def test_samples_stand_at_every_interval_also_where_nothing_happened() -> None:
    table = fed(10, 1000, [(1, 2), (2, 5), (5, 6)]).table()
    assert table.time_ps.tolist() == [0, 10, 20, 30, 40, 50]
    assert table.values.tolist() == [[0, 1, 2, 2, 2, 5]]
    assert table.counters == (("l1", "port1.in_octets"),), "what is not sampled stays out"


def test_interval_doubles_where_a_cell_takes_much_longer() -> None:
    sampler = fed(10, 1000, [(step, step + 1) for step in range(1, 700)])
    table = sampler.table()
    assert sampler.interval_ps == table.interval_ps == 40
    assert table.time_ps.tolist() == list(range(0, 7000, 40))
    assert table.values[0].tolist() == list(range(0, 700, 4))


def test_a_long_silence_is_filled_with_few_samples() -> None:
    table = fed(10, 1000, [(1, 2), (2, 10**9), (10**9, 10**9 + 1)]).table()
    assert len(table.time_ps) <= 200
    assert set(table.values[0].tolist()) <= {0, 2, 10**9}
    assert set(np.diff(table.time_ps)) == {table.interval_ps}


def test_counters_that_appear_later_were_zero_before() -> None:
    sampler = CounterSampler(10, 1000)
    sampler.take(1, 2, lambda: {"l1": {"port1.in_octets": 5}})
    sampler.take(2, 3, lambda: {"l1": {"port1.in_octets": 6}, "c1": {"c3.pfc_rx": 1}})
    assert sampler.table().values.tolist() == [[0, 5, 6], [0, 0, 1]]


def series(key: str, values: list[int], step_ps: int = 1_000_000) -> Series:
    return Series(
        node="l1",
        place=place_of(key)[0],
        meaning=meaning_of(key),
        time_ps=np.arange(len(values)) * step_ps,
        value=np.array(values, np.int64),
    )


def test_rate_of_octets_is_in_bits_of_counts_per_second_of_gauges_the_level() -> None:
    octets = series("port1.in_octets", [0, 50_000, 50_000])
    assert (octets.unit, octets.per_interval().tolist()) == ("bit/s", [400e9, 0])
    assert series("port1.in_frames", [0, 3]).unit == "packets/s"
    assert series("port1.in_frames", [0, 3]).per_interval().tolist() == [3e6]
    assert series("port1.queue_bytes", [0, 2048]).per_interval().tolist() == [2048]
    assert series("port1.in_octets", [0, 10**12]).per_interval()[0] == pytest.approx(8e18), "no overflow"
    assert series_text(octets).splitlines()[1].split() == ["1.000", "50,000", "400.000"]


def test_series_are_read_back_as_written(tmp_path: Path) -> None:
    sampler = CounterSampler(10, 1000)
    sampler.take(
        1, 3, lambda: {"l1": {"port1.in_octets": 5, "port1.c3.queue_bytes": 7, "buffer_used_bytes": 2}}
    )
    write_series(tmp_path, "load", sampler.table())
    (octets,) = read_series(tmp_path, "load", "l1", Place(1))
    assert (octets.meaning, octets.time_ps.tolist()) == (meaning_of("port1.in_octets"), [0, 10, 20])
    assert octets.value.tolist() == [0, 5, 5]
    (queue,) = read_series(tmp_path, "load", "l1", Place(1, 3))
    assert (queue.meaning.level, queue.value.tolist()) == (Level.QUEUE, [0, 7, 7])
    (buffer,) = read_series(tmp_path, "load", "l1", Place())
    assert buffer.meaning.name == "buffer_used_bytes"
    assert read_series(tmp_path, "load", "l2", Place()) == []


def test_parquet_schema_is_the_documented_one(tmp_path: Path, repository: Path) -> None:
    write_series(tmp_path, "load", fed(10, 1000, [(1, 2)]).table())
    table = pq.read_table(series_path(tmp_path, "load"))
    documented = re.findall(
        r"^\| `(\w+)` \| (int|dictionary)", (repository / "docs" / "counters.md").read_text(), re.MULTILINE
    )
    assert [(name, kind) for name, kind in documented] == [
        (field.name, str(field.type).partition("<")[0].rstrip("0123456789")) for field in table.schema
    ]
    assert table.schema.metadata[b"sample_interval_ps"] == b"10"
    assert table.schema.metadata[b"units"] == b"in_octets: octets"
    assert {field.name for field in table.schema if table[field.name].null_count} == {"queue"}


def test_a_result_without_series_says_how_to_have_them(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no counters over time") as caught:
        read_series(tmp_path, "load", "l1", Place(1))
    assert "sample_interval" in caught.value.remedy


def test_an_unknown_counter_still_has_a_place() -> None:
    assert meaning_of("port1.new_thing") == Meaning(Level.PORT, "new_thing", "events", "")
    assert meaning_of("port1.c1.new_thing").level is Level.QUEUE
