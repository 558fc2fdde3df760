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
    lanes: int | str = "auto",
    fec: str = "auto",
    ber: str = "auto",
    uplink_rate: str = "auto",
    uplink_links: int = 0,
    uplink_medium: str = "dr",
    uplink_length: str = "10m",
    uplink_lanes: int | str = "auto",
    uplink_fec: str = "auto",
    uplink_ber: str = "auto",
    oversubscription: int = 1,
    faults: str = "none",
    reorder: str = "0",
    reorder_delay: str = "auto",
    duplicate: str = "0",
) -> Fabric:
    """Leaves with an equal share of the cards, every leaf joined to every spine; non-blocking by default."""
    reader = Reader()
    tops, lows = reader.count("spines", spines), reader.count("leaves", leaves)
    number = reader.count("cards", cards)
    cable = reader.cable(medium, length, reader.rate("rate", rate), lanes, fec, ber)
    per_leaf = _cards_a_leaf(reader, number, lows)
    up = reader.uplinks(
        down_bps=per_leaf * cable.rate_bps,
        switches=tops,
        rate=uplink_rate,
        per_switch=uplink_links,
        oversubscription=oversubscription,
        prefix="uplink_",
    )
    uplink = reader.cable(
        uplink_medium, uplink_length, up.rate_bps, uplink_lanes, uplink_fec, uplink_ber, prefix="uplink_"
    )
    reader.limit("cards", number, MAX_ENDPOINTS)
    reader.limit("spines x leaves x uplink_links", tops * lows * up.per_switch, MAX_LINKS)
    broken = reader.impairments(faults, reorder, reorder_delay, duplicate)
    parameters = reader.done()

    endpoints, bottom, top = single_cards(number), tier_of("l", lows, 0), tier_of("s", tops, 1)
    wiring = Wiring(endpoints)
    for index, endpoint in enumerate(endpoints):
        wiring.join(endpoint.name, bottom[index // per_leaf].name, cable)
    wiring.mesh(bottom, top, uplink, times=up.per_switch)
    return fabric("leaf_spine", parameters, endpoints, bottom + top, wiring, broken)


def _cards_a_leaf(reader: Reader, cards: int, leaves: int) -> int:
    """The equal share of a leaf."""
    if cards % leaves:
        below = cards - cards % leaves
        reader.refuse(
            "cards",
            f"{cards} cards do not divide over {leaves} leaves",
            f"use {max(below, leaves)} or {below + leaves}",
        )
    return max(cards // leaves, 1)


topos = {"leaf_spine": mininet_factory(build)}
