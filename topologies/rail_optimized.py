"""One leaf per rail: card r of every server meets the others of its rank in one hop."""

from __future__ import annotations

import sys
from pathlib import Path

# `mn --custom` executes this file with neither its name nor the repository on the path.
if __name__ == "builtins":
    sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from testbed.spec.fabric import Endpoint, Fabric
from topologies._build import MAX_ENDPOINTS, MAX_LINKS, Reader, Wiring, fabric, tier_of
from topologies._mininet import mininet_factory


def build(
    servers: int = 4,
    rails: int = 4,
    spines: int = 2,
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
    """Servers of one card per rail; rail r of all servers on leaf r, the leaves joined by spines."""
    reader = Reader()
    boxes, number = reader.count("servers", servers), reader.count("rails", rails)
    tops = reader.count("spines", spines)
    cable = reader.cable(medium, length, reader.rate("rate", rate), lanes, fec, ber)
    up = reader.uplinks(
        down_bps=boxes * cable.rate_bps,
        switches=tops,
        rate=uplink_rate,
        per_switch=uplink_links,
        oversubscription=oversubscription,
        prefix="uplink_",
    )
    uplink = reader.cable(
        uplink_medium, uplink_length, up.rate_bps, uplink_lanes, uplink_fec, uplink_ber, prefix="uplink_"
    )
    reader.limit("servers x rails", boxes * number, MAX_ENDPOINTS)
    reader.limit("spines x rails x uplink_links", tops * number * up.per_switch, MAX_LINKS)
    broken = reader.impairments(faults, reorder, reorder_delay, duplicate)
    parameters = reader.done()

    endpoints = _cards(boxes, number)
    bottom, top = tier_of("l", number, 0), tier_of("s", tops, 1)
    wiring = Wiring(endpoints)
    for index, endpoint in enumerate(endpoints):
        wiring.join(endpoint.name, bottom[index % number].name, cable)
    wiring.mesh(bottom, top, uplink, times=up.per_switch)
    return fabric("rail_optimized", parameters, endpoints, bottom + top, wiring, broken)


def _cards(servers: int, rails: int) -> tuple[Endpoint, ...]:
    """One card for each rail in each server."""
    return tuple(
        Endpoint(name=f"c{server * rails + rail + 1}", server=f"h{server + 1}")
        for server in range(servers)
        for rail in range(rails)
    )


topos = {"rail_optimized": mininet_factory(build)}
