"""The same workload through every commodity switch: what does the product alone change?"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024
SWITCHES = (
    *("ideal", "tomahawk4", "tomahawk5", "tomahawk6", "tomahawk_ultra", "trident4", "jericho2c_plus"),
    *("spectrum3", "spectrum4", "teralynx10", "falcon", "linux_bridge"),
)
REFERENCES = ("ideal", "linux_bridge")

EXPERIMENT = Experiment(
    name="switch_shootout",
    question="Which commodity switch gives a card-to-card put the shortest tail, idle, under load and under "
    "incast, with everything else the same?",
    topology="leaf_spine",
    topology_parameters={
        "spines": 2,
        "leaves": 4,
        "cards": 16,
        "rate": "400Gbps",
        "uplink_rate": "400Gbps",
        "uplink_links": 1,
    },
    switch="ideal",
    variants=tuple(Variant(name=name, switch=name, reference=name in REFERENCES) for name in SWITCHES),
    nics=("transparent",),
    sizes_bytes=(16 * KIB,),
    scenarios=(
        Scenario(name="idle", kind="idle", records=20_000),
        Scenario(name="load", kind="poisson", load_permille=400),
        Scenario(name="incast", kind="incast", fan_in=8, load_permille=500),
    ),
    records=250_000,
    emulated_records=4_000,
)
