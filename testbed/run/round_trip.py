"""The round trip across an idle fabric, which delay-based congestion control measures queues against. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from nic_emulator.profile import Stage
from nic_emulator.setup import NicSetup
from testbed.links.latency import link_latency_ps
from testbed.spec.fabric import Fabric, Link
from testbed.switches.setup import SwitchSetup
from testbed.units import BYTES_PER_KIB, byte_time_ps

_PREAMBLE_BYTES = 8


def round_trip_ps(fabric: Fabric, switch: SwitchSetup, setup: NicSetup) -> int:
    """From handing a full packet to the send stages to its acknowledgement, between the endpoints farthest apart."""
    profile = setup.profile
    data_bytes = profile.first_header_bytes.number + profile.mtu_bytes.number
    ingress_ps = sum(stage.latency.number for stage in profile.at("ingress"))
    wires_ps = [
        _farthest_ps(fabric, switch, frame_bytes) for frame_bytes in (data_bytes, profile.ack_bytes.number)
    ]
    sending_ps = _full_packet_ps(profile.at("send"), profile.mtu_bytes.number)
    return sending_ps + sum(wires_ps) + 2 * ingress_ps + profile.ack_latency.number


def _full_packet_ps(stages: Iterable[Stage], size_bytes: int) -> int:
    return sum(
        stage.latency.number
        + stage.occupancy.number
        + -(-size_bytes * stage.occupancy_per_kib.number // BYTES_PER_KIB)
        for stage in stages
    )


def _farthest_ps(fabric: Fabric, switch: SwitchSetup, frame_bytes: int) -> int:
    """Two sweeps: what is farthest from any endpoint is one end of the longest way, in a tree and in a Clos."""
    one_end, _ = _sweep(fabric, switch, frame_bytes, fabric.endpoints[0].name)
    _, longest_ps = _sweep(fabric, switch, frame_bytes, one_end)
    return longest_ps


def _sweep(fabric: Fabric, switch: SwitchSetup, frame_bytes: int, start: str) -> tuple[str, int]:
    """The endpoint that a frame from `start` needs longest to, its last bit included, and that time."""
    endpoints = {endpoint.name for endpoint in fabric.endpoints}
    reached: dict[str, int] = {}
    waiting = [(0, start)]
    while waiting:
        at_ps, name = heapq.heappop(waiting)
        if name in reached:
            continue
        reached[name] = at_ps
        if name in endpoints and name != start:
            continue  # no way leads through an endpoint
        for link in fabric.links_of(name):
            heapq.heappush(
                waiting,
                (at_ps + _hop_ps(link, switch, frame_bytes, link.other(name) in endpoints), link.other(name)),
            )
    return max(
        ((name, at_ps) for name, at_ps in reached.items() if name in endpoints and name != start),
        key=lambda item: item[1],
    )


def _hop_ps(link: Link, switch: SwitchSetup, frame_bytes: int, last: bool) -> int:
    """From the first bit on a link to the first bit behind the switch at its end, or to the last bit at an endpoint."""
    wire_ps = link_latency_ps(link.medium, link.length_mm, link.rate_bps, lanes=link.lanes, fec=link.fec)
    whole_ps = (frame_bytes + _PREAMBLE_BYTES) * byte_time_ps(link.rate_bps)
    if last:
        return wire_ps + whole_ps
    return wire_ps + switch.profile.pipeline_latency.number + (0 if switch.cut_through else whole_ps)
