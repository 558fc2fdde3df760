"""Cables: what do a medium and its length add to the latency of a put, idle and under load?"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024
CABLES = (("dac", "2m"), ("aec", "5m"), ("aoc", "30m"), ("dr", "100m"))

EXPERIMENT = Experiment(
    name="cable_choice",
    question="What does the choice of cable cost a card-to-card put, and does the tail feel it?",
    topology="single_switch",
    topology_parameters={"cards": 8, "rate": "400Gbps"},
    switch="tomahawk5",
    variants=tuple(
        Variant(name=f"{medium}-{length}", topology_parameters={"medium": medium, "length": length})
        for medium, length in CABLES
    ),
    nics=("transparent",),
    sizes_bytes=(4 * KIB,),
    scenarios=(
        Scenario(name="idle", kind="idle", records=20_000),
        Scenario(name="load", kind="poisson", load_permille=600),
    ),
    records=200_000,
    emulated_records=8_000,
)
