"""What a link does beside carrying frames with a latency, as the engine's plan names it; and what that rests on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from testbed.links import MEDIA
from testbed.links.fec import fec_of
from testbed.links.latency import link_loss
from testbed.links.profile import lane_bps
from testbed.spec.fabric import Fabric, Link, LinkFault
from testbed.spec.sourced import Sourced
from testbed.units import PPM_PER_WHOLE, format_rate

_WHOLE_2P64 = 2**64
_MOST_2P64 = _WHOLE_2P64 - 1
"""The engine's nearest to certainty: it spares one frame in 2^64."""


def link_features(
    link: Link, *, llr: bool = False, llr_latency_ps: int = 0, cbfc: bool = False
) -> dict[str, Any]:
    """The seventh item of a plan's link; empty for a sound link without retry and credits.

    Losses too rare to be seen in a run are left out (`FrameLoss.is_seen`), so that a healthy link costs no draw.
    """
    features: dict[str, Any] = {}
    loss = link_loss(link)
    if loss.is_seen:
        features["loss_base_2p64"] = _2p64(loss.base)
        features["loss_per_byte_2p64"] = _2p64(loss.per_byte)
    if llr:
        features |= {"llr": True, "llr_latency_ps": llr_latency_ps}
    if cbfc:
        features["cbfc"] = True
    if link.faults:
        features["faults"] = [_fault(link, fault) for fault in link.faults]
    return features


def used_numbers(fabric: Fabric) -> dict[str, Sourced]:
    """The sourced numbers that a fabric's links rest on, each under a path of its own.

    A medium's bit error ratio is among them only where it loses frames.
    """
    found: dict[str, Sourced] = {}
    for link in fabric.links:
        medium = MEDIA.get(link.medium)
        lane = lane_bps(link.rate_bps, link.lanes)
        found[f"{medium.name}.propagation"] = medium.propagation
        found[f"{medium.name}.module"] = medium.module
        if link.ber_e18 is None and link_loss(link).is_seen:
            reach = medium.reach(link.rate_bps, link.lanes)
            found[f"{medium.name}.ber, {format_rate(lane)} lanes"] = reach.ber
        code = fec_of(link.fec, lane)
        if code:
            found[f"{medium.name}.fec.{code.name}.fixed"] = code.fixed
            found[f"{medium.name}.fec.{code.name}.payload_bits"] = code.payload_bits
    return found


def _2p64(probability: Decimal) -> int:
    """A probability in the engine's unit."""
    return int((probability * _WHOLE_2P64).to_integral_value())


def _fault(link: Link, fault: LinkFault) -> list[int]:
    """Direction, time and probability of a fault."""
    lost = min(_WHOLE_2P64 * fault.loss_ppm // PPM_PER_WHOLE, _MOST_2P64)
    return [0 if fault.toward == link.b else 1, fault.from_ps, fault.until_ps, lost]
