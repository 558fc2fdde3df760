"""ECN: where must marking begin so that NICs that react to it slow down before pauses stop others?

Four cards flood one card over a trunk that another flow shares, in a small buffer with PFC: as in pfc_victim, whose
lossless case `off` is. rdma reacts to marks with DCQCN, whose rates fall within microseconds and rise in hundreds of
them; uec with NSCC, a window that shrinks with marks and delay; transparent has credits and does not react.
"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant

KIB = 1024
CURVES = {
    "off": "off",
    "step-30k": "step:30KB",
    "step-100k": "step:100KB",
    "ramp-30k-120k": "30KB:120KB:20%",
    "ramp-100k-400k": "100KB:400KB:20%",
}

EXPERIMENT = Experiment(
    name="ecn_threshold_sweep",
    question="From which ECN threshold on does a NIC that reacts keep an incast from stopping a flow beside it?",
    topology="dumbbell",
    topology_parameters={"left": 2, "right": 5, "rate": "400Gbps", "trunks": 1, "trunk_rate": "800Gbps"},
    switch="tomahawk5",
    switch_settings={"buffer": "1MB", "lossless": "3"},
    variants=tuple(Variant(name=name, switch_settings={"ecn": curve}) for name, curve in CURVES.items()),
    nics=("transparent", "rdma", "uec"),
    nic_settings={"rdma.congestion": "dcqcn"},
    sizes_bytes=(16 * KIB,),
    scenarios=(Scenario(name="flood", kind="victim", fan_in=4),),
    records=400_000,
    emulated_records=4_000,
)
