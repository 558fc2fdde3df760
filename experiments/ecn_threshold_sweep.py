"""ECN: where must marking begin so that a congested queue is told of, and a merely busy one is not?"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024

EXPERIMENT = Experiment(
    name="ecn_threshold_sweep",
    question="How many messages does each ECN threshold mark under an incast, and how many of an even load?",
    topology="single_switch",
    topology_parameters={"cards": 16, "rate": "400Gbps"},
    switch="tomahawk5",
    variants=(
        Variant(name="step-30k", switch_settings={"ecn": "step:30KB"}),
        Variant(name="step-100k", switch_settings={"ecn": "step:100KB"}),
        Variant(name="step-300k", switch_settings={"ecn": "step:300KB"}),
        Variant(name="ramp-100k-400k", switch_settings={"ecn": "100KB:400KB:20%"}),
        Variant(name="ramp-400k-1600k", switch_settings={"ecn": "400KB:1600KB:20%"}),
    ),
    nics=("transparent",),
    sizes_bytes=(64 * KIB,),
    scenarios=(
        Scenario(name="incast", kind="incast", fan_in=8, load_permille=500),
        Scenario(name="load", kind="poisson", load_permille=600),
    ),
    records=60_000,
    emulated_records=3_000,
)
