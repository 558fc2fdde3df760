"""Latency and soundness of the links of a fabric, by the names of their media."""

from __future__ import annotations

from collections.abc import Iterable

from testbed.errors import Problems, SpecError
from testbed.links import MEDIA
from testbed.spec.fabric import Fabric, Link
from testbed.spec.sourced import Sourced
from testbed.units import format_rate


def link_latency_ps(medium: str, length_mm: int, rate_bps: int) -> int:
    """The whole one-way latency of a link: propagation, FEC, both modules; serialisation apart."""
    return MEDIA.get(medium).latency_ps(length_mm, rate_bps)


def add_link_problems(links: Iterable[Link], problems: Problems) -> None:
    """Note every link whose medium is unknown or does not reach."""
    for index, link in enumerate(links):
        try:
            MEDIA.get(link.medium).check(link.length_mm, link.rate_bps)
        except SpecError as error:
            problems.add(f"links[{index}].medium", str(error), error.remedy)


def used_numbers(fabric: Fabric) -> dict[str, Sourced]:
    """The sourced numbers that the latencies of a fabric's links rest on, each under a path of its own."""
    found: dict[str, Sourced] = {}
    for link in fabric.links:
        medium = MEDIA.get(link.medium)
        found[f"{medium.name}.propagation"] = medium.propagation
        found[f"{medium.name}.module"] = medium.module
        if medium.fec.latency_ps(link.rate_bps):
            found[f"{medium.name}.fec.fixed, {format_rate(link.rate_bps)}"] = medium.fec.fixed
            found[f"{medium.name}.fec.payload_bits"] = medium.fec.payload_bits
    return found
