"""Lost frames: what does each NIC's recovery make of a loss, from one in a million to one in a hundred?

Every link loses frames of all kinds, acknowledgements included, at random. Links do not retry by themselves, which they
do in products with sue and ualink: `--set switch.llr=on` shows all of them so. 10 % load leaves room to send again;
what differs is how soon a loss is noticed (NACK, probe, time-out) and how much is sent twice (selective, go-back-N). A
message has four packets of 4 KiB, of sue eight of 2 KiB.
"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024
LOSSES = {"1e-6": "1ppm", "1e-5": "10ppm", "1e-4": "100ppm", "1e-3": "1000ppm", "1e-2": "1%"}

EXPERIMENT = Experiment(
    name="loss_recovery",
    question="How much of its tail does each NIC lose to lost frames, and from which loss rate on?",
    topology="single_switch",
    topology_parameters={"cards": 8, "rate": "400Gbps"},
    switch="tomahawk_ultra",
    variants=(
        Variant(name="none"),
        *(Variant(name=name, topology_parameters={"faults": f"*<>*:{ppm}"}) for name, ppm in LOSSES.items()),
    ),
    nics=("transparent", "rdma", "kernel", "uec", "sue", "ualink"),
    sizes_bytes=(16 * KIB,),
    scenarios=(Scenario(name="load", kind="poisson", load_permille=100),),
    records=300_000,
    emulated_records=12_600,
)
