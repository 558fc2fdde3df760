"""Planes apart: what a busy, stopped or dead host costs messages, with a transparent NIC and with RDMA.

Two kinds of disturbance. The host agents, control processes of all cards, are stopped, starved of processor time or
killed in mid-run: on real frames, so run it without `--engine twin`. And the modelled host software of `rdma`, which
posts and polls each message, meets stalls of its core: none, as fitted to a published tail (x1), and more often. With
initiator=device a card posts to the same RDMA NIC by itself. Only what posts differs; fabric and messages are the same.
"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024
DEVICE, HOST = ("transparent",), ("rdma",)

EXPERIMENT = Experiment(
    name="host_stall",
    question="Does the tail of a put depend on what happens to the hosts, with a transparent NIC and with RDMA?",
    topology="single_switch",
    topology_parameters={"cards": 8, "rate": "400Gbps"},
    switch="tomahawk5",
    variants=(
        Variant(name="undisturbed", nics=DEVICE),
        Variant(name="agents-stopped", nics=DEVICE, host_agents="stopped"),
        Variant(name="agents-starved", nics=DEVICE, host_agents="starved"),
        Variant(name="agents-killed", nics=DEVICE, host_agents="killed"),
        Variant(name="card-posts", nics=HOST, nic_settings={"rdma.initiator": "device"}),
        Variant(name="no-stalls", nics=HOST, nic_settings={"rdma.host_stalls": "off"}),
        Variant(name="stalls-x1", nics=HOST),
        Variant(name="stalls-x10", nics=HOST, nic_settings={"rdma.host_stalls": "x10"}),
        Variant(name="stalls-x100", nics=HOST, nic_settings={"rdma.host_stalls": "x100"}),
    ),
    nics=("transparent", "rdma"),
    sizes_bytes=(16 * KIB,),
    scenarios=(
        Scenario(name="idle", kind="idle", records=200_000),
        Scenario(name="load", kind="poisson", load_permille=100),
    ),
    records=1_000_000,
    emulated_records=36_000,
)
