"""What a link does beside carrying frames with a latency, as the engine's plan names it; and what that rests on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from testbed.errors import SpecError
from testbed.links import MEDIA
from testbed.links.fec import fec_of
from testbed.links.latency import link_loss
from testbed.links.profile import lane_bps
from testbed.spec.fabric import Fabric, Link, LinkFault
from testbed.spec.sourced import Sourced
from testbed.units import PPM_PER_WHOLE, RATIO_UNIT, format_rate

_WHOLE_2P64 = 2**64
_MOST_2P64 = _WHOLE_2P64 - 1
"""The engine's nearest to certainty: it spares one frame in 2^64."""

REORDER_DELAY = Sourced(
    2_000_000,
    "ps",
    "assumed",
    "2 us, the wire time of 24 frames of 4 KiB at 400 Gb/s: long enough to be overtaken, shorter than any time-out",
)
"""By how much a frame that is held up arrives later, where a link does not say."""


def link_features(
    link: Link, *, llr: bool = False, llr_latency_ps: int = 0, cbfc: bool = False
) -> dict[str, Any]:
    """The seventh item of a plan's link; empty for a sound link without retry and credits.

    Losses too rare to be seen in a run are left out (`FrameLoss.is_seen`), so that a healthy link costs no draw.
    Raises SpecError for credits on a link that duplicates: they count every frame once.
    """
    if cbfc and link.duplicate_e18:
        raise SpecError(
            f"the link {link.a}-{link.b} duplicates frames, which credit-based flow control counts once",
            remedy="leave out topology.duplicate, or write switch.cbfc=off",
        )
    features: dict[str, Any] = {}
    loss = link_loss(link)
    if loss.is_seen:
        features["loss_base_2p64"] = _2p64(loss.base)
        features["loss_per_byte_2p64"] = _2p64(loss.per_byte)
    if link.reorder_e18:
        delay_ps = REORDER_DELAY.number if link.reorder_delay_ps is None else link.reorder_delay_ps
        features |= {"reorder_2p64": _of_frames(link.reorder_e18), "reorder_delay_ps": delay_ps}
    if link.duplicate_e18:
        features["duplicate_2p64"] = _of_frames(link.duplicate_e18)
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
        if link.reorder_e18 and link.reorder_delay_ps is None:
            found["link.reorder_delay"] = REORDER_DELAY
        code = fec_of(link.fec, lane)
        if code:
            found[f"{medium.name}.fec.{code.name}.fixed"] = code.fixed
            found[f"{medium.name}.fec.{code.name}.payload_bits"] = code.payload_bits
    return found


def _2p64(probability: Decimal) -> int:
    """A probability in the engine's unit."""
    return int((probability * _WHOLE_2P64).to_integral_value())


def _of_frames(share_e18: int) -> int:
    """A share of frames in the engine's unit."""
    return min(_WHOLE_2P64 * share_e18 // RATIO_UNIT, _MOST_2P64)


def _fault(link: Link, fault: LinkFault) -> list[int]:
    """Direction, time and probability of a fault."""
    lost = min(_WHOLE_2P64 * fault.loss_ppm // PPM_PER_WHOLE, _MOST_2P64)
    return [0 if fault.toward == link.b else 1, fault.from_ps, fault.until_ps, lost]
