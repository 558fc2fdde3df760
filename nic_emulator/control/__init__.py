"""The control plane of a NIC: a socket by which a host agent, or a script, commands a card and watches it.

Nothing on the data path waits for it. Imports no engine, but for `local`.
"""

from __future__ import annotations

from nic_emulator.control.client import CardClient, Event, Status
from nic_emulator.control.protocol import VERSION, ControlError

__all__ = ["VERSION", "CardClient", "ControlError", "Event", "Status"]
