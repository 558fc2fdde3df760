"""A link that goes down and up again, five times: does it help to react?

Every 130 us it is dark for 5 us, which no port notices (detection takes 10 us), or for 20 us. The controller's reaction
takes longer than that: its rules leave the link when it is up again, and come back to it before it is down.
"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024
SHORT = ("l1<>s1@100us-105us/130us*5:down",)
LONG = ("l1<>s1@100us-120us/130us*5:down",)

EXPERIMENT = Experiment(
    name="flapping_link",
    question="What does a flapping link cost, when it is not noticed, with a controller that follows, "
    "and with fast failover?",
    topology="leaf_spine",
    topology_parameters={"spines": 2, "leaves": 4, "cards": 16, "rate": "400Gbps"},
    switch="tomahawk5",
    control_settings={
        "detection": "10us",
        "control_latency": "50us",
        "rule_install": "1us",
        "link_up": "10us",
    },
    variants=(
        Variant(name="none"),
        Variant(name="not-noticed", failures=SHORT),
        Variant(name="controller", failures=LONG),
        Variant(name="slow-controller", failures=LONG, control_settings={"control_latency": "1ms"}),
        Variant(name="failover", failures=LONG, control_settings={"failover": "on"}),
    ),
    nics=("transparent", "rdma"),
    sizes_bytes=(4 * KIB,),
    scenarios=(Scenario(name="load", kind="poisson", load_permille=50),),
    records=100_000,
    emulated_records=80_000,
)
