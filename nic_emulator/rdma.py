"""An RDMA NIC (RoCEv2, reliable connection) driven by its host: what a cluster builder would otherwise buy.

A WRITE from card memory to card memory: host software posts and rings the doorbell, the NIC fetches the work request
and the payload by DMA, and at the far end writes the payload, writes a completion, which host software polls.
"""

from __future__ import annotations

from nic_emulator.host_software import HOST_JITTER, HOST_STALL, HOST_STALL_INTERVAL
from nic_emulator.profile import NicProfile, Stage, const

_MODEL = "stage model from pcie-bench (10.1145/3230543.3230560), arXiv 2002.02563 and arXiv 2605.28717"
_PCIE_RATE = "PCIe 5.0 x16: 63.0 GB/s raw, 256-byte payloads with 26 bytes around them: 57 GB/s"
_IB = "InfiniBand specification volume 1, RoCEv2 annex A17"

PROFILE = NicProfile(
    name="rdma",
    description="RDMA NIC (RoCEv2 WRITE), host-initiated: doorbell, WQE fetch, DMA, polled completion",
    initiator="host",
    wire_format="rocev2",
    reliability="go_back_n",
    stages=(
        Stage(
            name="host_post",
            place="post",
            software=True,
            latency=const(100_000, "ps", "E", f"post and doorbell 100-175 ns: {_MODEL}"),
            occupancy=const(60_000, "ps", "assumed", "one core posts 16 M work requests/s"),
            jitter=HOST_JITTER,
            stall_interval=HOST_STALL_INTERVAL,
            stall=HOST_STALL,
        ),
        Stage(
            name="doorbell", place="post", latency=const(137_000, "ps", "M", "PCIe one way, arXiv 2002.02563")
        ),
        Stage(name="wqe_fetch", place="post", latency=const(500_000, "ps", "E", f"400-600 ns: {_MODEL}")),
        Stage(
            name="dma_read",
            place="send",
            latency=const(500_000, "ps", "E", f"400-600 ns: {_MODEL}"),
            occupancy_per_kib=const(18_000, "ps/KiB", "E", _PCIE_RATE),
        ),
        Stage(name="nic_pipeline", place="send", latency=const(200_000, "ps", "E", f"150-250 ns: {_MODEL}")),
        Stage(
            name="nic_pipeline", place="ingress", latency=const(200_000, "ps", "E", f"150-250 ns: {_MODEL}")
        ),
        Stage(
            name="dma_write",
            place="receive",
            latency=const(275_000, "ps", "E", f"250-300 ns: {_MODEL}"),
            occupancy_per_kib=const(18_000, "ps/KiB", "E", _PCIE_RATE),
        ),
        Stage(
            name="completion_write",
            place="notify",
            latency=const(50_000, "ps", "assumed", "behind the payload on the same PCIe link"),
        ),
        Stage(
            name="host_poll",
            place="notify",
            software=True,
            latency=const(75_000, "ps", "E", f"50-100 ns: {_MODEL}"),
            occupancy=const(60_000, "ps", "assumed", "one core polls 16 M completions/s"),
            jitter=HOST_JITTER,
            stall_interval=HOST_STALL_INTERVAL,
            stall=HOST_STALL,
        ),
    ),
    mtu_bytes=const(4096, "byte", "V", f"largest path MTU: {_IB}"),
    first_header_bytes=const(
        78, "byte", "V", f"Ethernet 14, IPv4 20, UDP 8, BTH 12, RETH 16, ICRC 4, FCS 4: {_IB}"
    ),
    other_header_bytes=const(62, "byte", "V", f"without RETH: {_IB}"),
    ack_bytes=const(66, "byte", "V", f"Ethernet 14, IPv4 20, UDP 8, BTH 12, AETH 4, ICRC 4, FCS 4: {_IB}"),
    data_class=const(
        3, "priority", "V", "SONiC's first lossless class (files/build_templates/qos_config.j2)"
    ),
    ack_class=const(3, "priority", "assumed", "acknowledgements travel in the class of their queue pair"),
    window_pkts=const(128, "packets", "assumed", "512 KiB in flight for each queue pair"),
    ack_every_pkts=const(16, "packets", "assumed", "and with each last packet of a message"),
    tx_depth_pkts=const(16, "packets", "assumed", "covers the latency of the send stages at line rate"),
    ack_latency=const(50_000, "ps", "assumed", "NIC hardware alone"),
    retransmission_timeout=const(
        1_000_000_000, "ps", "assumed", "1 ms; the 4.096 us x 2^n of the specification with n = 8"
    ),
    retry_limit=const(7, "retries", "V", f"three-bit retry counter: {_IB}"),
)
