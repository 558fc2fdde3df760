"""Numbers that NIC models share: PCIe, classes of traffic, InfiniBand-like limits. Names no NIC as its own subject."""

from __future__ import annotations

from nic_emulator.profile import Place, Stage, const

STAGE_MODEL = "stage model from pcie-bench (10.1145/3230543.3230560), arXiv 2002.02563 and arXiv 2605.28717"
PCIE_RATE = "PCIe 5.0 x16: 63.0 GB/s raw, 256-byte payloads with 26 bytes around them: 57 GB/s"
PCIE_PER_KIB = const(18_000, "ps/KiB", "E", PCIE_RATE)
PCIE_SWITCH = const(
    115_000,
    "ps",
    "M",
    "Gen5 PCIe switch, PEX89000 class, about 115 ns; Gen4 PEX88000 is 105 ns (linleygroup num=6069)",
)

DATA_CLASS = const(3, "priority", "V", "SONiC's first lossless class (files/build_templates/qos_config.j2)")
CONTROL_CLASS = const(6, "priority", "assumed", "control above data")
WITH_DATA = const(3, "priority", "assumed", "acknowledgements travel in the class of their queue pair")
ACK_EVERY = const(16, "packets", "assumed", "and with each last packet of a message")
TX_DEPTH = const(256, "packets", "assumed", "reads in flight: as many as PCIe had tags before 10-bit ones")
ACK_IN_HARDWARE = const(50_000, "ps", "assumed", "NIC hardware alone")
RETRIES = const(7, "retries", "assumed", "as usual for reliable connections")


def doorbell(**more: object) -> Stage:
    """A write across PCIe that tells the NIC of work."""
    latency = const(137_000, "ps", "M", "PCIe one way, arXiv 2002.02563")
    return Stage(name="doorbell", place="post", latency=latency, **more)  # type: ignore[arg-type]


def fetch(name: str, **more: object) -> Stage:
    """The NIC reads what is to be done, across PCIe."""
    latency = const(500_000, "ps", "E", f"400-600 ns: {STAGE_MODEL}", (400_000, 600_000))
    return Stage(name=name, place="post", latency=latency, **more)  # type: ignore[arg-type]


def dma_read() -> Stage:
    """The NIC reads payload, across PCIe."""
    return Stage(
        name="dma_read",
        place="send",
        latency=const(500_000, "ps", "E", f"400-600 ns: {STAGE_MODEL}", (400_000, 600_000)),
        occupancy_per_kib=PCIE_PER_KIB,
        reads_payload=True,
    )


def dma_write() -> Stage:
    """The NIC writes payload, across PCIe."""
    return Stage(
        name="dma_write",
        place="receive",
        latency=const(275_000, "ps", "E", f"250-300 ns: {STAGE_MODEL}", (250_000, 300_000)),
        occupancy_per_kib=PCIE_PER_KIB,
    )


def completion_write() -> Stage:
    """The NIC tells memory that a message is there, across PCIe."""
    latency = const(50_000, "ps", "assumed", "behind the payload on the same PCIe link")
    return Stage(name="completion_write", place="notify", latency=latency)


def nic_pipeline(place: Place) -> Stage:
    """Parsing, state of the stream, scheduling: an ASIC's."""
    latency = const(200_000, "ps", "E", f"150-250 ns: {STAGE_MODEL}", (150_000, 250_000))
    return Stage(name="nic_pipeline", place=place, latency=latency)
