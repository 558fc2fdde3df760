"""An RDMA NIC (RoCEv2, reliable connection) driven by its host: what a cluster builder would otherwise buy.

A WRITE from card memory to card memory: host software posts and rings the doorbell, the NIC fetches the work request
and the payload by DMA, and at the far end writes the payload, writes a completion, which host software polls.
"""

from __future__ import annotations

from nic_emulator.common import (
    ACK_EVERY,
    ACK_IN_HARDWARE,
    DATA_CLASS,
    STAGE_MODEL,
    TX_DEPTH,
    WITH_DATA,
    completion_write,
    dma_read,
    dma_write,
    doorbell,
    fetch,
    nic_pipeline,
)
from nic_emulator.congestion_defaults import DCQCN, FIXED_WINDOW
from nic_emulator.host_software import HOST_JITTER, HOST_STALL, HOST_STALL_INTERVAL
from nic_emulator.profile import Choice, NicProfile, Receives, Stage, const

_IB = "InfiniBand specification volume 1, RoCEv2 annex A17"
_BY_HOST = {"initiator": ("host",)}
_BY_CARD = {"initiator": ("device",)}

PROFILE = NicProfile(
    name="rdma",
    description="RDMA NIC (RoCEv2 WRITE), host-initiated: doorbell, WQE fetch, DMA, polled completion",
    initiator="host",
    wire_format="rocev2",
    reliability="go_back_n",
    ops=("put", "put_signal", "send", "get"),
    stages=(
        Stage(
            name="host_post",
            place="post",
            software=True,
            latency=const(
                100_000, "ps", "E", f"post and doorbell 100-175 ns: {STAGE_MODEL}", (100_000, 175_000)
            ),
            occupancy=const(60_000, "ps", "assumed", "one core posts 16 M work requests/s"),
            jitter=HOST_JITTER,
            stall_interval=HOST_STALL_INTERVAL,
            stall=HOST_STALL,
            when=_BY_HOST,
        ),
        Stage(
            name="card_post",
            place="post",
            latency=const(
                250_000,
                "ps",
                "assumed",
                "a card's own engine fills work requests slower than a core (NVSHMEM IBGDA)",
            ),
            occupancy=const(100_000, "ps", "assumed", "10 M work requests/s"),
            per_card=True,
            when=_BY_CARD,
        ),
        doorbell(),
        fetch("wqe_fetch", when={"post": ("doorbell", "inline")}),
        dma_read(),
        nic_pipeline("send"),
        nic_pipeline("ingress"),
        dma_write(),
        completion_write(),
        Stage(
            name="interrupt",
            place="notify",
            software=True,
            latency=const(
                4_000_000, "ps", "assumed", "interrupt, handler and wake-up of the thread that waits"
            ),
            coalesce=const(2_000_000, "ps", "assumed", "completions within 2 us raise one interrupt"),
            jitter=HOST_JITTER,
            stall_interval=HOST_STALL_INTERVAL,
            stall=HOST_STALL,
            when=_BY_HOST | {"completion": ("interrupt",)},
        ),
        Stage(
            name="host_poll",
            place="notify",
            software=True,
            latency=const(75_000, "ps", "E", f"50-100 ns: {STAGE_MODEL}", (50_000, 100_000)),
            occupancy=const(60_000, "ps", "assumed", "one core polls 16 M completions/s"),
            jitter=HOST_JITTER,
            stall_interval=HOST_STALL_INTERVAL,
            stall=HOST_STALL,
            when=_BY_HOST | {"completion": ("poll",)},
        ),
        Stage(
            name="card_poll",
            place="notify",
            latency=const(50_000, "ps", "assumed", "the card's engine looks at its own memory"),
            per_card=True,
            when=_BY_CARD,
        ),
    ),
    mtu_bytes=const(4096, "byte", "V", f"largest path MTU: {_IB}"),
    first_header_bytes=const(
        78, "byte", "V", f"Ethernet 14, IPv4 20, UDP 8, BTH 12, RETH 16, ICRC 4, FCS 4: {_IB}"
    ),
    other_header_bytes=const(62, "byte", "V", f"without RETH: {_IB}"),
    ack_bytes=const(66, "byte", "V", f"Ethernet 14, IPv4 20, UDP 8, BTH 12, AETH 4, ICRC 4, FCS 4: {_IB}"),
    data_class=DATA_CLASS,
    ack_class=WITH_DATA,
    window_pkts=const(128, "packets", "assumed", "512 KiB in flight for each queue pair"),
    ack_every_pkts=ACK_EVERY,
    tx_depth_pkts=TX_DEPTH,
    ack_latency=ACK_IN_HARDWARE,
    retransmission_timeout=const(
        1_000_000_000, "ps", "assumed", "1 ms; the 4.096 us x 2^n of the specification with n = 8"
    ),
    retry_limit=const(7, "retries", "V", f"three-bit retry counter: {_IB}"),
    max_inline=const(220, "byte", "M", "usual limit of an inline work request of mlx5"),
    receives=Receives(
        depth=const(0, "receives", "assumed", "off: the program posts as many as it takes"),
        timer=const(640_000_000, "ps", "M", f"code 12 of the RNR timer field, 0.64 ms, perftest's: {_IB}"),
        retry_limit=const(7, "retries", "M", f"for ever: {_IB}"),
    ),
    cnp_interval=const(4_000_000, "ps", "V", "MIN_TIME_BETWEEN_CNPS of a ConnectX-5; 50 us in the paper"),
    congestions=DCQCN | FIXED_WINDOW,
    choices={
        "initiator": Choice(
            about="who posts and polls: host software, or an engine of the card",
            options={"host": {}, "device": {"initiator": "device"}},
        ),
        "post": Choice(
            about="doorbell: the NIC fetches request and payload; inline: both at once; blueflame: both are pushed",
            options={"doorbell": {}, "inline": {"posts_inline": True}, "blueflame": {"posts_inline": True}},
        ),
        "completion": Choice(
            about="host software polls for completions, or sleeps until an interrupt",
            options={"poll": {}, "interrupt": {}},
            needs=_BY_HOST,
        ),
    },
    notes=(
        "what is posted inline is taken to be in reach of whoever posts, in favour of this NIC",
        "payloads above the inline limit are fetched by DMA, however they are posted",
    ),
)
