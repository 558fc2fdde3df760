"""The transparent NIC: device-initiated streams over a thin Ethernet header, in the manner of d-Matrix JetStream.

Public: 400 Gb/s standard Ethernet, PCIe 5.0, FPGA, device-initiated, "two microseconds"
(https://www.theregister.com/2025/09/08/dmatrix_jetstream_nic/). What the two microseconds span, the wire format,
reliability and flow control are not public. This profile reads them as card memory to card memory, back to back, for a
small message: its stages and a 3 m DAC add up to 2.0 us by choice; with reading=one_switch they are taken to include a
switch and a second cable, and the assumed stages shrink until all of that adds up. So 2 us is an input here, never a
result.
"""

from __future__ import annotations

from dataclasses import replace

from nic_emulator.common import (
    ACK_EVERY,
    ACK_IN_HARDWARE,
    CONTROL_CLASS,
    DATA_CLASS,
    PCIE_PER_KIB,
    PCIE_SWITCH,
    RETRIES,
    TX_DEPTH,
)
from nic_emulator.congestion_defaults import DCTCP, FIXED_WINDOW
from nic_emulator.profile import Batching, Choice, NicProfile, Stage, const

_SPLIT = "a plausible share of the public 2 us, of which no breakdown is public (nic_emulator/transparent.py)"
_MAC = (
    "half of FPGA MAC+PCS+FEC, 255 ns (no FEC) to 685 ns (RS-FEC) TX+RX loopback on F-tile (intel.com 750198)"
)
_FORMAT = "docs/wire-format.md; the real format is not public"
_HEADER = const(26, "byte", "assumed", f"Ethernet 14 + thin header 8 + FCS 4: {_FORMAT}", (26, 52))
_UDP_LAYERS = "Ethernet 14, IPv4 20, UDP 8, thin header 8, FCS 4"
_UDP_HEADER = const(54, "byte", "assumed", f"{_UDP_LAYERS}: {_FORMAT}")

_STAGES = (
    Stage(name="descriptor", place="post", latency=const(50_000, "ps", "assumed", _SPLIT)),
    Stage(
        name="card_read",
        place="send",
        latency=const(250_000, "ps", "assumed", _SPLIT),
        reads_payload=True,
    ),
    Stage(name="pcie_switch", place="send", latency=PCIE_SWITCH),
    Stage(
        name="nic_pcie",
        place="send",
        latency=const(200_000, "ps", "assumed", _SPLIT),
        occupancy_per_kib=PCIE_PER_KIB,
    ),
    Stage(name="nic_pipeline", place="send", latency=const(150_000, "ps", "assumed", _SPLIT)),
    Stage(name="mac_tx", place="send", latency=const(260_000, "ps", "E", _MAC, (127_500, 342_500))),
    Stage(name="mac_rx", place="ingress", latency=const(260_000, "ps", "E", _MAC, (127_500, 342_500))),
    Stage(name="nic_pipeline", place="ingress", latency=const(150_000, "ps", "assumed", _SPLIT)),
    Stage(
        name="nic_pcie",
        place="receive",
        latency=const(200_000, "ps", "assumed", _SPLIT),
        occupancy_per_kib=PCIE_PER_KIB,
    ),
    Stage(name="pcie_switch", place="receive", latency=PCIE_SWITCH),
    Stage(name="card_write", place="receive", latency=const(125_000, "ps", "assumed", _SPLIT)),
    Stage(name="flag", place="notify", latency=const(25_000, "ps", "assumed", _SPLIT)),
    Stage(name="signal", place="signal", latency=const(25_000, "ps", "assumed", "a second flag")),
)
_ONE_SWITCH_PS = 600_000
_CABLE_PS = 81_000  # 3 m DAC at 400 Gb/s, and 64 bytes with their headers
_PUBLIC_PS = 2_000_000
_WITH_SWITCH = f"{_SPLIT}; taken to include a switch of 600 ns and two 3 m DAC of 78 ns each"


def _including_a_switch(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The assumed stages, shortened alike until all of them, a switch and two cables take the public time."""
    split = [stage for stage in stages if stage.latency.source == _SPLIT]
    others_ps = sum(one.latency.number for one in stages if one not in split and one.place != "signal")
    left_ps = _PUBLIC_PS - _ONE_SWITCH_PS - 2 * _CABLE_PS - others_ps
    whole_ps = sum(stage.latency.number for stage in split)
    return tuple(
        replace(
            stage,
            latency=const(stage.latency.number * left_ps // whole_ps, "ps", "assumed", _WITH_SWITCH),
        )
        if stage in split
        else stage
        for stage in stages
    )


PROFILE = NicProfile(
    name="transparent",
    description="Transparent NIC: device-initiated, thin L2 header, credits, selective retransmit (JetStream-like)",
    initiator="device",
    wire_format="thin",
    reliability="selective",
    ops=("put", "put_signal", "get"),
    stages=_STAGES,
    mtu_bytes=const(4096, "byte", "assumed", _FORMAT),
    first_header_bytes=_HEADER,
    other_header_bytes=_HEADER,
    ack_bytes=const(64, "byte", "assumed", f"the smallest Ethernet frame: {_FORMAT}", (64, 128)),
    data_class=DATA_CLASS,
    ack_class=CONTROL_CLASS,
    window_pkts=const(
        64, "packets", "assumed", "credits for 256 KiB a stream: 400 Gb/s times 5 us", (32, 64)
    ),
    ack_every_pkts=ACK_EVERY,
    tx_depth_pkts=TX_DEPTH,
    ack_latency=ACK_IN_HARDWARE,
    retransmission_timeout=const(100_000_000, "ps", "assumed", "100 us, some ten loaded round trips"),
    retry_limit=RETRIES,
    reorder_window_pkts=const(32, "packets", "assumed", "half the window; only where switches reorder flows"),
    paths=const(1, "paths", "assumed", "one path; more need UDP's source port"),
    tail_loss_probe=const(0, "ps", "assumed", "off: a time-out finds what a lost tail hides"),
    batching=Batching(
        bytes=const(0, "byte", "assumed", "off: each message has a packet of its own"),
        delay=const(500_000, "ps", "assumed", "half of a small message's way without the wire"),
        header=const(4, "byte", "assumed", f"number and length of each: {_FORMAT}"),
    ),
    congestions=FIXED_WINDOW | DCTCP,
    choices={
        "reading": Choice(
            about="what the public 2 us span: card to card back to back, or with one switch between them",
            options={"back_to_back": {}, "one_switch": {"stages": _including_a_switch(_STAGES)}},
        ),
        "ordered": Choice(
            about="messages complete in the order in which they were posted",
            options={"off": {}, "on": {"ordered": True}},
        ),
        "udp": Choice(
            about="the thin header in IPv4 and UDP, whose source port spreads streams over paths",
            options={
                "off": {},
                "on": {
                    "wire_format": "thin_udp",
                    "first_header_bytes": _UDP_HEADER,
                    "other_header_bytes": _UDP_HEADER,
                    "ack_bytes": const(
                        68, "byte", "assumed", f"{_UDP_LAYERS}, acknowledgement 14: {_FORMAT}"
                    ),
                },
            },
        ),
    },
    notes=("wire format, reliability and flow control are not public",),
)
