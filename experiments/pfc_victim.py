"""PFC: does pausing an incast instead of dropping its frames stop a flow that goes elsewhere?"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024
SMALL = {"buffer": "1MB"}  # a partition of the chip's, so that four senders can fill it

EXPERIMENT = Experiment(
    name="pfc_victim",
    question="What does an incast to one card cost a flow to its neighbour that shares only the way there, "
    "with and without PFC?",
    topology="dumbbell",
    topology_parameters={"left": 2, "right": 5, "rate": "400Gbps", "trunks": 1, "trunk_rate": "800Gbps"},
    switch="tomahawk5",
    variants=(
        Variant(name="lossless", switch_settings={**SMALL, "lossless": "3"}),
        Variant(name="lossy", switch_settings={**SMALL, "lossless": "none"}),
        Variant(name="lossy-large-buffer", switch_settings={"lossless": "none"}),
    ),
    nics=("transparent",),
    sizes_bytes=(16 * KIB,),
    scenarios=(
        Scenario(name="calm", kind="victim", fan_in=4, load_permille=300),
        Scenario(name="crowded", kind="victim", fan_in=4, load_permille=900),
        Scenario(name="flood", kind="victim", fan_in=4),
    ),
    records=400_000,
    emulated_records=4_000,
)
