"""Cards that share a NIC: what do two or four cards behind one port lose against a port for each?

Sixteen cards in all, and the same load of each card, so that a NIC of four has four times the load of a NIC of one.
Poisson: to any other card, of which none, one or three are behind the same NIC. `pairs`: each card to the one beside
it, by the fabric where it has a NIC of its own, else inside the server by DMX Bridge, or by the PCIe switch alone.
"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024
LOADS = (20, 50, 100, 150, 200)  # permille of a port, for each card

EXPERIMENT = Experiment(
    name="cards_per_nic",
    question="How many cards may share a NIC before the tail of their puts grows, and what does local traffic gain?",
    topology="single_switch",
    topology_parameters={"rate": "400Gbps"},
    switch="tomahawk5",
    variants=(
        Variant(name="1-per-nic", topology_parameters={"cards": 16}),
        Variant(name="2-per-nic", topology_parameters={"cards": 8}, nic_settings={"cards": 2}),
        Variant(name="4-per-nic", topology_parameters={"cards": 4}, nic_settings={"cards": 4}),
        Variant(
            name="4-without-bridge",
            topology_parameters={"cards": 4},
            nic_settings={"cards": 4, "local": "switch"},
        ),
    ),
    nics=("transparent",),
    sizes_bytes=(16 * KIB,),
    scenarios=(
        *(
            Scenario(name=f"load-{load // 10}", kind="poisson", load_permille=load, load_of="card")
            for load in LOADS
        ),
        Scenario(name="pairs", kind="pairs", load_permille=100, load_of="card"),
    ),
    records=400_000,
    emulated_records=12_000,
)
