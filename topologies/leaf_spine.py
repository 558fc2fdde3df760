"""Two tiers, every leaf joined to every spine: the common data-centre fabric."""

from __future__ import annotations

import sys
from pathlib import Path

# `mn --custom` executes this file with neither its name nor the repository on the path.
if __name__ == "builtins":
    sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from testbed.spec.fabric import Fabric
from topologies._build import MAX_ENDPOINTS, MAX_LINKS, Reader, Wiring, fabric, single_cards, tier_of
from topologies._mininet import mininet_factory


def build(
    spines: int = 2,
    leaves: int = 4,
    cards: int = 16,
    *,
    rate: str = "400Gbps",
    medium: str = "dac",
    length: str = "3m",
    uplink_rate: str = "auto",
    uplink_links: int = 0,
    uplink_medium: str = "dr",
    uplink_length: str = "10m",
    oversubscription: int = 1,
) -> Fabric:
    """Leaves with an equal share of the cards, every leaf joined to every spine; non-blocking by default."""
    reader = Reader()
    tops, lows = reader.count("spines", spines), reader.count("leaves", leaves)
    number = reader.count("cards", cards)
    if number % lows:
        below = number - number % lows
        reader.refuse(
            "cards",
            f"{number} cards do not divide over {lows} leaves",
            f"use {max(below, lows)} or {below + lows}",
        )
    cable = reader.cable(medium, length, reader.rate("rate", rate))
    per_leaf = max(number // lows, 1)
    up = reader.uplinks(
        down_bps=per_leaf * cable.rate_bps,
        switches=tops,
        rate=uplink_rate,
        per_switch=uplink_links,
        oversubscription=oversubscription,
        prefix="uplink_",
    )
    uplink = reader.cable(uplink_medium, uplink_length, up.rate_bps, prefix="uplink_")
    reader.limit("cards", number, MAX_ENDPOINTS)
    reader.limit("spines x leaves x uplink_links", tops * lows * up.per_switch, MAX_LINKS)
    parameters = reader.done()

    endpoints, bottom, top = single_cards(number), tier_of("l", lows, 0), tier_of("s", tops, 1)
    wiring = Wiring(endpoints)
    for index, endpoint in enumerate(endpoints):
        wiring.join(endpoint.name, bottom[index // per_leaf].name, cable)
    for leaf in bottom:
        for spine in top:
            wiring.join(leaf.name, spine.name, uplink, times=up.per_switch)
    return fabric("leaf_spine", parameters, endpoints, bottom + top, wiring)


topos = {"leaf_spine": mininet_factory(build)}
