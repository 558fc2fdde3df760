"""Dynamic thresholds: how much of a shared buffer may one queue take before an incast stops losing frames?"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024
ALPHAS = ("alpha-1-32", "alpha-1-16", "alpha-1-8", "alpha-1-4", "alpha-1-2", "alpha-1", "alpha-2", "alpha-4")

EXPERIMENT = Experiment(
    name="buffer_alpha_sweep",
    question="From which alpha on does an incast lose no more frames, and does evenly spread load care?",
    topology="single_switch",
    topology_parameters={"cards": 16, "rate": "400Gbps"},
    switch="tomahawk5",
    switch_settings={"buffer": "8MB"},  # a partition of the chip's, so that 15 senders can fill it
    variants=tuple(
        Variant(name=name, switch_settings={"alpha_log2": -5 + step}) for step, name in enumerate(ALPHAS)
    ),
    nics=("transparent",),
    sizes_bytes=(64 * KIB,),
    scenarios=(
        Scenario(name="incast", kind="incast", fan_in=15, load_permille=500, records=250_000),
        Scenario(name="load", kind="poisson", load_permille=600),
    ),
    records=100_000,
    emulated_records=3_000,
)
