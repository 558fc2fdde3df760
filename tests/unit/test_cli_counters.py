"""`./tb counters` on the result of a small run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import Result

from testbed.errors import SpecError
from testbed.run.execute import execute
from testbed.run.progress import NullProgress
from testbed.spec.experiment import Experiment, Scenario
from testbed.spec.overrides import apply_overrides
from testbed.units import PS_PER_S
from tests.unit.test_json_documentation import documented, paths

Tb = Callable[..., Result]

EXPERIMENT = Experiment(
    name="counted",
    question="What is counted?",
    topology="single_switch",
    topology_parameters={"cards": 4},
    switch="tomahawk5",
    nics=("transparent",),
    sizes_bytes=(16_384,),
    scenarios=(
        Scenario(name="load", kind="poisson", load_permille=500),
        Scenario(name="incast", kind="incast", fan_in=3, load_permille=800),
    ),
    records=300,
    emulated_records=0,
)
MTU_BYTES = 4200
LOAD, INCAST = "load-16KiB-transparent", "incast-16KiB-transparent"


@pytest.fixture(scope="module")
def fast() -> Iterator[pytest.MonkeyPatch]:
    """Figures, and processes that start, take longer than the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("testbed.run.assemble.write_figures", lambda *_: [])
        patch.setattr("testbed.run.assemble.write_cell_figures", lambda *_: [])
        patch.setattr("testbed.run.workers.worker_count", lambda _: 1)
        yield patch


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, fast: pytest.MonkeyPatch) -> Path:
    out = tmp_path_factory.mktemp("results")
    return execute(EXPERIMENT, engine="twin", out=out, progress=NullProgress()).directory


def test_text_shows_the_cell_with_the_longest_tail(tb: Tb, result: Path) -> None:
    text = tb("counters", str(result)).stdout
    assert text.splitlines()[0] == INCAST
    assert "in_octets" in text
    assert " 0 " not in text


def test_names_of_sai(tb: Tb, result: Path) -> None:
    text = tb("counters", str(result), LOAD, "--names", "sai").stdout
    assert "SAI_PORT_STAT_IF_IN_UCAST_PKTS" in text
    assert "SAI_QUEUE_STAT_WATERMARK_BYTES" in text
    assert "in_unicast_packets" not in text


def test_json_has_all_cells_and_zeros_when_asked(tb: Tb, repository: Path, result: Path) -> None:
    found = json.loads(tb("counters", str(result), "--format", "json", "--all").stdout)
    assert {one["cell"] for one in found["counters"]} == {LOAD, INCAST}
    assert any(one["value"] == 0 for one in found["counters"])
    assert set(paths(found)) == documented(repository)["counters RESULT"]
    saved = json.loads((result / "counters.json").read_text(encoding="utf-8"))
    assert len(found["counters"]) == sum(
        len(of_node) for of_cell in saved.values() for of_node in of_cell.values()
    )


def test_prometheus_text_holds_every_port(tb: Tb, result: Path) -> None:
    text = tb("counters", str(result), "--format", "prometheus").stdout
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = families["tnic_port_in_octets"].samples
    assert {one.labels["experiment"] for one in samples} == {"counted"}
    assert len(samples) == 2 * 4


def test_series_of_a_port_adds_up(tb: Tb, repository: Path, result: Path) -> None:
    port = json.loads(tb("counters", str(result), LOAD, "--format", "json", "--port", "1").stdout)[
        "counters"
    ][0]
    place = f"{port['node']}-eth1"
    found = json.loads(
        tb("counters", str(result), LOAD, "--series", place, "in_octets", "--format", "json").stdout
    )
    assert set(paths(found)) == documented(repository)["counters RESULT --series PLACE COUNTER"]
    samples = found["samples"]
    assert 180 <= len(samples) <= 400
    steps = {after["time_ps"] - before["time_ps"] for before, after in pairwise(samples)}
    assert len(steps) == 1
    interval_s = steps.pop() / PS_PER_S
    bits = [(one["rate"] or 0) * interval_s for one in samples]
    assert sum(bits) == pytest.approx(8 * samples[-1]["value"])
    # A frame counts whole, when it begins.
    assert max(bits) <= 400e9 * interval_s + 8 * MTU_BYTES
    assert 0 < samples[-1]["value"] <= port["value"]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot_writes_a_figure(tb: Tb, result: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rate{suffix}"
    done = tb("counters", str(result), LOAD, "--series", "c1", "tx_octets", "--plot", str(path))
    assert done.exit_code == 0, done.stderr
    assert path.stat().st_size > 5_000
    assert "Gb/s" in done.stdout


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("nothing",), "unknown cell 'nothing'"),
        (("--node", "zz"), "unknown node 'zz'"),
        (("--port", "99"), "unknown port '99'"),
        (("--plot", "x.png"), "--plot draws one counter"),
        (("--series", "c1", "tx_octet"), "did you mean 'tx_octets'"),
        (("--series", "zz-eth1", "in_octets"), "unknown node 'zz'"),
        (("--series", "c1-eth7", "in_octets"), "nothing was counted at c1-eth7"),
        (("--series", "c1", "tx_octets", "--plot", "x.pdf"), "not a .png or .svg file"),
        (("--series", "c1", "tx_octets", "--plot", "/nowhere/else/x.png"), "cannot be written"),
        (("--series", "c1", "tx_octets", "--node", "c1"), "--series names one counter"),
        (("--series", "c1", "tx_octets", "--format", "prometheus"), "takes no past samples"),
        (("--format", "prometheus", "--names", "sai"), "has names of its own"),
    ],
)
def test_bad_input_exits_2_with_a_remedy(tb: Tb, result: Path, options: tuple[str, ...], text: str) -> None:
    done = tb("counters", str(result), *options)
    assert done.exit_code == 2
    assert text in done.stderr
    assert "remedy: " in done.stderr


def test_a_missing_result_exits_2(tb: Tb, tmp_path: Path) -> None:
    done = tb("counters", str(tmp_path / "none"))
    assert done.exit_code == 2
    assert "no result at" in done.stderr


@pytest.mark.parametrize("interval", ["off", "100ns"])
def test_sampling_changes_no_record_and_can_be_switched_off(
    result: Path, tmp_path: Path, fast: pytest.MonkeyPatch, interval: str
) -> None:
    experiment = apply_overrides(EXPERIMENT, [f"sample_interval={interval}"])
    other = execute(experiment, engine="twin", out=tmp_path, progress=NullProgress())
    saved = json.loads((result / "summary.json").read_text(encoding="utf-8"))
    assert other.summary.records_digest == saved["records_digest"]
    assert (other.directory / "series").exists() == (interval != "off")
    if interval == "off":
        assert (other.directory / "counters.json").read_text() == (result / "counters.json").read_text()


def test_an_interval_that_makes_too_many_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="more than 100,000 samples of cell"):
        execute(
            replace(EXPERIMENT, sample_interval_ps=1), engine="twin", out=tmp_path, progress=NullProgress()
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "interval_ps"), [("1us", 1_000_000), ("off", 0), ("auto", None)])
def test_sample_interval_is_a_time_off_or_auto(text: str, interval_ps: int | None) -> None:
    assert apply_overrides(EXPERIMENT, [f"sample_interval={text}"]).sample_interval_ps == interval_ps
