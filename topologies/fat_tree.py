"""Three tiers of like switches (Al-Fares et al., SIGCOMM 2008): full bisection from k-port switches."""

from __future__ import annotations

import sys
from pathlib import Path

# `mn --custom` executes this file with neither its name nor the repository on the path.
if __name__ == "builtins":
    sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from testbed.spec.fabric import Fabric
from topologies._build import MAX_ENDPOINTS, MAX_LINKS, Cable, Reader, Wiring, fabric, single_cards, tier_of
from topologies._mininet import mininet_factory


def build(
    k: int = 4,
    *,
    rate: str = "400Gbps",
    medium: str = "dac",
    length: str = "3m",
    lanes: int | str = "auto",
    fec: str = "auto",
    ber: str = "auto",
    core_medium: str = "dr",
    core_length: str = "20m",
    core_lanes: int | str = "auto",
    core_fec: str = "auto",
    core_ber: str = "auto",
    oversubscription: int = 1,
    faults: str = "none",
    reorder: str = "0",
    reorder_delay: str = "auto",
    duplicate: str = "0",
) -> Fabric:
    """k pods of k/2 edge and k/2 aggregation switches under (k/2)^2 cores: k^3/4 cards at one rate."""
    reader = Reader()
    ports = reader.count("k", k, low=2, high=128)
    if ports % 2:
        reader.refuse("k", f"{ports} is odd", f"use {ports - 1} or {ports + 1}")
    half = ports // 2
    per_edge = half * reader.count("oversubscription", oversubscription, high=1_000)
    rate_bps = reader.rate("rate", rate)
    cable = reader.cable(medium, length, rate_bps, lanes, fec, ber)
    core_cable = reader.cable(
        core_medium, core_length, rate_bps, core_lanes, core_fec, core_ber, prefix="core_"
    )
    reader.limit("cards (k^2/2 edges of k/2, times oversubscription)", ports * half * per_edge, MAX_ENDPOINTS)
    reader.limit("links between switches (k^3/2)", 2 * ports * half * half, MAX_LINKS)
    broken = reader.impairments(faults, reorder, reorder_delay, duplicate)
    parameters = reader.done()

    endpoints = single_cards(ports * half * per_edge)
    edges, aggregations = tier_of("e", ports * half, 0), tier_of("a", ports * half, 1)
    cores = tier_of("k", half * half, 2)
    wiring = Wiring(endpoints)
    for index, endpoint in enumerate(endpoints):
        wiring.join(endpoint.name, edges[index // per_edge].name, cable)
    _join_pods(wiring, ports, half, cable, core_cable)
    return fabric("fat_tree", parameters, endpoints, edges + aggregations + cores, wiring, broken)


def _join_pods(wiring: Wiring, pods: int, half: int, cable: Cable, core_cable: Cable) -> None:
    """Within a pod all edges meet all aggregations; aggregation j of each pod meets the cores of group j."""
    for pod in range(pods):
        first = pod * half + 1
        for edge in range(first, first + half):
            for aggregation in range(first, first + half):
                wiring.join(f"e{edge}", f"a{aggregation}", cable)
        for group in range(half):
            for core in range(group * half + 1, (group + 1) * half + 1):
                wiring.join(f"a{first + group}", f"k{core}", core_cable)


topos = {"fat_tree": mininet_factory(build)}
