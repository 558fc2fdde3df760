// What a switch counts at each port, and the way of a traced packet through it: the same for all switches.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "../engine/entity.hpp"
#include "../engine/telemetry.hpp"

namespace tb {

/// Counters that are left out while they are zero.
inline void note(Counters& all, const std::string& counter, std::uint64_t value) {
  if (value != 0) all[counter] = value;
}

/// Templates, since each switch lays its counts out as its own speed demands; the names are the same.
template <typename Sent, typename Counts>
void list_class(Counters& all, const std::string& of, const Sent& sent, const Counts& counts, std::uint64_t queue_bytes,
                std::uint64_t watermark_bytes) {
  note(all, of + "out_frames", sent.out_frames);
  note(all, of + "out_octets", sent.out_bytes);
  note(all, of + "out_discards", counts.discards);
  note(all, of + "out_discard_octets", counts.discard_bytes);
  note(all, of + "queue_bytes", queue_bytes);
  note(all, of + "queue_watermark_bytes", watermark_bytes);
  note(all, of + "ecn_marked", counts.marked);
}

template <typename Counts>
void list_port(Counters& all, const std::string& of, const Counts& counts, const Port& port,
               std::uint64_t control_frames_tx) {
  const std::uint64_t control_frames_rx = counts.pause_frames_rx + counts.credit_frames_rx;
  all[of + "in_frames"] = counts.in_frames;
  all[of + "in_octets"] = counts.in_bytes;
  all[of + "in_unicast_packets"] = counts.in_frames - counts.fcs_errors - control_frames_rx;
  all[of + "out_frames"] = counts.out_frames;
  all[of + "out_octets"] = counts.out_bytes;
  all[of + "out_unicast_packets"] = counts.out_frames - control_frames_tx;
  all[of + "out_discards"] = counts.discards;
  all[of + "out_discard_octets"] = counts.discard_bytes;
  note(all, of + "queue_bytes", counts.bytes);
  all[of + "queue_watermark_bytes"] = counts.bytes_watermark;
  note(all, of + "fcs_errors", counts.fcs_errors);
  if (port.impairment != nullptr) {
    note(all, of + "llr_replays", port.impairment->replays);
    note(all, of + "reordered", port.impairment->reordered);
    note(all, of + "duplicated", port.impairment->duplicated);
    note(all, of + "no_carrier_discards", port.impairment->without_carrier);
  }
  note(all, of + "pause_frames_rx", counts.pause_frames_rx);
  note(all, of + "credit_frames_rx", counts.credit_frames_rx);
}

template <typename Counts>
void count_sent(Counts& counts, const Frame& frame) {
  ++counts.out_frames;
  counts.out_bytes += frame.frame_bytes;
}

template <typename Counts>
void count_discard(Counts& counts, const Frame& frame) {
  ++counts.discards;
  counts.discard_bytes += frame.frame_bytes;
}

/// A MAC control frame has come; false if it is damaged.
template <typename Counts>
bool count_control(Counts& counts, const Frame& frame) {
  ++counts.in_frames;
  counts.in_bytes += frame.frame_bytes;
  const bool whole = (frame.flags & kFlagCorrupt) == 0;
  counts.fcs_errors += whole ? 0 : 1;
  counts.pause_frames_rx += whole && frame.opcode == Opcode::kPause ? 1 : 0;
  counts.credit_frames_rx += whole && frame.opcode != Opcode::kPause ? 1 : 0;
  return whole;
}

/// What lies before a traced packet on its arrival, and which flow has most of it.
class Ahead {
 public:
  explicit Ahead(HopSample& stop) : stop_(stop) {}
  void add(const Frame& frame) {
    stop_.ahead_bytes += frame.frame_bytes;
    std::uint32_t& of_flow = by_flow_[(std::uint32_t{frame.src} << 16) | frame.dst];
    of_flow += frame.frame_bytes;
    if (of_flow <= stop_.ahead_flow_bytes) return;
    stop_.ahead_flow_bytes = of_flow;
    stop_.ahead_src = frame.src;
    stop_.ahead_dst = frame.dst;
  }

 private:
  HopSample& stop_;
  std::map<std::uint32_t, std::uint32_t> by_flow_;
};

}  // namespace tb
