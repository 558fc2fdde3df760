"""A rack of accelerator servers: 8 servers of 8 cards, one 400 Gb/s NIC for every 4 cards.

Public: 8 servers a rack, 8 cards a server, one NIC for up to 4 cards, so two NICs a server, 1 x 400 Gb/s or
2 x 200 Gb/s each (The Register, 2025-09-08, and the vendor's product pages). One secondary source shows four
NICs a server instead: use cards_per_nic=2. Which switches, how many and how they are cabled is not public:
one or two switches, the trunk between them and all cable lengths are assumed. How many of a NIC's cards send is a
setting of the NICs (nic_settings: cards=4); by default it is one.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `mn --custom` executes this file with neither its name nor the repository on the path.
if __name__ == "builtins":
    sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from testbed.spec.fabric import Endpoint, Fabric
from topologies._build import MAX_ENDPOINTS, Reader, Wiring, fabric, tier_of
from topologies._mininet import mininet_factory


def build(
    servers: int = 8,
    cards: int = 8,
    cards_per_nic: int = 4,
    switches: int = 1,
    *,
    rate: str = "400Gbps",
    medium: str = "dac",
    length: str = "2m",
    lanes: int | str = "auto",
    fec: str = "auto",
    ber: str = "auto",
    trunk_rate: str = "auto",
    trunk_links: int = 0,
    trunk_medium: str = "aec",
    trunk_length: str = "2m",
    trunk_lanes: int | str = "auto",
    trunk_fec: str = "auto",
    trunk_ber: str = "auto",
    oversubscription: int = 1,
    faults: str = "none",
    reorder: str = "0",
    reorder_delay: str = "auto",
    duplicate: str = "0",
) -> Fabric:
    """A rack of servers whose cards share NICs, on one switch or dealt out over two."""
    reader = Reader()
    boxes, per_box = reader.count("servers", servers), reader.count("cards", cards, high=64)
    per_nic = reader.count("cards_per_nic", cards_per_nic, high=64)
    number = reader.count("switches", switches, high=2)
    nics = _nics_a_server(reader, per_box, per_nic, number)
    cable = reader.cable(medium, length, reader.rate("rate", rate), lanes, fec, ber)
    up = reader.uplinks(
        down_bps=boxes * -(-nics // number) * cable.rate_bps,
        switches=1,
        rate=trunk_rate,
        per_switch=trunk_links,
        oversubscription=oversubscription,
        prefix="trunk_",
    )
    trunk = reader.cable(
        trunk_medium, trunk_length, up.rate_bps, trunk_lanes, trunk_fec, trunk_ber, prefix="trunk_"
    )
    reader.limit("servers x cards / cards_per_nic", boxes * nics, MAX_ENDPOINTS)
    broken = reader.impairments(faults, reorder, reorder_delay, duplicate)
    parameters = reader.done()

    endpoints = _shared_nics(boxes, nics, per_nic)
    bottom = tier_of("l", number, 0)
    wiring = Wiring(endpoints)
    for index, endpoint in enumerate(endpoints):
        wiring.join(endpoint.name, bottom[index % nics % number].name, cable)
    if number == 2:
        wiring.join("l1", "l2", trunk, times=up.per_switch)
    return fabric("squadrack", parameters, endpoints, bottom, wiring, broken)


def _nics_a_server(reader: Reader, cards: int, per_nic: int, switches: int) -> int:
    """How many NICs a server has: enough for its cards, and at least one for each switch."""
    if cards % per_nic:
        reader.refuse(
            "cards_per_nic", f"{cards} cards a server do not divide by {per_nic}", f"use a divisor of {cards}"
        )
    nics = max(cards // per_nic, 1)
    if switches > nics:
        reader.refuse("switches", f"{switches} switches for {nics} NIC a server", f"use {nics}")
    return nics


def _shared_nics(servers: int, nics: int, cards: int) -> tuple[Endpoint, ...]:
    """Every NIC of every server, each with its cards."""
    return tuple(
        Endpoint(name=f"c{server * nics + nic + 1}", server=f"h{server + 1}", cards=cards)
        for server in range(servers)
        for nic in range(nics)
    )


topos = {"squadrack": mininet_factory(build)}
