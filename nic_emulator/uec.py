"""An Ultra Ethernet NIC: UET in IPv4 and UDP, sprayed over entropy values, recovered by NACKs of trimmed packets.

The NIC sits at the same PCIe as an RDMA NIC does, and the card posts to it: the work request comes with the doorbell,
the payload is fetched. Header sizes are those of xdp2-dev/xdp2 (src/include/uet), which conforms to UE 1.0.1.
"""

from __future__ import annotations

from nic_emulator.common import (
    ACK_EVERY,
    ACK_IN_HARDWARE,
    CONTROL_CLASS,
    DATA_CLASS,
    RETRIES,
    TX_DEPTH,
    completion_write,
    dma_read,
    dma_write,
    doorbell,
    nic_pipeline,
)
from nic_emulator.congestion_defaults import FIXED_WINDOW, NSCC
from nic_emulator.profile import EVERY_GAP_IS_A_LOSS, Choice, NicProfile, Stage, const

_XDP2 = "sizes of xdp2-dev/xdp2 src/include/uet, which conforms to UE 1.0.1"
_REQUEST = const(
    102,
    "byte",
    "V",
    f"Ethernet 14, IPv4 20, UDP 8, PDS RUD/ROD request 12, SES standard request 44, FCS 4: {_XDP2}",
)
_ONE_PATH = const(1, "paths", "V", "packets of a stream stay in order on one path")

PROFILE = NicProfile(
    name="uec",
    description="Ultra Ethernet NIC (UET 1.0): device-initiated, sprayed, selective, NACKs of trimmed packets",
    initiator="device",
    wire_format="uet",
    reliability="selective",
    ops=("put", "put_signal", "send", "get"),
    avoid_marked=True,
    stages=(
        Stage(
            name="card_post",
            place="post",
            latency=const(50_000, "ps", "assumed", "as the descriptor of the transparent NIC"),
        ),
        doorbell(),
        dma_read(),
        nic_pipeline("send"),
        nic_pipeline("ingress"),
        dma_write(),
        completion_write(),
        Stage(
            name="card_poll",
            place="notify",
            latency=const(25_000, "ps", "assumed", "as the flag of the transparent NIC"),
        ),
        Stage(
            name="signal",
            place="signal",
            latency=const(
                25_000, "ps", "assumed", "header data of the request, written behind the completion"
            ),
        ),
    ),
    mtu_bytes=const(4096, "byte", "V", "payload of spcl/HTSIM main_uec.cpp: MTU 4,150 with 64 of headers"),
    first_header_bytes=_REQUEST,
    other_header_bytes=_REQUEST,
    ack_bytes=const(
        90,
        "byte",
        "V",
        f"Ethernet 14, IPv4 20, UDP 8, PDS ACK_CC 32, SES response 12, FCS 4: {_XDP2}",
    ),
    data_class=DATA_CLASS,
    ack_class=CONTROL_CLASS,
    window_pkts=const(
        64, "packets", "E", "the bitmap of a selective acknowledgement; NSCC's window is below it"
    ),
    ack_every_pkts=ACK_EVERY,
    tx_depth_pkts=TX_DEPTH,
    ack_latency=ACK_IN_HARDWARE,
    retransmission_timeout=const(100_000_000, "ps", "assumed", "100 us, some ten loaded round trips"),
    retry_limit=RETRIES,
    reorder_window_pkts=const(
        32, "packets", "assumed", "half the window; packets of a stream overtake each other"
    ),
    paths=const(
        16, "paths", "assumed", "entropy values of a stream; the specification leaves the number open"
    ),
    tail_loss_probe=const(40_000_000, "ps", "assumed", "some four loaded round trips"),
    congestion="nscc",
    congestions=NSCC | FIXED_WINDOW,
    choices={
        "mode": Choice(
            about="reliable unordered, reliable ordered, reliable for idempotent operations, unreliable",
            options={
                "rud": {},
                "rod": {
                    "reliability": "go_back_n",
                    "ordered": True,
                    "paths": _ONE_PATH,
                    "reorder_window_pkts": EVERY_GAP_IS_A_LOSS,
                },
                "rudi": {"nacks": False},
                "uud": {
                    "reliability": "unreliable",
                    "ops": ("put", "put_signal", "send"),
                    "nacks": False,
                    "tail_loss_probe": None,
                    "retransmission_timeout": const(
                        1_000_000_000, "ps", "assumed", "1 ms: so long a run waits for what is under way"
                    ),
                    "congestion": "",
                    "congestions": {},
                },
            },
        ),
    },
    notes=(
        "frames of RUDI and UUD are as long as those of RUD; their PDS headers have 4 and 8 bytes less",
        "a receiver of RUDI keeps no state, so that only time-outs find its losses",
        "trimming needs a switch that trims (switch_settings.trim)",
    ),
)
