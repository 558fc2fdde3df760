"""Path choice: what does spraying packets gain over hashing flows, and what does a bad hash cost?"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024

EXPERIMENT = Experiment(
    name="spray_vs_ecmp",
    question="Which way to choose among equal paths gives the shortest tail, in a permutation and under random load?",
    topology="fat_tree",
    topology_parameters={"k": 4, "rate": "400Gbps"},
    switch="tomahawk5",
    variants=(
        Variant(name="hash", switch_settings={"paths": "hash"}),
        Variant(name="polarised", switch_settings={"paths": "hash", "hash_seed": "same"}),
        Variant(name="flowlet", switch_settings={"paths": "flowlet:500ns"}),
        Variant(name="least-loaded", switch_settings={"paths": "least_loaded:500ns"}),
        Variant(name="spray", switch_settings={"paths": "spray"}),
    ),
    nics=("transparent",),
    sizes_bytes=(64 * KIB,),
    scenarios=(
        Scenario(name="permutation", kind="permutation", records=400_000),
        Scenario(name="load", kind="poisson", load_permille=400),
    ),
    records=60_000,
    emulated_records=3_000,
)
