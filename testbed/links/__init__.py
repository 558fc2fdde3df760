"""What a cable costs: media profiles, and the latency of a link. Knows no switch, NIC or topology."""

from __future__ import annotations

from testbed.links.media import ACC, AEC, AOC, DAC, DR, FR, SR
from testbed.links.profile import Medium
from testbed.registry import Registry

MEDIA: Registry[Medium] = Registry(
    "medium", {medium.name: medium for medium in (DAC, ACC, AEC, AOC, SR, DR, FR)}
)
"""Every medium a link can be made of, from the shortest reach to the longest."""

__all__ = ["MEDIA", "Medium"]
