"""The NIC profiles: that each is whole, and that the documentation says what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nic_emulator import NICS
from nic_emulator.profile import PLACES
from nic_emulator.settings import PARSERS
from nic_emulator.setup import NicSetup, configured, setting_keys
from testbed.report.nic import nic_text, one_way_ps
from testbed.units import WIRE_OVERHEAD_BYTES, format_time

# share of the wire's time that is payload, frames of 64 B at least, 20 B of preamble and gap
WIRE_EFFICIENCY = {
    ("rdma", ""): {64: 0.40, 256: 0.72, 1024: 0.91, 4096: 0.98},
    ("uec", ""): {64: 0.34, 256: 0.68, 1024: 0.89, 4096: 0.97},
    ("sue", "standard"): {64: 0.46, 256: 0.78, 1024: 0.93, 4096: 0.98},
    ("transparent", ""): {64: 0.58, 256: 0.85, 1024: 0.96, 4096: 0.99},
    ("sue", "compressed"): {64: 0.64, 256: 0.88, 1024: 0.97, 4096: 0.99},
}


def by_default(nic: str) -> NicSetup:
    return configured(NICS.get(nic), {})


def table_rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("| ---"):
            yield [cell.strip() for cell in line.split("|")]


@pytest.mark.parametrize(("nic", "header"), WIRE_EFFICIENCY)
def test_headers_give_the_published_wire_efficiency(nic: str, header: str) -> None:
    settings: dict[str, int | str] = {"header": header, "mtu": "4KiB"} if header else {}
    first_bytes = configured(NICS.get(nic), settings).profile.first_header_bytes.number
    for size_bytes, share in WIRE_EFFICIENCY[nic, header].items():
        frame_bytes = max(64, size_bytes + first_bytes)
        assert round(size_bytes / (frame_bytes + WIRE_OVERHEAD_BYTES), 2) == share


def test_flits_give_the_published_efficiency_of_ualink() -> None:
    framing = by_default("ualink").profile.framing
    assert framing is not None
    unit, header = framing.unit.number, framing.unit_header.number
    share = unit / (unit + header) * framing.flit_payload.number / framing.flit.number
    assert share == pytest.approx(0.93, abs=0.01)


@pytest.mark.parametrize("nic", NICS.names())
def test_profile_has_stages_at_both_ends_that_a_host_runs_only_where_it_initiates(nic: str) -> None:
    setup = by_default(nic)
    assert {stage.place for stage in setup.profile.stages} >= {"post", "send", "ingress", "receive", "notify"}
    assert {stage.place for stage in setup.profile.stages} <= set(PLACES)
    assert any(stage.software for stage in setup.profile.stages) == (setup.profile.initiator == "host")


@pytest.mark.parametrize("nic", NICS.names())
def test_text_of_a_nic_names_every_setting_and_fits(nic: str) -> None:
    profile, setup = NICS.get(nic), by_default(nic)
    text = nic_text(profile, setup, 80)
    assert all(key in text.partition("\nsettings\n")[2] for key in setting_keys(profile))
    assert [line for line in text.splitlines() if len(line) > 80 and "://" not in line] == []


def test_documentation_has_a_row_for_every_nic_with_what_it_is(repository: Path) -> None:
    text = (repository / "docs" / "nics.md").read_text(encoding="utf-8")
    rows = {cells[1].strip("`"): cells for cells in table_rows(text) if len(cells) == 10}
    assert set(NICS.names()) <= set(rows)
    for name in NICS.names():
        setup = by_default(name)
        profile = setup.profile
        _, _, initiator, one_way, header, reliability, congestion, ops, verified, _ = rows[name]
        assert (initiator, reliability) == (profile.initiator, profile.reliability)
        assert one_way == format_time(one_way_ps(setup))
        bytes_text = f"{profile.first_header_bytes.number} B" if profile.framing is None else "in flits"
        assert header == bytes_text
        assert (congestion, ops) == (profile.congestion or "none", ", ".join(profile.ops))
        line = next(
            line for line in nic_text(NICS.get(name), setup, 200).splitlines() if "not verified" in line
        )
        unverified, total = int(line.split()[0]), int(line.split()[2])
        assert verified == f"{total - unverified} of {total}"
        assert f"## `{name}`" in text


def test_documentation_lists_every_setting_with_the_nics_that_have_it(repository: Path) -> None:
    text = (repository / "docs" / "nics.md").read_text(encoding="utf-8")
    rows = {
        cells[1].strip("`"): cells[3]
        for cells in table_rows(text.partition("## Settings")[2].partition("## The card")[0])
    }
    every = dict.fromkeys(key for name in NICS.names() for key in setting_keys(NICS.get(name)))
    assert set(every) | set(PARSERS) <= set(rows)
    for key in every:
        having = [name for name in NICS.names() if key in setting_keys(NICS.get(name))]
        if len(having) == len(NICS.names()):
            assert rows[key].startswith("all"), key
        else:
            assert [name for name in NICS.names() if name in rows[key]] == having, key
