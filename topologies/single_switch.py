"""All cards on one switch: what a hop costs, and what incast does to one egress port."""

from __future__ import annotations

import sys
from pathlib import Path

# `mn --custom` executes this file with neither its name nor the repository on the path.
if __name__ == "builtins":
    sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from testbed.spec.fabric import Fabric
from topologies._build import Reader, Wiring, fabric, single_cards, tier_of
from topologies._mininet import mininet_factory


def build(
    cards: int = 8,
    *,
    rate: str = "400Gbps",
    medium: str = "dac",
    length: str = "3m",
    lanes: int | str = "auto",
    fec: str = "auto",
    ber: str = "auto",
    faults: str = "none",
    reorder: str = "0",
    reorder_delay: str = "auto",
    duplicate: str = "0",
) -> Fabric:
    """Cards around one switch; the smallest fabric with a hop in it."""
    reader = Reader()
    number = reader.count("cards", cards)
    cable = reader.cable(medium, length, reader.rate("rate", rate), lanes, fec, ber)
    broken = reader.impairments(faults, reorder, reorder_delay, duplicate)
    parameters = reader.done()

    endpoints = single_cards(number)
    wiring = Wiring(endpoints)
    for endpoint in endpoints:
        wiring.join(endpoint.name, "l1", cable)
    return fabric("single_switch", parameters, endpoints, tier_of("l", 1, 0), wiring, broken)


topos = {"single_switch": mininet_factory(build)}
