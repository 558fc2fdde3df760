"""The profiles themselves: sound, sourced, and with the ports that the products have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from testbed.errors import SpecError
from testbed.report.switch import switch_text
from testbed.spec.sourced import Sourced
from testbed.switches import SWITCHES
from testbed.switches.headroom import formula_headroom, published_headroom
from testbed.switches.profile import CLASSES, NO_THRESHOLD
from testbed.switches.settings import PARSERS
from testbed.units import byte_time_ps, format_time, parse_length, parse_rate

GBPS = 10**9
PRODUCTS = [name for name in SWITCHES.names() if name not in ("ideal", "linux_bridge")]


def numbers_of(value: object) -> Iterator[Sourced]:
    """Every sourced number below a value."""
    if isinstance(value, Sourced):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from numbers_of(item)
    elif is_dataclass(value):
        for one in fields(value):
            yield from numbers_of(getattr(value, one.name))


@pytest.mark.parametrize("name", SWITCHES.names())
def test_switch_profile_is_sound(name: str) -> None:
    profile = SWITCHES.get(name)
    buffer, pfc = profile.buffer, profile.pfc

    assert profile.name == name
    assert SWITCHES.describe(name) == profile.description
    assert all(byte_time_ps(rate) for rate in profile.port_rates_bps)
    assert list(profile.port_rates_bps) == sorted(profile.port_rates_bps, reverse=True)
    assert profile.pipeline_latency.number >= 0
    assert buffer.pool.number > 1000 * buffer.cell.number
    assert buffer.reserved.number % buffer.cell.number == 0
    assert buffer.headroom_pool.number < buffer.pool.number
    assert buffer.ingress_alpha_log2.number in range(-16, 17) or (
        buffer.ingress_alpha_log2.number == NO_THRESHOLD
    )
    assert [entry.rate_bps for entry in pfc.response] == sorted(entry.rate_bps for entry in pfc.response)
    assert {entry.rate_bps for entry in pfc.response} >= set(profile.port_rates_bps)
    assert {entry.rate_bps for entry in pfc.shipped} <= set(profile.port_rates_bps)
    assert profile.ecn.kmin.number <= profile.ecn.kmax.number
    assert len(profile.scheduling.weights.value) == CLASSES  # type: ignore[arg-type]
    assert (profile.model == "voq") == (profile.voq is not None)
    assert profile.paths.flowlet_entries.number.bit_count() == 1


@pytest.mark.parametrize("name", SWITCHES.names())
def test_switch_number_says_where_it_is_from(name: str) -> None:
    numbers = list(numbers_of(SWITCHES.get(name)))
    assert len(numbers) > 40
    assert all(len(number.source) > 15 for number in numbers)


@pytest.mark.parametrize("name", SWITCHES.names())
def test_switch_feature_is_there_or_not(name: str) -> None:
    assert {number.number for number in numbers_of(SWITCHES.get(name).features)} <= {0, 1}


@pytest.mark.parametrize("name", PRODUCTS)
def test_switch_product_has_all_its_ports_at_the_fastest_rate_and_no_more(name: str) -> None:
    profile = SWITCHES.get(name)
    fastest = profile.port_rates_bps[0]

    profile.check_ports([fastest] * profile.ports.number)
    assert profile.ports.number * fastest == profile.capacity.number
    with pytest.raises(SpecError, match=rf"{profile.ports.number + 1} ports of .* in all, {name} has"):
        profile.check_ports([fastest] * (profile.ports.number + 1))


@pytest.mark.parametrize(
    ("name", "ports", "gbps"),
    [
        ("tomahawk5", 64, 800),
        ("tomahawk5", 128, 400),
        ("tomahawk5", 256, 200),
        ("tomahawk6", 64, 1600),
        ("tomahawk6", 512, 200),
    ],
)
def test_switch_port_count_by_rate(name: str, ports: int, gbps: int) -> None:
    profile = SWITCHES.get(name)

    profile.check_ports([gbps * GBPS] * ports)
    with pytest.raises(SpecError):
        profile.check_ports([gbps * GBPS] * (ports + 1))


def test_tomahawk5_slow_ports_are_limited_by_number() -> None:
    with pytest.raises(SpecError, match="257 ports, tomahawk5 has 256 at most"):
        SWITCHES.get("tomahawk5").check_ports([100 * GBPS] * 257)


def test_switch_unknown_rate_suggests_the_nearest() -> None:
    with pytest.raises(SpecError, match="no ports of 320Gbps") as caught:
        SWITCHES.get("spectrum4").check_ports([320 * GBPS])
    assert "400Gbps" in caught.value.remedy


@pytest.mark.parametrize("name", ["ideal", "linux_bridge"])
def test_switch_that_is_no_product_takes_any_rate(name: str) -> None:
    SWITCHES.get(name).check_ports([320 * GBPS] * 1000)


@pytest.mark.parametrize("name", SWITCHES.names())
def test_switch_text_fits_a_narrow_terminal_but_for_addresses(name: str) -> None:
    lines = switch_text(SWITCHES.get(name), 80).splitlines()
    assert [line for line in lines if len(line) > 80 and "://" not in line] == []


def test_documentation_has_a_row_for_every_switch_with_its_latency_and_cell(repository: Path) -> None:
    text = (repository / "docs" / "switches.md").read_text(encoding="utf-8")
    rows = {cells[1].strip("`"): cells for cells in table_rows(text) if len(cells) == 9}
    assert set(SWITCHES.names()) <= set(rows)
    for name in SWITCHES.names():
        profile, (_, _, _, latency, buffer, cell, *_) = SWITCHES.get(name), rows[name]
        pool = profile.buffer.pool
        assert latency == f"{format_time(profile.pipeline_latency.number)} ({profile.pipeline_latency.mark})"
        assert buffer == f"{pool.number / 1e6:,.1f} MB ({pool.mark})"
        assert cell == str(profile.buffer.cell.number)
        verified = re.search(
            r"^(\d+) of (\d+) numbers are not verified", switch_text(profile, 100), re.MULTILINE
        )
        assert verified is not None
        unverified, total = map(int, verified.groups())
        assert rows[name][7] == f"{total - unverified} of {total}"


def test_documentation_lists_every_setting(repository: Path) -> None:
    text = (repository / "docs" / "switches.md").read_text(encoding="utf-8")
    settings = text.partition("## Settings")[2].partition("## PFC headroom")[0]
    keys = [cells[1].strip("`") for cells in table_rows(settings)][2:]
    assert keys == list(PARSERS)


def test_documentation_of_headroom_is_what_the_formula_gives(repository: Path) -> None:
    text = (repository / "docs" / "switches.md").read_text(encoding="utf-8")
    section = text.partition("### Against what ships")[2]
    rows = [cells for cells in table_rows(section) if cells[1].startswith("`")]
    assert len(rows) > 10
    for _, name, port, formula, ships, difference, _ in rows:
        rate, length = (part.strip() for part in port.split(","))
        rate_bps, length_mm = parse_rate(f"{rate}bps"), parse_length(length)
        profile = SWITCHES.get(name.strip("`"))
        found = formula_headroom(
            profile.pfc, rate_bps=rate_bps, length_mm=length_mm, cell_bytes=profile.buffer.cell.number
        )
        published = published_headroom(profile, rate_bps, length_mm)
        assert published is not None
        assert (formula, ships) == (f"{found:,}", f"{published.number:,}")
        assert difference == f"{100 * found / published.number - 100:+.1f} %"


def table_rows(text: str) -> list[list[str]]:
    """The cells of every line of a table, the empty ones outside included."""
    return [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("|")]
