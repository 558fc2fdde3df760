"""The tail of a saved result, explained by running it again: exact, and refused where the result is another model's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from testbed.analysis.explain import Kind
from testbed.analysis.tail import ExplainedTail
from testbed.errors import SpecError
from testbed.run.cell_files import read_records, write_cell
from testbed.run.execute import execute
from testbed.run.progress import NullProgress
from testbed.run.store import LoadedResult, load_result
from testbed.run.tail import explain_tail
from testbed.spec.experiment import Experiment, Scenario

INCAST = Experiment(
    name="tails",
    question="Where does it come from?",
    topology="leaf_spine",
    topology_parameters={"leaves": 2, "spines": 2, "cards": 8},
    switch="tomahawk5",
    switch_settings={"lossless": "none"},
    nics=("transparent", "rdma"),
    sizes_bytes=(20_000,),
    scenarios=(Scenario(name="incast", kind="incast", fan_in=6, load_permille=800),),
    records=3_000,
    emulated_records=0,
)
VARIED = {
    "plenty": INCAST,
    "drops": replace(INCAST, switch_settings={"lossless": "none", "buffer": "128KB"}),
    "pauses": replace(INCAST, switch_settings={"lossless": "3", "buffer": "1MB"}),
    "slow_switch": replace(INCAST, switch_settings={"lossless": "none", "cut_through": "off"}),
    "faulty": replace(INCAST, topology_parameters={**INCAST.topology_parameters, "faults": "l1>c1:1%"}),
    "trims": replace(
        INCAST, switch="spectrum4", switch_settings={"lossless": "none", "buffer": "128KB", "trim": "64B:6"}
    ),
    "spray": replace(INCAST, nics=("transparent",), switch_settings={"lossless": "none", "paths": "spray"}),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], LoadedResult]]:
    """Results by name, each run once; their figures, which take longer than they do, are left out."""
    made: dict[str, LoadedResult] = {}

    def result(name: str) -> LoadedResult:
        if name not in made:
            out = tmp_path_factory.mktemp(name)
            outcome = execute(VARIED[name], engine="twin", out=out, progress=NullProgress())
            made[name] = load_result(outcome.directory)
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("testbed.run.assemble.write_figures", lambda *_: [])
        patch.setattr("testbed.run.assemble.write_cell_figures", lambda *_: [])
        yield result


def explained(result: LoadedResult, cell: str | None = None, slowest_ppm: int = 20_000) -> ExplainedTail:
    return explain_tail(result, cell, slowest_ppm, NullProgress())


@pytest.mark.parametrize("name", list(VARIED))
def test_tail_parts_of_every_message_add_up_to_its_latency(
    results: Callable[[str], LoadedResult], name: str
) -> None:
    result = results(name)
    for cell in result.summary.cells:
        found = explained(result, cell.id)
        assert len(found.slowest) == 60
        for one in found.slowest:
            assert sum(one.parts.values()) == one.message.latency_ps
            assert min(one.parts.values()) > 0
        assert found.tail.slowest.latency_ps >= found.tail.threshold_ps > found.tail.median.latency_ps


def test_tail_of_an_incast_is_the_queue_of_its_receiver(results: Callable[[str], LoadedResult]) -> None:
    found = explained(results("plenty"), "incast-20000B-transparent")
    worst = found.tail.places[Kind.QUEUE][0]
    assert found.network.port_name(worst.part.node, worst.part.port).endswith("→ c1")
    assert worst.share_ppm > 800_000
    assert worst.behind is not None
    assert found.network.names[worst.behind[1]] == "c1"


def test_tail_of_a_small_buffer_names_the_drops(results: Callable[[str], LoadedResult]) -> None:
    found = explained(results("drops"), "incast-20000B-transparent")
    assert found.tail.resends.dropped > 0
    assert found.tail.places[Kind.RETRANSMISSION]


def test_tail_of_a_trimming_switch_and_of_a_faulty_cable_says_so(
    results: Callable[[str], LoadedResult],
) -> None:
    trimmed, lost = (
        explained(results(name), "incast-20000B-rdma").tail.resends for name in ("trims", "faulty")
    )
    assert trimmed.trimmed > 0
    assert lost.refused > 0
    assert (lost.dropped, lost.trimmed) == (0, 0)


def test_tail_of_a_lossless_fabric_has_pauses_and_no_resends(results: Callable[[str], LoadedResult]) -> None:
    found = explained(results("pauses"), "incast-20000B-transparent")
    assert found.tail.excess_of(Kind.PAUSE).tail_ps > 0
    assert found.tail.resends.messages == 0


def test_tail_of_a_store_and_forward_switch_counts_whole_frames(
    results: Callable[[str], LoadedResult],
) -> None:
    through, stored = (
        explained(results(name), "incast-20000B-transparent").tail.median
        for name in ("plenty", "slow_switch")
    )
    of_frames = [
        group.mean_of_ps(lambda part: part.kind is Kind.SERIALISATION) for group in (through, stored)
    ]
    assert of_frames[1] > of_frames[0]


def test_tail_without_a_cell_is_of_the_one_with_the_highest_percentile(
    results: Callable[[str], LoadedResult],
) -> None:
    result = results("plenty")
    highest = max(result.summary.cells, key=lambda cell: cell.percentiles["p99.9"].value_ps or 0)
    assert explained(result).summary.id == highest.id


def test_tail_of_an_unknown_cell_names_the_nearest(results: Callable[[str], LoadedResult]) -> None:
    with pytest.raises(SpecError, match="incast-20000B-rmda") as caught:
        explained(results("plenty"), "incast-20000B-rmda")
    assert "incast-20000B-rdma" in caught.value.remedy


def test_tail_of_another_model_s_result_is_refused(
    results: Callable[[str], LoadedResult], tmp_path: Path
) -> None:
    result = results("plenty")
    records = read_records(result.directory, "incast-20000B-rdma")
    records["completed_ps"][7] += 1
    write_cell(tmp_path, "incast-20000B-rdma", records)
    with pytest.raises(SpecError, match="made by another model") as caught:
        explained(replace(result, directory=tmp_path), "incast-20000B-rdma")
    assert "run the experiment again" in caught.value.remedy


@pytest.mark.parametrize(
    "change", [{"switch": "unheard_of"}, {"schema_version": 0}, {"nics": ["transparent"]}]
)
def test_tail_of_a_spec_that_cannot_run_again_is_refused(
    results: Callable[[str], LoadedResult], change: dict[str, Any]
) -> None:
    result = results("plenty")
    other = replace(result, spec={**result.spec, **change})
    with pytest.raises(SpecError, match=r"cannot be run again|has no cell") as caught:
        explained(other, "incast-20000B-rdma")
    assert "version" in caught.value.remedy


def test_tail_verb_prints_and_draws(
    results: Callable[[str], LoadedResult], tb: Callable[..., Result], tmp_path: Path
) -> None:
    arguments = ("tail", str(results("plenty").directory), "--slowest", "2%", "--out", str(tmp_path))
    text = tb(*arguments)
    assert text.exit_code == 0, text.stderr
    assert "answer       under 6→1 incast, the slowest 2 % of" in text.stdout
    found = json.loads(tb(*arguments, "--json").stdout)
    assert [Path(path).suffix for path in found["figures"]] == [".png", ".svg"]
    assert all(Path(path).is_file() for path in found["figures"])


def test_tail_verb_share_that_is_none_is_an_error(
    results: Callable[[str], LoadedResult], tb: Callable[..., Result]
) -> None:
    found = tb("tail", str(results("plenty").directory), "--slowest", "much")
    assert found.exit_code == 2
    assert "remedy:" in found.stderr
