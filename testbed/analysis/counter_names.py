"""What each counter counts, and what other tools call it. Pure.

A node's counters have names such as `in_octets` behind the place they belong to: `port3.` a port of a switch,
`port3.c1.` a class of it, `c1.` a class of a NIC's port, nothing a NIC or a whole switch. SAI names are those of the
Switch Abstraction Interface (inc/saiport.h, saiqueue.h, saibuffer.h), IF-MIB names those of RFC 2863, ethtool names
those of Linux' mlx5 driver: `ethtool -S` (its counters.rst, en_stats.c) and RDMA's hw_counters (its counters.c). In
them `{c}` is the class. Where theirs counts something else, `differs` says what.
"""

from __future__ import annotations

import re
from functools import cache

from testbed.analysis.counter_meaning import Level, Meaning, Place

_KEY = re.compile(r"(?:port(\d+)\.)?(?:c([0-7])\.)?(\w+)", re.ASCII)

_S, _P, _F = Level.SWITCH, Level.PORT, Level.PFC
_Q, _G, _N = Level.QUEUE, Level.GROUP, Level.NIC
_DAMAGED = "ours counts damaged frames, too"

MEANINGS: tuple[Meaning, ...] = (
    # a switch
    Meaning(
        _S,
        "buffer_used_bytes",
        "bytes",
        "of the packet buffer, in use",
        sai="SAI_BUFFER_POOL_STAT_CURR_OCCUPANCY_BYTES",
        gauge=True,
        sampled=True,
    ),
    Meaning(
        _S,
        "buffer_watermark_bytes",
        "bytes",
        "of the packet buffer, most in use at once beyond the reserves of queues",
        sai="SAI_BUFFER_POOL_STAT_WATERMARK_BYTES",
        gauge=True,
        sampled=True,
    ),
    Meaning(
        _S,
        "headroom_pool_watermark_bytes",
        "bytes",
        "of the headroom of all priority groups, most in use at once",
        sai="SAI_BUFFER_POOL_STAT_XOFF_ROOM_WATERMARK_BYTES",
        gauge=True,
    ),
    Meaning(_S, "no_route_discards", "packets", "dropped for want of a rule", sampled=True),
    Meaning(
        _S,
        "no_live_port_discards",
        "packets",
        "dropped, since every port of their group was down",
        sampled=True,
    ),
    Meaning(_S, "acl_discards", "packets", "dropped, as a rule says"),
    Meaning(_S, "cpu_frames", "packets", "for the CPU port"),
    Meaning(_S, "cpu_out_frames", "packets", "sent by the CPU"),
    # a switch or a NIC
    Meaning(
        Level.NODE, "restart_discards", "packets", "dropped by a restart, or while it lasted", sampled=True
    ),
    # a port of a switch
    Meaning(
        _P,
        "in_octets",
        "octets",
        "received, from Ethernet header to FCS",
        sai="SAI_PORT_STAT_IF_IN_OCTETS",
        if_mib="ifHCInOctets",
        ethtool="rx_bytes_phy",
        sampled=True,
    ),
    Meaning(
        _P,
        "in_frames",
        "packets",
        "received, MAC control and damaged ones included",
        ethtool="rx_packets_phy",
        differs=_DAMAGED,
        sampled=True,
    ),
    Meaning(
        _P,
        "in_unicast_packets",
        "packets",
        "received whole, without MAC control",
        sai="SAI_PORT_STAT_IF_IN_UCAST_PKTS",
        if_mib="ifHCInUcastPkts",
    ),
    Meaning(
        _P,
        "fcs_errors",
        "packets",
        "received damaged",
        sai="SAI_PORT_STAT_IF_IN_ERRORS",
        if_mib="ifInErrors",
        ethtool="rx_crc_errors_phy",
        sampled=True,
    ),
    Meaning(
        _P,
        "out_octets",
        "octets",
        "sent, from Ethernet header to FCS",
        sai="SAI_PORT_STAT_IF_OUT_OCTETS",
        if_mib="ifHCOutOctets",
        ethtool="tx_bytes_phy",
        sampled=True,
    ),
    Meaning(
        _P,
        "out_frames",
        "packets",
        "sent, MAC control included",
        ethtool="tx_packets_phy",
        sampled=True,
    ),
    Meaning(
        _P,
        "out_unicast_packets",
        "packets",
        "sent, without MAC control",
        sai="SAI_PORT_STAT_IF_OUT_UCAST_PKTS",
        if_mib="ifHCOutUcastPkts",
        differs="ifHCOutUcastPkts counts what was discarded, too",
    ),
    Meaning(
        _P,
        "out_discards",
        "packets",
        "for this port, dropped: refused by queue, priority group or headroom, found damaged, or by the watchdog",
        sai="SAI_PORT_STAT_IF_OUT_DISCARDS",
        if_mib="ifOutDiscards",
        ethtool="tx_discards_phy",
        differs="a real switch may count what a priority group refused as discards of the port it came by",
        sampled=True,
    ),
    Meaning(_P, "out_discard_octets", "octets", "of these"),
    Meaning(
        _P,
        "queue_bytes",
        "bytes",
        "waiting in all queues of the port",
        sai="SAI_PORT_STAT_OUT_CURR_OCCUPANCY_BYTES",
        gauge=True,
        sampled=True,
    ),
    Meaning(
        _P,
        "queue_watermark_bytes",
        "bytes",
        "waiting in all queues of the port, most at once",
        sai="SAI_PORT_STAT_OUT_WATERMARK_BYTES",
        gauge=True,
        sampled=True,
    ),
    Meaning(
        _P,
        "egress_buffer_watermark_bytes",
        "bytes",
        "of the egress buffer behind the virtual output queues, most in use at once",
        gauge=True,
    ),
    Meaning(
        _P,
        "pause_frames_rx",
        "packets",
        "PFC frames received",
        ethtool="rx_pause_ctrl_phy",
        sampled=True,
    ),
    Meaning(
        _P,
        "pause_frames_tx",
        "packets",
        "PFC frames sent",
        ethtool="tx_pause_ctrl_phy",
        sampled=True,
    ),
    Meaning(
        _P,
        "credit_frames_rx",
        "packets",
        "credit frames received",
        sai="SAI_PORT_STAT_CBFC_NUM_CF_UPDATE_MESSAGES_RX",
    ),
    Meaning(
        _P,
        "credit_frames_tx",
        "packets",
        "credit frames sent",
        sai="SAI_PORT_STAT_CBFC_NUM_CF_UPDATE_MESSAGES_TX",
    ),
    Meaning(
        _P,
        "llr_replays",
        "events",
        "frames that link-level retry sent again",
        sai="SAI_PORT_STAT_LLR_TX_REPLAY",
    ),
    Meaning(_P, "reordered", "packets", "held up on the wire while others passed them"),
    Meaning(_P, "duplicated", "packets", "that the wire delivered twice"),
    Meaning(_P, "no_carrier_discards", "packets", "sent while the link had no carrier"),
    # a class of a port: its pauses
    Meaning(
        _F,
        "pfc_rx",
        "packets",
        "PFC frames received that name the class",
        sai="SAI_PORT_STAT_PFC_{c}_RX_PKTS",
        ethtool="rx_prio{c}_pause",
        sampled=True,
    ),
    Meaning(
        _F,
        "pfc_tx",
        "packets",
        "PFC frames sent that name the class",
        sai="SAI_PORT_STAT_PFC_{c}_TX_PKTS",
        ethtool="tx_prio{c}_pause",
        sampled=True,
    ),
    Meaning(
        _F,
        "pause_rx_ps",
        "ps",
        "for which the neighbour had stopped the class",
        sai="SAI_PORT_STAT_PFC_{c}_RX_PAUSE_DURATION_US",
        ethtool="rx_prio{c}_pause_duration",
        differs="theirs are in microseconds",
    ),
    Meaning(
        _F,
        "pause_tx_ps",
        "ps",
        "for which the neighbour was told to stop the class",
        sai="SAI_PORT_STAT_PFC_{c}_TX_PAUSE_DURATION_US",
        ethtool="tx_prio{c}_pause_duration",
        differs="theirs are in microseconds",
    ),
    # a class of an egress port: its queue
    Meaning(
        _Q,
        "out_octets",
        "octets",
        "sent",
        sai="SAI_QUEUE_STAT_BYTES",
        ethtool="tx_prio{c}_bytes",
        sampled=True,
    ),
    Meaning(
        _Q,
        "out_frames",
        "packets",
        "sent",
        sai="SAI_QUEUE_STAT_PACKETS",
        ethtool="tx_prio{c}_packets",
        sampled=True,
    ),
    Meaning(
        _Q,
        "out_discards",
        "packets",
        "for this queue, dropped",
        sai="SAI_QUEUE_STAT_DROPPED_PACKETS",
        sampled=True,
    ),
    Meaning(_Q, "out_discard_octets", "octets", "of these", sai="SAI_QUEUE_STAT_DROPPED_BYTES"),
    Meaning(
        _Q,
        "queue_bytes",
        "bytes",
        "waiting",
        sai="SAI_QUEUE_STAT_CURR_OCCUPANCY_BYTES",
        gauge=True,
        sampled=True,
    ),
    Meaning(
        _Q,
        "queue_watermark_bytes",
        "bytes",
        "waiting, most at once",
        sai="SAI_QUEUE_STAT_WATERMARK_BYTES",
        gauge=True,
        sampled=True,
    ),
    Meaning(
        _Q,
        "ecn_marked",
        "packets",
        "marked as having met congestion (CE)",
        sai="SAI_QUEUE_STAT_WRED_ECN_MARKED_PACKETS",
        sampled=True,
    ),
    Meaning(
        _Q,
        "trimmed",
        "packets",
        "cut to their headers instead of dropped",
        sai="SAI_QUEUE_STAT_TRIM_PACKETS",
        sampled=True,
    ),
    Meaning(_Q, "watchdog_storms", "events", "times that the PFC watchdog emptied the queue"),
    Meaning(_Q, "watchdog_discards", "packets", "dropped by it; in out_discards, too"),
    # a class of an ingress port: its priority group
    Meaning(
        _G,
        "pg_discards",
        "packets",
        "that the group or its headroom refused; in out_discards of the port they were for, too",
        sai="SAI_INGRESS_PRIORITY_GROUP_STAT_DROPPED_PACKETS",
        ethtool="rx_prio{c}_discards",
        sampled=True,
    ),
    Meaning(
        _G,
        "pg_watermark_bytes",
        "bytes",
        "in the buffer without headroom, most at once",
        sai="SAI_INGRESS_PRIORITY_GROUP_STAT_WATERMARK_BYTES",
        gauge=True,
        sampled=True,
    ),
    Meaning(
        _G,
        "headroom_watermark_bytes",
        "bytes",
        "in the headroom, most at once",
        sai="SAI_INGRESS_PRIORITY_GROUP_STAT_XOFF_ROOM_WATERMARK_BYTES",
        gauge=True,
        sampled=True,
    ),
    # a NIC, its cards together
    Meaning(
        _N,
        "tx_octets",
        "octets",
        "sent, from Ethernet header to FCS",
        if_mib="ifHCOutOctets",
        ethtool="tx_bytes_phy",
        sampled=True,
    ),
    Meaning(
        _N, "tx_frames", "packets", "sent", if_mib="ifHCOutUcastPkts", ethtool="tx_packets_phy", sampled=True
    ),
    Meaning(
        _N,
        "rx_octets",
        "octets",
        "received, from Ethernet header to FCS",
        if_mib="ifHCInOctets",
        ethtool="rx_bytes_phy",
        sampled=True,
    ),
    Meaning(
        _N,
        "rx_frames",
        "packets",
        "received, MAC control and damaged ones included",
        ethtool="rx_packets_phy",
        differs=_DAMAGED,
        sampled=True,
    ),
    Meaning(
        _N,
        "rx_fcs_errors",
        "packets",
        "received damaged",
        if_mib="ifInErrors",
        ethtool="rx_crc_errors_phy",
        sampled=True,
    ),
    Meaning(
        _N, "rx_pause_frames", "packets", "PFC frames received", ethtool="rx_pause_ctrl_phy", sampled=True
    ),
    Meaning(_N, "pause_rx_ps", "ps", "for which the neighbour had stopped the class of data"),
    Meaning(_N, "tx_messages", "messages", "posted by the cards"),
    Meaning(_N, "rx_messages", "messages", "complete at the cards"),
    Meaning(_N, "tx_packets", "packets", "of data sent, again included", ethtool="rdma_tx_packets"),
    Meaning(_N, "rx_packets", "packets", "of data received", ethtool="rdma_rx_packets"),
    Meaning(_N, "tx_retransmits", "packets", "of data sent again", sampled=True),
    Meaning(_N, "tx_shared_packets", "packets", "of data that carried several messages"),
    Meaning(_N, "tx_acks", "packets", "acknowledgements sent"),
    Meaning(_N, "rx_acks", "packets", "acknowledgements received"),
    Meaning(_N, "tx_naks", "packets", "negative acknowledgements sent"),
    Meaning(
        _N, "rx_naks", "packets", "negative acknowledgements received", ethtool="packet_seq_err", sampled=True
    ),
    Meaning(
        _N,
        "tx_timeouts",
        "events",
        "retransmission timers that ran out",
        ethtool="local_ack_timeout_err",
        sampled=True,
    ),
    Meaning(_N, "tx_probes", "packets", "sent again early, to learn of a loss at the end"),
    Meaning(
        _N,
        "tx_not_ready",
        "packets",
        "answers that no receive was posted (RNR NAK)",
        ethtool="out_of_buffer",
        differs="theirs counts the packets dropped for it",
    ),
    Meaning(_N, "rx_not_ready", "packets", "such answers received", ethtool="rnr_nak_retry_err"),
    Meaning(
        _N, "rx_out_of_order", "packets", "that were not the next", ethtool="out_of_sequence", sampled=True
    ),
    Meaning(_N, "rx_duplicates", "packets", "that had come before", ethtool="duplicate_request"),
    Meaning(_N, "rx_incomplete", "messages", "given up, since a packet was lost"),
    Meaning(_N, "rx_trimmed", "packets", "that a switch had cut to their headers"),
    Meaning(
        _N,
        "rx_ecn_marked",
        "packets",
        "of data marked as having met congestion (CE)",
        ethtool="np_ecn_marked_roce_packets",
        sampled=True,
    ),
    Meaning(_N, "tx_cnps", "packets", "congestion notifications sent", ethtool="np_cnp_sent", sampled=True),
    Meaning(
        _N, "rx_cnps", "packets", "congestion notifications received", ethtool="rp_cnp_handled", sampled=True
    ),
)

MEANING_ORDER = {one: number for number, one in enumerate(MEANINGS)}
"""Where each stands in the tables above."""

_OF_CLASS = (_F, _Q, _G)
_BY_PLACE = {(one.name, one.level in _OF_CLASS): one for one in MEANINGS}


@cache
def place_of(key: str) -> tuple[Place, str]:
    """`port3.c1.pfc_rx` is (port 3, class 1), `pfc_rx`; a NIC's port is 0. Raises ValueError for no such name."""
    found = _KEY.fullmatch(key)
    if found is None:
        raise ValueError(f"'{key}' is no name of a counter")
    port, traffic_class, name = found.groups()
    if traffic_class is None:
        return Place(None if port is None else int(port)), name
    return Place(int(port or 0), int(traffic_class)), name


@cache
def meaning_of(key: str) -> Meaning:
    """What a counter of a node is; one that no table names counts events of its place."""
    place, name = place_of(key)
    known = _BY_PLACE.get((name, place.traffic_class is not None))
    if known is not None:
        return known
    if place.traffic_class is not None:
        return Meaning(_Q, name, "events", "")
    return Meaning(_S if place.port is None else _P, name, "events", "")
