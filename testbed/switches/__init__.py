"""Commodity switches: one Python profile per product, and the C++ behaviour they share."""

from __future__ import annotations

from testbed.registry import Registry
from testbed.switches import (
    falcon,
    ideal,
    jericho2c_plus,
    linux_bridge,
    spectrum3,
    spectrum4,
    teralynx10,
    tomahawk4,
    tomahawk5,
    tomahawk6,
    tomahawk_ultra,
    trident4,
)
from testbed.switches.profile import SwitchProfile

SWITCHES: Registry[SwitchProfile] = Registry(
    "switch",
    {
        module.PROFILE.name: module.PROFILE
        for module in (
            tomahawk4,
            tomahawk5,
            tomahawk6,
            tomahawk_ultra,
            trident4,
            jericho2c_plus,
            spectrum3,
            spectrum4,
            teralynx10,
            falcon,
            ideal,
            linux_bridge,
        )
    },
)
"""Every switch that an experiment can name."""

__all__ = ["SWITCHES", "SwitchProfile"]
