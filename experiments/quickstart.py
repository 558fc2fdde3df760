"""Tail latency through a leaf-spine fabric: a transparent NIC beside host-initiated RDMA."""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario

KIB = 1024

EXPERIMENT = Experiment(
    name="quickstart",
    question="What tail latency does a card-to-card put see, idle, under load and under incast, "
    "and how much of it is host software?",
    topology="leaf_spine",
    topology_parameters={"spines": 2, "leaves": 4, "cards": 16, "rate": "400Gbps", "length": "3m"},
    switch="tomahawk5",
    nics=("transparent", "rdma"),
    sizes_bytes=(4 * KIB, 64 * KIB),
    scenarios=(
        Scenario(name="idle", kind="idle"),
        Scenario(name="load", kind="poisson", load_permille=600),
        Scenario(name="incast", kind="incast", fan_in=8, load_permille=500),
    ),
    records=1_000_000,
    emulated_records=104_000,
)
