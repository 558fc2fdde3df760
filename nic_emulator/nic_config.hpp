// What a NIC is made of, as plain values.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "../testbed/engine/frame.hpp"
#include "../testbed/engine/types.hpp"
#include "stage.hpp"

namespace tb {

/// The class selector code point of a frame's class (RFC 2474): class << 3.
inline constexpr std::uint8_t kDscpOfClass = 0xFF;
/// A sender that is told so often that no receive is posted goes on for ever (InfiniBand volume 1, 9.7.5.2.8).
inline constexpr std::uint32_t kRetryForever = 7;

struct NicConfig {
  WireFormat format = WireFormat::kThin;
  std::uint32_t cards = 1;  // behind this NIC, 1 to 4

  // packets
  std::uint32_t mtu_bytes = 4096;         // payload of a full packet
  std::uint32_t first_header_bytes = 26;  // Ethernet to FCS around the payload of a first packet
  std::uint32_t other_header_bytes = 26;
  std::uint32_t ack_bytes = 64;  // whole acknowledgement frame
  std::uint32_t unit_bytes = 0;  // each so many bytes of payload have a header of their own; 0: none has
  std::uint32_t unit_header_bytes = 0;
  std::uint32_t flit_bytes = 0;          // a packet fills whole flits of so many bytes on the wire; 0: no flits
  std::uint32_t flit_payload_bytes = 0;  // of headers and payload in a flit
  std::uint8_t data_class = 3;
  std::uint8_t ack_class = 3;
  std::uint8_t data_dscp = kDscpOfClass;
  std::uint8_t ack_dscp = kDscpOfClass;
  std::uint32_t virtual_channels = 1;  // streams take turns in so many classes from data_class on
  bool int_enabled = false;            // thin: data carries in-band telemetry

  // small messages that share a packet
  std::uint32_t batch_bytes = 0;         // most payload of such a packet; 0: none is shared
  std::uint32_t batch_header_bytes = 0;  // for each message in it
  ps_t batch_delay_ps = 0;               // the first waits so long for others at most; 0: only while it cannot leave

  // reliability
  std::string reliability = "selective";  // a part
  bool nacks = true;
  bool ordered = false;                   // messages of a stream complete in order
  std::uint32_t reorder_window_pkts = 0;  // a hole is lost once a packet so far behind it has come
  std::uint32_t window_pkts = 64;         // receiver's grant, or fixed limit of packets in flight for each stream
  std::uint32_t ack_every_pkts = 16;      // and with every last packet of a message
  std::uint32_t retry_limit = 7;
  ps_t rto_ps = 0;
  ps_t tlp_ps = 0;                  // tail-loss probe: the last packet again after so long; 0: none
  std::uint32_t receive_depth = 0;  // receives that a stream has posted for sends; 0: always enough
  ps_t rnr_timer_ps = 0;            // a sender without receive waits so long
  std::uint32_t rnr_retry_limit = kRetryForever;

  // congestion control and paths
  std::string congestion;  // a part; empty: none
  std::map<std::string, std::int64_t> congestion_parameters;
  ps_t cnp_interval_ps = 0;   // a marked packet is told at once, so often at most; 0: never
  std::uint32_t paths = 1;    // entropy values over which a stream sprays its packets
  bool avoid_marked = false;  // an entropy whose packet was marked is left out once

  // times
  std::uint32_t tx_depth_pkts = 16;  // of each card between scheduler and wire
  std::uint32_t tx_depth_bytes = 0;  // payload after which no more packet joins them; 0: no limit
  ps_t ack_latency_ps = 0;
  ps_t ingress_latency_ps = 0;
  ps_t pause_reaction_ps = 0;                   // last bit of a pause frame to its effect
  std::vector<std::pair<ps_t, ps_t>> restarts;  // [from, until), in order of time: the NIC is off
  std::vector<StageConfig> post, send, receive, notify;
  std::vector<StageConfig> signal;  // behind notify, for a put with signal
  std::vector<StageConfig> local;   // between two cards behind this NIC, instead of send, wire and receive
  std::vector<StageConfig> bridge;  // and between cards 2 n and 2 n + 1, if there are any
};

}  // namespace tb
