"""Six NICs in front of the same cards, on the same fabric and switch, under the same messages: only the NIC differs.

Each has what it is used with. Lossless classes (PFC) for those that need them, 2 to 5: all but kernel, whose class 1
may lose. ECN from 800 KB on, as published for DCQCN at 400 Gb/s: rdma answers with DCQCN, kernel with DCTCP, uec with
NSCC and other paths; transparent, sue and ualink have credits alone. One switch, because ualink knows no other fabric;
classes take turns, as virtual channels of sue expect. Payload of rdma, uec and kernel comes by PCIe, that of sue and
ualink from inside the accelerator; of transparent the public 2 us are an input (`--set nic.transparent.reading=...`).
Those are differences of the products, and of what is assumed of them. Loads count payload; headers come on top.
"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario

KIB = 1024

EXPERIMENT = Experiment(
    name="nic_shootout",
    question="Which NIC gives a card-to-card put the shortest tail, at which size and load, with all else the same?",
    topology="single_switch",
    topology_parameters={"cards": 8, "rate": "400Gbps"},
    switch="tomahawk_ultra",
    switch_settings={
        "lossless": "2,3,4,5",
        "ecn": "800KB:3200KB:20%",
        "scheduling": "dwrr:1,1,1,1,1,1,strict,strict",
    },
    nics=("transparent", "rdma", "kernel", "uec", "sue", "ualink"),
    nic_settings={"rdma.congestion": "dcqcn"},
    sizes_bytes=(64, 512, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB),
    scenarios=(
        Scenario(name="idle", kind="idle"),
        Scenario(name="moderate", kind="poisson", load_permille=100),
        Scenario(name="high", kind="poisson", load_permille=700),
    ),
    records=100_000,
    most_bytes=16 << 30,
    emulated_records=6_300,
)
