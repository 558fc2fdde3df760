"""The process that stands in for a card, and the NIC models behind it. Profiles know no engine and do no input."""

from __future__ import annotations

from nic_emulator import rdma, transparent
from nic_emulator.profile import NicProfile
from testbed.registry import Registry

NICS: Registry[NicProfile] = Registry(
    "NIC", {profile.name: profile for profile in (transparent.PROFILE, rdma.PROFILE)}
)
"""Every NIC a card can have."""

__all__ = ["NICS", "NicProfile"]
