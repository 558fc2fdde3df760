"""Commodity switches: one Python profile per product, and the C++ behaviour they share."""

from __future__ import annotations

from testbed.registry import Registry
from testbed.switches import ideal, spectrum4, tomahawk5, tomahawk_ultra
from testbed.switches.profile import SwitchProfile

SWITCHES: Registry[SwitchProfile] = Registry(
    "switch",
    {
        "tomahawk5": tomahawk5.PROFILE,
        "tomahawk_ultra": tomahawk_ultra.PROFILE,
        "spectrum4": spectrum4.PROFILE,
        "ideal": ideal.PROFILE,
    },
)
"""Every switch that an experiment can name."""

__all__ = ["SWITCHES", "SwitchProfile"]
