"""Scale-up Ethernet: transactions of an accelerator packed into packets with an 8-byte reliability header.

The endpoint is part of the accelerator: no PCIe, no doorbell. Its round trip target is public (below 2 us, with a
switch), its stages are not. Link-level retry and credits are what links do that have them (switch_settings.llr, cbfc).
"""

from __future__ import annotations

from nic_emulator.common import ACK_EVERY, CONTROL_CLASS, RETRIES, TX_DEPTH
from nic_emulator.congestion_defaults import FIXED_WINDOW
from nic_emulator.profile import Batching, Choice, NicProfile, Stage, const

_SIM = "default of SUE-Sim: kaima2022/SUE-Sim configuration.md"
_TARGET = "a plausible share of the public target, below 2 us round trip with a switch (Broadcom SUE)"
_RELIABILITY = "reliability header 8: xdp2 src/include/sue/sue.h"
_STANDARD = const(54, "byte", "V", f"Ethernet 14, IPv4 20, UDP 8, {_RELIABILITY}, FCS 4")
_COMPRESSED = const(16, "byte", "E", f"compressed header with class and addresses, {_RELIABILITY}, FCS 4")

PROFILE = NicProfile(
    name="sue",
    description="Scale-up Ethernet endpoint: packed transactions, compressed header, go-back-N, four virtual channels",
    initiator="device",
    wire_format="sue_compressed",
    reliability="go_back_n",
    ops=("put", "get"),
    stages=(
        Stage(name="command", place="post", latency=const(20_000, "ps", "assumed", _TARGET)),
        Stage(
            name="memory_read",
            place="send",
            latency=const(150_000, "ps", "assumed", _TARGET),
            reads_payload=True,
        ),
        Stage(
            name="packing",
            place="send",
            latency=const(12_000, "ps", "V", f"3 to 12 ns: {_SIM}"),
        ),
        Stage(name="mac_tx", place="send", latency=const(40_000, "ps", "assumed", _TARGET)),
        Stage(name="mac_rx", place="ingress", latency=const(40_000, "ps", "assumed", _TARGET)),
        Stage(
            name="unpacking",
            place="ingress",
            latency=const(12_000, "ps", "assumed", f"as long as packing, {_SIM}"),
        ),
        Stage(name="memory_write", place="receive", latency=const(100_000, "ps", "assumed", _TARGET)),
        Stage(name="flag", place="notify", latency=const(20_000, "ps", "assumed", _TARGET)),
    ),
    mtu_bytes=const(2048, "byte", "V", f"largest burst, in packets of at most 2,500 bytes: {_SIM}"),
    first_header_bytes=_COMPRESSED,
    other_header_bytes=_COMPRESSED,
    ack_bytes=const(64, "byte", "E", "the smallest Ethernet frame holds headers and acknowledgement"),
    data_class=const(2, "priority", "assumed", "the first of four; SONiC's lossless ones are among them"),
    ack_class=CONTROL_CLASS,
    window_pkts=const(128, "packets", "assumed", "256 KiB in flight for each stream"),
    ack_every_pkts=ACK_EVERY,
    tx_depth_pkts=TX_DEPTH,
    ack_latency=const(15_000, "ps", "V", f"time to process an acknowledgement: {_SIM}"),
    retransmission_timeout=const(
        1_000_000_000, "ps", "assumed", "1 ms; links retry by themselves long before"
    ),
    retry_limit=RETRIES,
    batching=Batching(
        bytes=const(2048, "byte", "V", f"largest burst: {_SIM}"),
        delay=const(0, "ps", "assumed", "packs what waits for the port, and waits for nothing"),
        header=const(
            4,
            "byte",
            "assumed",
            "number and length of each; its commands are opaque to SUE, and part of the payload",
        ),
    ),
    virtual_channels=const(4, "channels", "V", _SIM),
    congestions=FIXED_WINDOW,
    choices={
        "header": Choice(
            about="the compressed header of scale-up switches, or Ethernet, IPv4 and UDP",
            options={
                "compressed": {},
                "standard": {
                    "wire_format": "sue",
                    "first_header_bytes": _STANDARD,
                    "other_header_bytes": _STANDARD,
                },
            },
        ),
    },
    notes=(
        "a transaction is 256 bytes (SUE-Sim); messages below it are packed as they are",
        "on a veth the compressed header sits behind an Ethernet header that is not modelled",
    ),
)
