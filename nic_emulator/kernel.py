"""What sockets over an ordinary NIC cost: system calls, copies, the stack, interrupts and wake-ups, on the host.

A message goes from the sender's buffer through the kernel to the wire; at the far end an interrupt, which the NIC
holds back for a while, starts the softirq that runs the stack, and the program that sleeps in its receive call is woken
and copies the message out. Public end-to-end figures (15 to 30 us round trip, idle, from memory) are what the stages
were made to add up to; none of them is a measurement of one kernel.
"""

from __future__ import annotations

from nic_emulator.common import TX_DEPTH, dma_read, dma_write, doorbell, fetch, nic_pipeline
from nic_emulator.congestion_defaults import CUBIC, DCTCP
from nic_emulator.host_software import HOST_JITTER, HOST_STALL, HOST_STALL_INTERVAL
from nic_emulator.profile import Choice, NicProfile, Stage, const

_SHARE = "a plausible share of 15-30 us round trip, idle (from memory; nic_emulator/kernel.py)"
_COPY = const(100_000, "ps/KiB", "assumed", "one core copies 10 GB/s between cold buffers")
_TCP = {"protocol": ("tcp",)}
_UDP = {"protocol": ("udp",)}
_RFC = "RFC 791, RFC 9293, RFC 7323, RFC 2018"
_TCP_HEADER = const(70, "byte", "V", f"Ethernet 14, IPv4 20, TCP 20, timestamps 12, FCS 4: {_RFC}")
_UDP_HEADER = const(58, "byte", "V", "Ethernet 14, IPv4 20, UDP 8, the program's own 12, FCS 4: RFC 768")


_WAKE = tuple(
    (const(ppm, "ppm", "assumed", why), const(ps, "ps", "assumed", why))
    for ppm, ps, why in (
        (0, 0, "the core was not asleep yet"),
        (500_000, 2_000_000, "leaves a shallow idle state"),
        (900_000, 10_000_000, "leaves a deeper one"),
        (1_000_000, 60_000_000, "leaves the deepest, and the scheduler is late"),
    )
)

