"""A link between a leaf and a spine fails for 400 us: what does each kind of failure cost, and what saves from it?

Without carrier, switches with fast failover go around the link as soon as they know (10 us); else the rules of the
controller follow 100 us later, and 5 us for each entry that changes. Silent losses, wrong bits and a slow link leave
the carrier as it is, and nobody reacts. The times are shorter than those of most control planes (docs/failures.md), so
that one run on real frames sees the fabric before, meanwhile and after.
"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024
WHEN = "@100us-500us"

EXPERIMENT = Experiment(
    name="link_failure",
    question="What does a failing link cost, by kind of failure, with and without fast failover?",
    topology="leaf_spine",
    topology_parameters={"spines": 2, "leaves": 4, "cards": 16, "rate": "400Gbps"},
    switch="tomahawk5",
    control_settings={
        "detection": "10us",
        "control_latency": "100us",
        "rule_install": "5us",
        "link_up": "10us",
    },
    variants=(
        Variant(name="none"),
        Variant(name="failover", failures=(f"l1<>s1{WHEN}:down",), control_settings={"failover": "on"}),
        Variant(name="controller", failures=(f"l1<>s1{WHEN}:down",)),
        Variant(name="silent", failures=(f"l1<>s1{WHEN}:loss=100%",)),
        Variant(name="silent-one-way", failures=(f"l1>s1{WHEN}:loss=100%",)),
        Variant(name="corruption", failures=(f"l1<>s1{WHEN}:ber=1e-6",)),
        Variant(name="slow", failures=(f"l1<>s1{WHEN}:rate=100Gbps",)),
    ),
    nics=("transparent", "rdma"),
    sizes_bytes=(4 * KIB,),
    scenarios=(Scenario(name="load", kind="poisson", load_permille=50),),
    records=100_000,
    emulated_records=105_000,
)
