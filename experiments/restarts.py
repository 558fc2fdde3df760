"""Something restarts: a spine, a leaf, a card with its NIC, or the process that stands in for the NIC.

A switch loses the frames in its buffer and is dark for 200 us; the rest of the fabric goes around a spine, but cards
of a leaf have no other way, and the controller takes back the rules for them: they come some time after the leaf. A NIC
loses the packets that are in it, and all that come before it is back, which are sent again. A process is ended, and
another goes on in its place: nothing changes.
"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024
WHEN = "@100us-300us"

EXPERIMENT = Experiment(
    name="restarts",
    question="How long does the fabric feel the restart of a switch, of a card, or of a NIC's process?",
    topology="leaf_spine",
    topology_parameters={"spines": 2, "leaves": 4, "cards": 16, "rate": "400Gbps"},
    switch="tomahawk5",
    control_settings={
        "failover": "on",
        "detection": "10us",
        "control_latency": "100us",
        "rule_install": "5us",
        "link_up": "10us",
    },
    variants=(
        Variant(name="none"),
        Variant(name="spine", failures=(f"s1{WHEN}:restart",)),
        Variant(name="leaf", failures=(f"l1{WHEN}:restart",)),
        Variant(name="card", failures=(f"c3{WHEN}:restart",)),
        Variant(name="process", failures=("c3@100us:process",)),
    ),
    nics=("transparent",),
    sizes_bytes=(4 * KIB,),
    scenarios=(Scenario(name="load", kind="poisson", load_permille=50),),
    records=100_000,
    emulated_records=40_000,
)
