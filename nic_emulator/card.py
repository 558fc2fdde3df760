"""The card that all NIC models stand in front of: memories, DMA engines, and the ways between cards of a server.

Its latency is part of each NIC's stages as long as one card, which keeps what it sends in its performance memory, has
the NIC to itself. What more cards and the other memory add is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from nic_emulator.common import PCIE_PER_KIB, PCIE_SWITCH
from nic_emulator.profile import NOTHING_PS, PLACES, Place, Stage, const
from testbed.spec.sourced import Sourced

Memory: TypeAlias = Literal["performance", "capacity"]
LocalPath: TypeAlias = Literal["bridge", "switch"]
MAX_CARDS = 4
"""One NIC serves up to four cards (`_REGISTER`)."""

_REGISTER = "https://www.theregister.com/2025/09/08/dmatrix_jetstream_nic/"
_NOTES = "public notes that cite d-matrix.ai/product and the Hot Chips 2025 talk"
_NOT_PUBLIC = "not public"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardProfile:
    """One accelerator card."""

    name: str
    description: str
    sram: Sourced
    """Performance memory, in bytes."""
    sram_per_kib: Sourced
    """And the time that 1024 bytes of it take, in ps."""
    lpddr: Sourced
    """Capacity memory, in bytes."""
    lpddr_per_kib: Sourced
    lpddr_latency: Sourced
    """What an access takes beyond one to the performance memory, in ps."""
    dma_engines: Sourced
    dma_per_kib: Sourced
    """Of one engine, in ps."""
    memory_latency: Sourced
    """From a request of another device to data, and from data to memory, each way half, in ps."""
    pcie_per_kib: Sourced
    """Of the card's PCIe 5.0 x16, in ps."""
    pcie_switch_latency: Sourced
    bridge_per_kib: Sourced
    """Of the bridge between two cards, in ps."""
    bridge_latency: Sourced


CORSAIR = CardProfile(
    name="corsair",
    description="d-Matrix Corsair: 2 GB SRAM, 256 GB LPDDR5, PCIe 5.0 x16, a bridge between two cards",
    sram=const(2 * 10**9, "byte", "V", _REGISTER),
    sram_per_kib=const(7, "ps/KiB", "V", f"150 TB/s: {_REGISTER}"),
    lpddr=const(256 * 10**9, "byte", "V", _REGISTER),
    lpddr_per_kib=const(2_560, "ps/KiB", "V", f"400 GB/s: {_REGISTER}"),
    lpddr_latency=const(100_000, "ps", "assumed", f"{_NOT_PUBLIC}; as usual for LPDDR5 behind a controller"),
    dma_engines=const(4, "engines", "assumed", f"{_NOT_PUBLIC}; one for each chiplet of a package"),
    dma_per_kib=const(8_000, "ps/KiB", "assumed", f"{_NOT_PUBLIC}; 128 GB/s each, twice a PCIe 5.0 x16"),
    memory_latency=const(
        375_000, "ps", "assumed", f"{_NOT_PUBLIC}; card_read and card_write of the transparent NIC"
    ),
    pcie_per_kib=PCIE_PER_KIB,
    pcie_switch_latency=PCIE_SWITCH,
    bridge_per_kib=const(2_000, "ps/KiB", "S", f"DMX Bridge, 512 GB/s: {_NOTES}"),
    bridge_latency=const(115_000, "ps", "S", f"between the chiplets of two cards: {_NOTES}"),
)


def added_stages(
    stages: tuple[Stage, ...], *, card: CardProfile, cards: int, memory: Memory, local: LocalPath
) -> tuple[Stage, ...]:
    """A NIC's stages with those that its cards add: none for one card that uses its performance memory."""
    send, receive = list(_of(stages, "send")), list(_of(stages, "receive"))
    if cards > 1:
        if not any(stage.name == "pcie_switch" for stage in send):
            send.insert(0, _pcie_switch(card, "send"))
            receive.append(_pcie_switch(card, "receive"))
        send.insert(0, _engines(card, "send"))
        receive.append(_engines(card, "receive"))
    if memory == "capacity":
        send.insert(0, _lpddr(card, "send", "lpddr"))
        receive.append(_lpddr(card, "receive", "lpddr"))
    others = [stage for stage in stages if stage.place not in ("send", "receive")]
    between = _between(card, memory, local) if cards > 1 else []
    every = [*others, *send, *receive, *between]
    return tuple(stage for place in PLACES for stage in every if stage.place == place)


def _of(stages: tuple[Stage, ...], place: Place) -> list[Stage]:
    return [stage for stage in stages if stage.place == place]


def _engines(card: CardProfile, place: Place) -> Stage:
    return Stage(
        name="card_dma",
        place=place,
        latency=NOTHING_PS,
        occupancy_per_kib=card.dma_per_kib,
        servers=card.dma_engines,
        per_card=True,
    )


def _pcie_switch(card: CardProfile, place: Place) -> Stage:
    """For NICs whose own stages end at a slot of the host."""
    return Stage(name="pcie_switch", place=place, latency=card.pcie_switch_latency)


def _lpddr(card: CardProfile, place: Place, name: str) -> Stage:
    return Stage(
        name=name,
        place=place,
        latency=card.lpddr_latency,
        occupancy_per_kib=card.lpddr_per_kib,
        per_card=True,
        reads_payload=place == "send",
    )


def _between(card: CardProfile, memory: Memory, local: LocalPath) -> list[Stage]:
    """From card to card behind one NIC: by the PCIe switch, and two of a pair by their bridge."""
    found = _local(
        card,
        memory,
        "local",
        [
            Stage(name="card_memory", place="local", latency=card.memory_latency, per_card=True),
            Stage(
                name="pcie_switch",
                place="local",
                latency=card.pcie_switch_latency,
                occupancy_per_kib=card.pcie_per_kib,
                per_card=True,
            ),
        ],
    )
    if local == "bridge":
        bridge = Stage(
            name="bridge",
            place="bridge",
            latency=card.bridge_latency,
            occupancy_per_kib=card.bridge_per_kib,
            per_card=True,
        )
        found += _local(card, memory, "bridge", [bridge])
    return found


def _local(card: CardProfile, memory: Memory, place: Place, way: list[Stage]) -> list[Stage]:
    """Engine, way, and the memories at both ends."""
    stages = [_engines(card, place), *way]
    if memory == "capacity":
        stages = [_lpddr(card, place, "lpddr_read"), *stages, _lpddr(card, place, "lpddr_write")]
    return stages
