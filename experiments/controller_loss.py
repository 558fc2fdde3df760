"""The controller is lost for 500 us: what does the fabric lose, by that alone and when a link fails meanwhile?

The switches go on with the rules that they have. Fast failover alone leaves a link that fails meanwhile; without it the
controller's rules come when it is back, after its usual latency. Its return by itself disturbs nothing.
"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024
LOST = "controller@100us-600us:lost"
DOWN = "l1<>s1@200us-1ms:down"

EXPERIMENT = Experiment(
    name="controller_loss",
    question="What does the loss of the controller cost, by itself and with a link that fails meanwhile?",
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
        Variant(name="lost", failures=(LOST,)),
        Variant(name="link-down", failures=(DOWN,)),
        Variant(name="link-down-lost", failures=(LOST, DOWN)),
        Variant(name="failover-lost", failures=(LOST, DOWN), control_settings={"failover": "on"}),
    ),
    nics=("transparent",),
    sizes_bytes=(4 * KIB,),
    scenarios=(Scenario(name="load", kind="poisson", load_permille=50),),
    records=100_000,
    emulated_records=75_000,
)
