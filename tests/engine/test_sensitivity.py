"""Sensitivity against closed forms: what a stage's latency adds is known, and so is where an answer flips."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from nic_emulator import NICS
from testbed.analysis.sensitivity import Response, Sensitivity
from testbed.run.progress import NullProgress
from testbed.run.sensitivity import find, study_of
from testbed.spec.experiment import Experiment, Scenario, Variant

IDLE = Experiment(
    name="closed-form",
    question="What does a stage's latency do to an idle fabric?",
    topology="single_switch",
    topology_parameters={"cards": 4},
    switch="tomahawk5",
    nics=("transparent",),
    sizes_bytes=(64,),
    scenarios=(Scenario(name="idle", kind="idle"),),
    records=200,
    emulated_records=0,
)
SWITCHES = replace(
    IDLE,
    switch="spectrum3",
    variants=(
        Variant(name="slower", switch_settings={"pipeline_latency": "600ns"}),
        Variant(name="assumed"),
    ),
)


@cache
def explored(experiment: Experiment, only: str) -> Sensitivity:
    return find(study_of(experiment, only=only, quantile_ppm=500_000), NullProgress())


def response(found: Sensitivity, path: str) -> Response:
    return next(one for one in found.groups[0].responses if one.path.startswith(path))


@pytest.mark.parametrize(
    ("path", "times"),
    [
        ("transparent.send.card_read.latency", 1),
        ("transparent.notify.flag.latency", 1),
        ("transparent.ingress.mac_rx.latency", 1),
        ("transparent.send.nic_pcie.latency", 2),
        ("transparent.send.pcie_switch.latency", 2),
        ("transparent.send.nic_pipeline.latency", 2),
    ],
)
def test_swing_of_an_idle_fabric_is_the_range_of_the_latency_times_its_places(path: str, times: int) -> None:
    found = explored(IDLE, "latency")
    one = response(found, path)
    parameter = found.parameters[one.parameter]
    assert len(parameter.path.split(", ")) == times
    assert one.swing_ps == times * (parameter.high - parameter.low)
    base_ps = found.groups[0].quantity_ps
    assert one.low.quantity_ps == base_ps - times * (parameter.base - parameter.low)
    assert one.high.quantity_ps == base_ps + times * (parameter.high - parameter.base)


def test_parameter_of_what_never_happens_changes_nothing() -> None:
    found = explored(IDLE, "retr")
    assert set(found.unmoved) == {"transparent.retransmission_timeout", "transparent.retry_limit"}
    assert all(one.swing_ps == 0 for one in found.groups[0].responses)


def test_answer_flips_where_the_pipelines_are_as_long_as_each_other() -> None:
    found = explored(SWITCHES, "spectrum3.pipeline_latency")
    (group,), (parameter,) = found.groups, found.parameters
    assert (group.best, group.rival, group.quantity_ps) == ("assumed", "slower", 100_000)
    (flip,) = group.responses[0].flips
    assert flip.best == "slower"
    assert flip.before <= 600_000 < flip.at
    assert flip.at - flip.before <= (parameter.high - parameter.low) // 100


def test_answer_does_not_flip_where_the_range_ends_before() -> None:
    far = replace(
        SWITCHES,
        variants=(
            replace(SWITCHES.variants[0], switch_settings={"pipeline_latency": "626ns"}),
            SWITCHES.variants[1],
        ),
    )
    (group,) = explored(far, "spectrum3.pipeline_latency").groups
    assert group.responses[0].high.quantity_ps == 1_000
    assert not group.flipping


def test_value_that_the_engine_refuses_is_a_failure_with_its_reason() -> None:
    nic = NICS.get("transparent")
    short = replace(nic, first_header_bytes=replace(nic.first_header_bytes, range=(13, 52)))
    with NICS.substituted({"transparent": short}):
        found = explored(IDLE, "transparent.first_header_bytes")
    (one,) = found.groups[0].responses
    assert "headers" in one.low.failure
    assert one.low.quantity_ps is None
    assert one.high.quantity_ps is not None
    assert one.high.quantity_ps > found.groups[0].quantity_ps


def test_two_studies_of_the_same_seed_are_equal() -> None:
    study = study_of(IDLE, only="mac_*", quantile_ppm=500_000)
    assert find(study, NullProgress()) == find(study, NullProgress())


def test_plans_that_do_not_change_are_run_once() -> None:
    both = replace(IDLE, nics=("transparent", "rdma"))
    found = find(study_of(both, only="card_read", quantile_ppm=500_000), NullProgress())
    assert found.runs == 2 + 2  # both NICs as they are, one of them at two ends


def test_value_that_no_field_of_the_engine_takes_is_a_failure_in_plain_words() -> None:
    nic = NICS.get("transparent")
    huge = replace(nic, retry_limit=replace(nic.retry_limit, range=(1, 2**70)))
    with NICS.substituted({"transparent": huge}):
        found = find(study_of(IDLE, only="retry_limit", quantile_ppm=500_000), NullProgress())
    (one,) = found.groups[0].responses
    assert "does not fit" in one.high.failure
    assert one.low.quantity_ps == found.groups[0].quantity_ps
