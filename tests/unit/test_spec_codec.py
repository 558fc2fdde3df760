from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.errors import SpecError
from testbed.spec.codec import SCHEMA_VERSION, from_dict, to_dict
from testbed.spec.experiment import Experiment, Scenario, Variant
from testbed.spec.fabric import Fabric
from topologies import TOPOLOGIES, build_fabric

NAMES = st.sampled_from(["a", "b9", "long_name_"])
SCENARIOS = st.builds(
    Scenario,
    name=NAMES,
    kind=st.sampled_from(["idle", "poisson", "incast", "victim", "permutation", "pingpong"]),
    load_permille=st.integers(0, 1000),
    fan_in=st.integers(0, 100),
    records=st.integers(0, 10**9),
    op=st.sampled_from(["put", "put_signal", "send", "get"]),
    batch=st.integers(1, 100),
)
AGENTS = st.sampled_from(["", "stopped", "starved", "killed"])
PARAMETERS = st.dictionaries(NAMES, st.integers() | st.text(max_size=4), max_size=2)
FAILURES = st.lists(st.sampled_from(["l1<>s1@1us-2us:down", "c3@1us:process"]), max_size=2).map(tuple)
VARIANTS = st.builds(
    Variant,
    name=NAMES,
    switch=st.just("") | NAMES,
    switch_settings=PARAMETERS,
    nic_settings=PARAMETERS,
    host_agents=AGENTS,
    topology_parameters=PARAMETERS,
    control_settings=PARAMETERS,
    failures=FAILURES,
)
EXPERIMENTS = st.builds(
    Experiment,
    name=NAMES,
    question=st.text(min_size=1, max_size=4),
    topology=NAMES,
    topology_parameters=PARAMETERS,
    switch=NAMES,
    switch_settings=PARAMETERS,
    nic_settings=PARAMETERS,
    host_agents=AGENTS,
    failures=FAILURES,
    control_settings=PARAMETERS,
    controller=st.sampled_from(["", "ryu", "app.py"]),
    variants=st.lists(VARIANTS, max_size=2).map(tuple),
    nics=st.lists(NAMES, min_size=1, max_size=3).map(tuple),
    sizes_bytes=st.lists(st.integers(1, 2**30), min_size=1, max_size=3).map(tuple),
    scenarios=st.lists(SCENARIOS, min_size=1, max_size=2).map(tuple),
    records=st.integers(1, 10**9),
    emulated_records=st.integers(0, 10**9),
    seed=st.integers(0, 2**64 - 1),
    snap_bytes=st.none() | st.integers(0, 9000),
)
GOOD = to_dict(
    Experiment(
        name="x",
        question="?",
        topology="leaf_spine",
        switch="tomahawk5",
        nics=("rdma",),
        sizes_bytes=(64,),
        scenarios=(Scenario(name="idle", kind="idle"),),
        records=1,
        emulated_records=0,
    )
)


@settings(max_examples=40)
@given(EXPERIMENTS)
def test_codec_any_experiment_comes_back_through_json(experiment: Experiment) -> None:
    assert from_dict(Experiment, json.loads(json.dumps(to_dict(experiment)))) == experiment


@pytest.mark.parametrize("name", TOPOLOGIES.names())
def test_codec_every_topology_comes_back_through_json(name: str) -> None:
    fabric = build_fabric(name, {})

    assert from_dict(Fabric, json.loads(json.dumps(to_dict(fabric)))) == fabric


def test_codec_writes_its_version_once_and_first() -> None:
    assert next(iter(GOOD.items())) == ("schema_version", SCHEMA_VERSION)
    assert "schema_version" not in GOOD["scenarios"][0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 1),
        ("variants", ()),
        ("switch_settings", {}),
        ("nic_settings", {}),
        ("host_agents", ""),
        ("failures", ()),
        ("control_settings", {}),
        ("controller", ""),
    ],
)
def test_codec_field_with_default_may_be_absent(name: str, value: object) -> None:
    stored = {key: stored for key, stored in GOOD.items() if key != name}

    assert getattr(from_dict(Experiment, stored), name) == value


def test_codec_variant_of_before_there_were_failures_is_read() -> None:
    (variant,) = from_dict(Experiment, GOOD | {"variants": [{"name": "a", "switch": "ideal"}]}).variants
    assert (variant.failures, dict(variant.control_settings)) == ((), {})


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"failures": [7]}, "failures[0]"),
        ({"recrods": 1}, "recrods"),
        ({"records": "many"}, "records"),
        ({"records": True}, "records"),
        ({"records": 1.5}, "records"),
        ({"snap_bytes": "all"}, "snap_bytes"),
        ({"nics": "rdma"}, "nics"),
        ({"sizes_bytes": [64, "big"]}, "sizes_bytes[1]"),
        ({"scenarios": [{"name": "a", "kind": "bursty"}]}, "scenarios[0].kind"),
        ({"scenarios": [{"kind": "idle"}]}, "scenarios[0].name"),
        ({"scenarios": [7]}, "scenarios[0]"),
        ({"topology_parameters": [1]}, "topology_parameters"),
        ({"switch_settings": {"alpha_log2": 1.5}}, "switch_settings.alpha_log2"),
        ({"variants": [{"switch": "ideal"}]}, "variants[0].name"),
        ({"variants": [{"name": "a", "swich": "ideal"}]}, "variants[0].swich"),
        ({"topology_parameters": {"k": None}}, "topology_parameters.k"),
    ],
)
def test_codec_bad_field_is_named(change: dict[str, Any], path: str) -> None:
    with pytest.raises(SpecError) as caught:
        from_dict(Experiment, GOOD | change)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_codec_missing_and_unknown_fields_are_named_together() -> None:
    stored = {key: value for key, value in GOOD.items() if key not in ("switch", "records")} | {"swich": "x"}
    with pytest.raises(SpecError) as caught:
        from_dict(Experiment, stored)
    assert {problem.path for problem in caught.value.problems} == {"swich", "switch", "records"}
    assert "did you mean 'switch'?" in str(caught.value)


@pytest.mark.parametrize("version", [None, 0, 2, "1", True])
def test_codec_other_version_is_refused(version: object) -> None:
    with pytest.raises(SpecError, match="schema_version"):
        from_dict(Experiment, GOOD | {"schema_version": version})


def test_codec_unsound_fabric_is_refused_with_its_path() -> None:
    stored = to_dict(build_fabric("single_switch", {"cards": 2}))
    stored["links"][0]["rate_bps"] = 7
    with pytest.raises(SpecError) as caught:
        from_dict(Fabric, stored)
    assert caught.value.problems[0].path == "links[0].rate_bps"
