"""What a host agent does: prepare its NIC unless that is done, start it, and follow it to its end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_emulator.control.client import CardClient
from nic_emulator.control.commands import peers_of
from nic_emulator.control.protocol import ControlError

_RETRY_S = 0.02


def attend(path: Path, workloads: Sequence[Mapping[str, Any]], *, patience_s: float) -> str:
    """See a NIC through its run; why the run ended.

    An agent that comes to a NIC which runs already, or whose connection is lost, goes on where the NIC is.

    Args:
        path: the NIC's socket.
        workloads: one for each card behind it.
        patience_s: how long to wait for an answer, or for a NIC that has let go of us to listen again, in seconds.

    Raises:
        ControlError: the NIC refuses, or is not there any more.
    """
    lost_since_s: float | None = None
    while True:
        try:
            with CardClient(path, timeout_s=patience_s) as nic:
                nic.subscribe(
                    "state"
                )  # now: a short run is over, and its process gone, before the next answer
                status = nic.status()
                if status.state == "ended":
                    return status.reason
                lost_since_s = None
                if status.state != "running":
                    prepare(nic, workloads, first_card=status.first_card)
                return nic.wait_end_event()
        except ControlError as error:
            if error.code != "lost":
                raise
            lost_since_s = lost_since_s or time.monotonic()
            if time.monotonic() - lost_since_s > patience_s:
                raise
            time.sleep(_RETRY_S)


def prepare(nic: CardClient, workloads: Sequence[Mapping[str, Any]], *, first_card: int) -> None:
    """Open the streams of a NIC's cards, load, and start."""
    for card, workload in enumerate(workloads):
        peers = sorted(peers_of(workload, own=first_card + card))
        if peers:
            nic.open_streams(peers, card=card)
        nic.load_workload(workload, card=card)
    nic.start()
