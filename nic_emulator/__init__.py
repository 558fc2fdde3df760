"""The process that stands in for a NIC and its cards, and the NIC models. Profiles know no engine and do no input."""

from __future__ import annotations

from nic_emulator import kernel, rdma, sue, transparent, ualink, uec
from nic_emulator.card import CORSAIR, CardProfile
from nic_emulator.profile import NicProfile
from testbed.registry import Registry

NICS: Registry[NicProfile] = Registry(
    "NIC",
    {one.PROFILE.name: one.PROFILE for one in (transparent, rdma, kernel, uec, sue, ualink)},
)
"""Every NIC a card can have."""
CARDS: Registry[CardProfile] = Registry("card", {CORSAIR.name: CORSAIR})
"""Every card that can stand behind them."""

__all__ = ["CARDS", "NICS", "NicProfile"]
