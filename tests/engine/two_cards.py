"""Two cards at one wire whose stages take round times: what tests of a NIC's sums are made of."""

from __future__ import annotations

from typing import Any

from testbed.analysis.records import Records
from testbed.validate.plans import Data, Wire, card, chain, stage

WIRE = Wire(latency_ps=100_000)
BYTE_PS = 20
PREAMBLE = 8
POST, READ, RECEIVE, NOTIFY, ACK = 50_000, 300_000, 200_000, 25_000, 40_000
AT = {
    "post": [stage(POST)],
    "send": [stage(READ)],
    "receive": [stage(RECEIVE)],
    "notify": [stage(NOTIFY)],
}


def on_wire_ps(frame_bytes: int) -> int:
    """From the first bit to the last at the far end."""
    return (max(64, frame_bytes) + PREAMBLE) * BYTE_PS + WIRE.latency_ps


def nic(workload: Data | None = None, **config: Any) -> Data:
    """A card with the stages above."""
    return card(workload, at=AT, **({"ack_latency_ps": ACK} | config))


def pair(workload: Data, *, sends: Data | None = None, takes: Data | None = None, seed: int = 1) -> Data:
    """Card 0 sends to card 1 over one wire."""
    return chain(nic(workload, **(sends or {})), nic(**(takes or sends or {})), [WIRE], seed=seed)


def latency_ps(records: Records) -> int:
    """Of the one message that there is."""
    assert len(records) == 1
    return int(records["completed_ps"][0] - records["intended_ps"][0])
