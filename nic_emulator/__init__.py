"""The process that stands in for a card, and the NIC models behind it. Profiles know no engine and do no input."""

from __future__ import annotations

from nic_emulator import kernel, rdma, sue, transparent, ualink, uec
from nic_emulator.profile import NicProfile
from testbed.registry import Registry

NICS: Registry[NicProfile] = Registry(
    "NIC",
    {one.PROFILE.name: one.PROFILE for one in (transparent, rdma, kernel, uec, sue, ualink)},
)
"""Every NIC a card can have."""

__all__ = ["NICS", "NicProfile"]
