"""The public 2 us, read both ways: what is left of them for a fabric, by switch and by how many switches a put passes?

JetStream's "two microseconds" are not said to span what. Back to back: card memory to card memory over one cable. One
switch: the same with a switch of 600 ns and a second cable, so that the NICs themselves are faster. Either is an input
(nic setting `reading`): it fixes what the NICs take, and the fabric's part is what is measured, idle, with 64 B.
"""

from __future__ import annotations

from testbed.spec.experiment import Experiment, Scenario, Variant
from testbed.spec.parameters import ParameterValue
from testbed.units import PS_PER_US

SWITCHES = (
    *("tomahawk_ultra", "teralynx10", "tomahawk5", "spectrum4", "tomahawk6"),
    *("trident4", "tomahawk4", "falcon", "jericho2c_plus"),
)
DEPTHS: dict[int, tuple[str, dict[str, ParameterValue]]] = {
    1: ("single_switch", {"cards": 2}),
    3: ("leaf_spine", {"spines": 1, "leaves": 2, "cards": 4, "uplink_rate": "400Gbps", "uplink_links": 1}),
    5: ("fat_tree", {"k": 4}),
}
READINGS = {"back_to_back": ("b2b", "back to back"), "one_switch": ("1sw", "with a switch")}

EXPERIMENT = Experiment(
    name="reach_of_two_microseconds",
    question="If 2 us are to be made from card to card, what is left for the fabric, under both readings of them?",
    topology="single_switch",
    switch="ideal",
    variants=tuple(
        Variant(
            name=f"{switch}-{depth}-{short}",
            row=switch,
            column=f"2 us {words}, {depth} switch{'es' * (depth > 1)}",
            switch=switch,
            topology=topology,
            topology_parameters={**parameters, "rate": "400Gbps"},
            nic_settings={"reading": reading},
        )
        for reading, (short, words) in READINGS.items()
        for depth, (topology, parameters) in DEPTHS.items()
        for switch in SWITCHES
    ),
    nics=("transparent",),
    sizes_bytes=(64,),
    scenarios=(Scenario(name="idle", kind="pingpong"),),
    records=1_000,
    emulated_records=5_400,
    budget_ps=2 * PS_PER_US,
)