PROFILE = NicProfile(
    name="kernel",
    description="Sockets (TCP or UDP) over an ordinary NIC: system calls, copies, interrupts, wake-ups",
    initiator="host",
    wire_format="tcp",
    reliability="selective",
    ops=("put", "send"),
    ordered=True,
    expects_reordering=True,
    stages=(
        Stage(
            name="system_call",
            place="post",
            software=True,
            latency=const(250_000, "ps", "assumed", f"entry, socket look-up: {_SHARE}"),
            jitter=HOST_JITTER,
            stall_interval=HOST_STALL_INTERVAL,
            stall=HOST_STALL,
        ),
        Stage(
            name="copy_in",
            place="post",
            software=True,
            latency=const(50_000, "ps", "assumed", f"buffers of the kernel: {_SHARE}"),
            occupancy_per_kib=_COPY,
        ),
        Stage(
            name="tcp_ip",
            place="post",
            software=True,
            latency=const(0, "ps", "assumed", "all of it keeps the core busy"),
            occupancy=const(1_000_000, "ps", "assumed", f"one core, 1 M messages/s: {_SHARE}"),
            when=_TCP,
        ),
        Stage(
            name="udp_ip",
            place="post",
            software=True,
            latency=const(0, "ps", "assumed", "all of it keeps the core busy"),
            occupancy=const(600_000, "ps", "assumed", f"one core, 1.7 M messages/s: {_SHARE}"),
            when=_UDP,
        ),
        Stage(
            name="qdisc",
            place="post",
            software=True,
            latency=const(150_000, "ps", "assumed", f"queueing discipline, empty: {_SHARE}"),
        ),
        Stage(
            name="driver",
            place="post",
            software=True,
            latency=const(300_000, "ps", "assumed", f"DMA mapping and descriptor: {_SHARE}"),
        ),
        doorbell(),
        fetch("descriptor_fetch"),
        dma_read(),
        nic_pipeline("send"),
        nic_pipeline("ingress"),
        dma_write(),
        Stage(
            name="interrupt",
            place="receive",
            software=True,
            latency=const(
                1_000_000, "ps", "assumed", f"message-signalled interrupt and its handler: {_SHARE}"
            ),
            coalesce=const(
                3_000_000, "ps", "assumed", "moderation at low rates; adaptive drivers use 0 to 8 us"
            ),
            jitter=HOST_JITTER,
            stall_interval=HOST_STALL_INTERVAL,
            stall=HOST_STALL,
        ),
        Stage(
            name="softirq",
            place="receive",
            software=True,
            latency=const(500_000, "ps", "assumed", f"from the handler to the poll loop: {_SHARE}"),
            occupancy=const(350_000, "ps", "assumed", "one core, 2.9 M packets/s with large receive units"),
        ),
        Stage(
            name="socket_wake_up",
            place="notify",
            software=True,
            latency=const(2_000_000, "ps", "assumed", f"scheduler, on a core that is awake: {_SHARE}"),
            wake_after=const(100_000_000, "ps", "assumed", "a core without work for 100 us goes to sleep"),
            wake=_WAKE,
        ),
        Stage(
            name="copy_out",
            place="notify",
            software=True,
            latency=const(250_000, "ps", "assumed", f"return to the program: {_SHARE}"),
            occupancy_per_kib=_COPY,
            jitter=HOST_JITTER,
            stall_interval=HOST_STALL_INTERVAL,
            stall=HOST_STALL,
        ),
    ),
    mtu_bytes=const(
        4096, "byte", "assumed", "as the other NICs, for frames alike; mtu=8948 for jumbo frames"
    ),
    first_header_bytes=_TCP_HEADER,
    other_header_bytes=_TCP_HEADER,
    ack_bytes=const(
        94,
        "byte",
        "V",
        f"Ethernet 14, IPv4 20, TCP 20, timestamps and selective acknowledgement 36, FCS 4: {_RFC}",
    ),
    data_class=const(1, "priority", "assumed", "a lossy class, as TCP has it beside lossless ones"),
    ack_class=const(1, "priority", "assumed", "in the class of its data"),
    window_pkts=const(64, "packets", "assumed", "256 KiB of receive buffer in use"),
    ack_every_pkts=const(2, "packets", "V", "every second segment: RFC 9293, section 3.8.6.3"),
    tx_depth_pkts=TX_DEPTH,
    ack_latency=const(
        4_850_000, "ps", "assumed", "interrupt with its moderation, softirq: as the receive stages"
    ),
    retransmission_timeout=const(200_000_000_000, "ps", "M", "TCP_RTO_MIN of Linux, 200 ms"),
    retry_limit=const(15, "retries", "M", "net.ipv4.tcp_retries2 of Linux"),
    reorder_window_pkts=const(3, "packets", "V", "duplicate acknowledgements: RFC 5681, section 3.2"),
    tail_loss_probe=const(2_050_000_000, "ps", "E", "two round trips and two ticks at 1,000 Hz: RFC 8985"),
    congestion="dctcp",
    congestions=DCTCP | CUBIC,
    choices={
        "protocol": Choice(
            about="TCP; or UDP, whose messages are lost for good",
            options={
                "tcp": {},
                "udp": {
                    "wire_format": "udp",
                    "reliability": "unreliable",
                    "ordered": False,
                    "expects_reordering": False,
                    "nacks": False,
                    "tail_loss_probe": None,
                    "retransmission_timeout": const(
                        10_000_000_000, "ps", "assumed", "10 ms: so long a run waits for what is under way"
                    ),
                    "congestion": "",
                    "congestions": {},
                    "first_header_bytes": _UDP_HEADER,
                    "other_header_bytes": _UDP_HEADER,
                },
            },
        ),
    },
    notes=(
        "stages of one core are apart, and only tcp_ip, softirq and the copies keep it busy",
        "the payload is in host memory: what brings it there from a card is left out, in favour of this NIC",
    ),
)
