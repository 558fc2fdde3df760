"""The round trip across an idle fabric, by hand."""

from __future__ import annotations

from nic_emulator import NICS
from nic_emulator.setup import configured as configured_nic
from testbed.run.round_trip import round_trip_ps
from testbed.switches import SWITCHES
from testbed.switches.setup import configured as configured_switch
from topologies import build_fabric

LINK_PS = 77_753  # 3 m of copper at 400G
BYTE_PS = 20
FULL, ANSWER = 102 + 4_096, 90
STAGES_PS = 500_000 + 72_000 + 200_000 + 200_000 + 50_000 + 200_000  # PCIe, NIC; NIC, answer, NIC


def of(topology: str, switch: str, **parameters: int | str) -> int:
    return round_trip_ps(
        build_fabric(topology, parameters),
        configured_switch(SWITCHES.get(switch), {}),
        configured_nic(NICS.get("uec"), {}),
    )


def test_round_trip_over_one_switch_is_the_sum_of_its_parts() -> None:
    frames_ps = (FULL + 8 + ANSWER + 8) * BYTE_PS
    assert of("single_switch", "ideal", cards=4) == STAGES_PS + 4 * LINK_PS + frames_ps
    assert of("single_switch", "tomahawk5", cards=4) == STAGES_PS + 4 * LINK_PS + frames_ps + 1_200_000


def test_round_trip_is_that_of_the_longest_way() -> None:
    near, far = of("single_switch", "tomahawk5", cards=4), of("leaf_spine", "tomahawk5")
    assert far > near + 4 * 600_000  # two switches more, each way
