"""Latency and soundness of the links of a fabric, by the names of their media."""

from __future__ import annotations

from testbed.errors import Problems, SpecError
from testbed.links import MEDIA, Medium
from testbed.links.fec import fec_of
from testbed.links.loss import JUMBO_FRAME_BYTES, MAX_LOSS, FrameLoss, frame_loss
from testbed.links.profile import lane_bps
from testbed.spec.fabric import FecChoice, Link
from testbed.units import format_length, format_rate, format_ratio


def link_latency_ps(
    medium: str, length_mm: int, rate_bps: int, *, lanes: int = 0, fec: FecChoice = "auto"
) -> int:
    """The whole one-way latency of a link: propagation, FEC, both modules; serialisation apart."""
    return MEDIA.get(medium).latency_ps(length_mm, rate_bps, lanes=lanes, fec=fec)


def link_loss(link: Link) -> FrameLoss:
    """The frames that a link loses to bit errors."""
    ber_e18 = link.ber_e18
    if ber_e18 is None:
        ber_e18 = MEDIA.get(link.medium).reach(link.rate_bps, link.lanes).ber.number
    return frame_loss(ber_e18, fec_of(link.fec, lane_bps(link.rate_bps, link.lanes)), link.rate_bps)


def cable_problems(
    medium: str,
    length_mm: int,
    rate_bps: int,
    *,
    lanes: int = 0,
    fec: FecChoice = "auto",
    ber_e18: int | None = None,
) -> Problems:
    """What is wrong with a cable, under the name of the parameter to change."""
    problems = Problems()
    field = "medium"
    try:
        profile = MEDIA.get(medium)
        field = "lanes" if lanes else "medium"
        lane = lane_bps(rate_bps, lanes)
        field = "medium"
        reach = profile.reach(rate_bps, lanes)
        field = "fec"
        code = fec_of(fec, lane)
        field = "length"
        _check_length(profile, length_mm, rate_bps, lanes)
        field = "ber"
        errors_e18 = reach.ber.number if ber_e18 is None else ber_e18
        _check_loss(frame_loss(errors_e18, code, rate_bps), errors_e18)
    except SpecError as error:
        problems.add(field, str(error), error.remedy)
    return problems


def _check_length(profile: Medium, length_mm: int, rate_bps: int, lanes: int) -> None:
    """Refuse a cable that is too long, and name those that are not."""
    try:
        profile.check(length_mm, rate_bps, lanes)
    except SpecError as error:
        lane = lane_bps(rate_bps, lanes)
        others = [
            f"{name} ({format_length(reach.max_length.number)})"
            for name in MEDIA.names()
            for reach in MEDIA.get(name).reaches
            if reach.lane_bps == lane and reach.max_length.number >= length_mm
        ]
        longest = format_length(profile.max_length_mm(rate_bps, lanes))
        reaching = (
            f"one of: {', '.join(others)}" if others else f"no medium reaches {format_length(length_mm)}"
        )
        raise SpecError(
            str(error), remedy=f"use at most {longest}, or at {format_rate(lane)} lanes {reaching}"
        ) from error


def _check_loss(loss: FrameLoss, ber_e18: int) -> None:
    """Refuse a link that would not stay up."""
    if not loss.is_linear:
        raise SpecError(
            f"at a bit error ratio of {format_ratio(ber_e18)} more than {float(MAX_LOSS):.0%} of the"
            f" {JUMBO_FRAME_BYTES:,}-byte frames are lost, and no such link stays up",
            remedy="use a lower ratio, or `faults` for a loss of any size",
        )
