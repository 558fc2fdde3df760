"""UALink 200G: reads and writes of up to 256 bytes in flits of 640 bytes, over one switch.

The endpoint is part of the accelerator. The link replays what it damages and works with credits: those are what links
do that have them (switch_settings.llr, cbfc). Responses of the far end stand for acknowledgements.
"""

from __future__ import annotations

from nic_emulator.common import ACK_EVERY, DATA_CLASS, RETRIES, TX_DEPTH
from nic_emulator.congestion_defaults import FIXED_WINDOW
from nic_emulator.profile import Batching, Framing, NicProfile, Stage, const

_BLOGS = "ualinkconsortium.org blogs, teledynelecroy.com"
_TARGET = "a plausible share of a round trip below 1 us (from memory)"
_FLIT = const(620, "byte", "E", "one flit of 640 bytes, which has neither preamble nor gap (20 bytes)")
_HEADER = const(
    0, "byte", "V", "flits and operations have headers, packets have not: unit_header, flit_payload"
)

PROFILE = NicProfile(
    name="ualink",
    description="UALink endpoint: operations of 256 B in 640 B flits, link replay, credits, a single switch",
    initiator="device",
    wire_format="ualink",
    reliability="go_back_n",
    ops=("put", "get"),
    single_hop=True,
    stages=(
        Stage(name="command", place="post", latency=const(10_000, "ps", "assumed", _TARGET)),
        Stage(
            name="memory_read",
            place="send",
            latency=const(100_000, "ps", "assumed", _TARGET),
            reads_payload=True,
        ),
        Stage(name="transaction_tx", place="send", latency=const(20_000, "ps", "assumed", _TARGET)),
        Stage(name="link_tx", place="send", latency=const(20_000, "ps", "assumed", _TARGET)),
        Stage(name="link_rx", place="ingress", latency=const(20_000, "ps", "assumed", _TARGET)),
        Stage(name="transaction_rx", place="ingress", latency=const(20_000, "ps", "assumed", _TARGET)),
        Stage(name="memory_write", place="receive", latency=const(50_000, "ps", "assumed", _TARGET)),
        Stage(name="flag", place="notify", latency=const(10_000, "ps", "assumed", _TARGET)),
    ),
    mtu_bytes=const(
        4096, "byte", "assumed", "sixteen operations that travel together, as other NICs' packets"
    ),
    first_header_bytes=_HEADER,
    other_header_bytes=_HEADER,
    ack_bytes=_FLIT,
    data_class=DATA_CLASS,
    ack_class=const(3, "priority", "assumed", "responses travel with data"),
    window_pkts=const(64, "packets", "assumed", "256 KiB in flight for each stream"),
    ack_every_pkts=ACK_EVERY,
    tx_depth_pkts=TX_DEPTH,
    ack_latency=const(20_000, "ps", "assumed", "the far end's transaction layer"),
    retransmission_timeout=const(1_000_000_000, "ps", "assumed", "1 ms; the link replays long before"),
    retry_limit=RETRIES,
    framing=Framing(
        unit=const(256, "byte", "V", f"largest operation: {_BLOGS}"),
        unit_header=const(
            16, "byte", "E", f"with 628 of 640 bytes gives 92.4 %; 93 % effective is public: {_BLOGS}"
        ),
        flit=const(640, "byte", "V", f"flit of the data link layer, ten of 64 bytes: {_BLOGS}"),
        flit_payload=const(628, "byte", "M", "12 bytes of header, segment headers and CRC"),
    ),
    batching=Batching(
        bytes=const(4096, "byte", "assumed", "as many operations as travel together"),
        delay=const(0, "ps", "assumed", "packs what waits for the port, and waits for nothing"),
        header=const(0, "byte", "E", "each operation has its unit_header, alone or not"),
    ),
    congestions=FIXED_WINDOW,
    notes=(
        "needs all cards on one switch",
        "a flit that a lone response fills is not shared with other responses, against this NIC",
    ),
)
