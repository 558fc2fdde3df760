"""Two switches and one trunk: the textbook bottleneck."""

from __future__ import annotations

import sys
from pathlib import Path

# `mn --custom` executes this file with neither its name nor the repository on the path.
if __name__ == "builtins":
    sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from testbed.spec.fabric import Fabric
from topologies._build import MAX_ENDPOINTS, Reader, Wiring, fabric, single_cards, tier_of
from topologies._mininet import mininet_factory


def build(
    left: int = 4,
    right: int = 4,
    *,
    rate: str = "400Gbps",
    medium: str = "dac",
    length: str = "3m",
    lanes: int | str = "auto",
    fec: str = "auto",
    ber: str = "auto",
    trunks: int = 1,
    trunk_rate: str = "400Gbps",
    trunk_medium: str = "dr",
    trunk_length: str = "10m",
    trunk_lanes: int | str = "auto",
    trunk_fec: str = "auto",
    trunk_ber: str = "auto",
    faults: str = "none",
    reorder: str = "0",
    reorder_delay: str = "auto",
    duplicate: str = "0",
) -> Fabric:
    """Two groups of cards, each on its switch, joined by a trunk that they share."""
    reader = Reader()
    lefts, rights = reader.count("left", left), reader.count("right", right)
    reader.limit("left + right", lefts + rights, MAX_ENDPOINTS)
    cable = reader.cable(medium, length, reader.rate("rate", rate), lanes, fec, ber)
    parallel = reader.count("trunks", trunks, high=1_000)
    trunk = reader.cable(
        trunk_medium,
        trunk_length,
        reader.rate("trunk_rate", trunk_rate),
        trunk_lanes,
        trunk_fec,
        trunk_ber,
        prefix="trunk_",
    )
    broken = reader.impairments(faults, reorder, reorder_delay, duplicate)
    parameters = reader.done()

    endpoints = single_cards(lefts + rights)
    wiring = Wiring(endpoints)
    for index, endpoint in enumerate(endpoints):
        wiring.join(endpoint.name, "l1" if index < lefts else "l2", cable)
    wiring.join("l1", "l2", trunk, times=parallel)
    return fabric("dumbbell", parameters, endpoints, tier_of("l", 2, 0), wiring, broken)


topos = {"dumbbell": mininet_factory(build)}
