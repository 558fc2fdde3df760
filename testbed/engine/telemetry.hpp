// What a run can look at: series of depths and pauses, sampled frames, the way of traced packets, in-band telemetry.
// Nothing here changes what the models do, in-band telemetry apart, whose bytes travel with the frames.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "frame.hpp"
#include "rng.hpp"

namespace tb {

/// What a `QueueSample` tells.
enum class SampleKind : std::uint8_t {
  kQueueDepth = 0,     // of one class of an egress port [bytes]
  kPauseReceived = 1,  // the class is stopped by the neighbour: 1, free again: 0
  kPauseSent = 2,      // the neighbour has been told to stop the class: 1, to go on: 0
  kBufferUsed = 3,     // of the whole switch [bytes]
  kPortDepth = 4,      // of all classes of an egress port [bytes]
};

/// A change of something that a run follows over time.
struct QueueSample {
  ps_t time_ps;
  std::uint32_t entity;
  std::uint16_t port;
  std::uint8_t traffic_class;
  SampleKind kind;
  std::uint64_t value;
};
static_assert(sizeof(QueueSample) == 24);

inline constexpr std::size_t kSampledHeader = 128;  // sFlow v5: the default of sFlowFlowSamplingHeaderSize
inline constexpr std::uint16_t kNoEgress = 0xFFFF;

/// One frame that a switch sampled (sFlow), as it came in.
struct FlowSample {
  ps_t time_ps = 0;
  std::uint32_t entity = 0;
  std::uint16_t port = 0;            // ingress
  std::uint16_t egress = kNoEgress;  // where forwarding sends it; kNoEgress: nowhere
  std::uint16_t src = 0;
  std::uint16_t dst = 0;
  std::uint8_t traffic_class = 0;
  std::uint8_t header_bytes = 0;  // of `header`
  std::uint16_t reserved = 0;
  std::uint32_t frame_bytes = 0;
  std::uint32_t payload_bytes = 0;
  std::uint32_t sequence = 0;  // frames that have come in by this port
  std::uint32_t psn = 0;
  std::array<unsigned char, kSampledHeader> header{};  // the frame's first bytes, in its format
};
static_assert(sizeof(FlowSample) == 168);

/// A frame that a switch handed to its CPU.
struct PuntSample {
  ps_t time_ps;  // of its lookup
  std::uint32_t entity;
  std::uint16_t port;  // ingress
  std::uint16_t src;
  std::uint16_t dst;
  std::uint16_t reserved;
  std::uint32_t psn;
};
static_assert(sizeof(PuntSample) == 24);

enum class HopOutcome : std::uint8_t { kAtOnce = 0, kWaited = 1, kDropped = 2, kTrimmed = 3 };

/// One stop of a traced packet: a node's egress port.
struct HopSample {
  ps_t arrived_ps = 0;                 // ready for the port
  ps_t started_ps = 0;                 // first bit out, or dropped
  ps_t paused_ps = 0;                  // of the time between: its class was stopped
  std::uint64_t ahead_bytes = 0;       // queued before it on arrival, in its class or a higher one
  std::uint32_t ahead_flow_bytes = 0;  // of which the largest flow had
  std::uint32_t psn = 0;
  std::uint32_t entity = 0;
  std::uint16_t port = 0;
  std::uint16_t src = 0, dst = 0;
  std::uint16_t ahead_src = 0, ahead_dst = 0;  // that flow
  std::uint8_t traffic_class = 0;
  HopOutcome outcome = HopOutcome::kAtOnce;
};
static_assert(sizeof(HopSample) == 56);

/// What one switch writes into a packet: node id, interfaces, latency, queue (INT v2.1 metadata bits 0 to 3).
struct IntHop {
  std::uint32_t node = 0;
  std::uint16_t ingress = 0;
  std::uint16_t egress = 0;
  std::uint32_t latency_ns = 0;       // first bit in to first bit out
  std::uint32_t queue_occupancy = 0;  // class in the top 8 bits; bytes / 64 on arrival in the others, saturated
};
inline constexpr std::uint32_t kIntMaxHops = 8;
inline constexpr std::uint32_t kIntShimBytes = 4;
inline constexpr std::uint32_t kIntHopBytes = 16;

/// The hops of a packet on its way; the frame knows how many there are.
struct alignas(64) IntHops {
  std::array<IntHop, kIntMaxHops> hop{};
};
static_assert(sizeof(IntHops) == 128);

/// The same as it stands in bytes.
struct IntStack {
  std::uint32_t hops = 0;
  std::array<IntHop, kIntMaxHops> hop{};
  [[nodiscard]] std::uint32_t bytes() const { return kIntShimBytes + hops * kIntHopBytes; }
};

/// A hop as a receiver found it in a packet.
struct IntSample {
  ps_t time_ps;  // arrival of the packet
  std::uint16_t src;
  std::uint16_t dst;
  std::uint32_t psn;
  std::uint32_t place;  // 0: first switch
  IntHop hop;
};
static_assert(sizeof(IntSample) == 40);

/// Telemetry stacks of the packets of one group.
class IntPool {
 public:
  std::uint32_t take() {
    if (free_.empty()) {
      free_.push_back(static_cast<std::uint32_t>(stacks_.size()));
      stacks_.emplace_back();
    }
    const std::uint32_t place = free_.back();
    free_.pop_back();
    return place;
  }
  void give(std::uint32_t place) { free_.push_back(place); }
  [[nodiscard]] IntHops& at(std::uint32_t place) { return stacks_[place]; }

 private:
  std::vector<IntHops> stacks_;
  std::vector<std::uint32_t> free_;
};

/// Everything that a group keeps for those who look; each list up to its limit.
class Telemetry {
 public:
  std::vector<QueueSample> queue_samples;
  std::vector<FlowSample> flow_samples;
  std::vector<PuntSample> punt_samples;
  std::vector<HopSample> hop_samples;
  std::vector<IntSample> int_samples;
  IntPool int_stacks;

  /// Follow queues, pauses and buffers until a time, for at most so many samples.
  void follow(ps_t until_ps, std::size_t limit) {
    until_ps_ = until_ps;
    limit_ = limit;
  }
  [[nodiscard]] ps_t until_ps() const { return until_ps_; }
  void add(const QueueSample& sample) {
    if (queue_samples.size() < limit_) queue_samples.push_back(sample);
  }
  /// A class of a port is stopped, or free again; nothing beyond the time that is followed.
  void add_pause(ps_t now_ps, std::uint32_t entity, std::uint32_t port, std::uint32_t c, SampleKind kind, bool on) {
    if (now_ps >= until_ps_) return;
    add(QueueSample{now_ps, entity, static_cast<std::uint16_t>(port), static_cast<std::uint8_t>(c), kind,
                    std::uint64_t{on}});
  }
  /// What waits for an egress port in one class and in all, and in the whole switch.
  void add_depths(ps_t now_ps, std::uint32_t entity, std::uint32_t egress, std::uint32_t c, std::uint64_t class_bytes,
                  std::uint64_t port_bytes, std::uint64_t buffer_bytes) {
    const auto port = static_cast<std::uint16_t>(egress);
    add(QueueSample{now_ps, entity, port, static_cast<std::uint8_t>(c), SampleKind::kQueueDepth, class_bytes});
    add(QueueSample{now_ps, entity, port, 0, SampleKind::kPortDepth, port_bytes});
    add(QueueSample{now_ps, entity, 0, 0, SampleKind::kBufferUsed, buffer_bytes});
  }
  /// Whether there was room for it.
  bool add(const FlowSample& sample) {
    if (flow_samples.size() == kKept) return false;
    flow_samples.push_back(sample);
    return true;
  }
  void add(const PuntSample& sample) {
    if (punt_samples.size() < kKeptPunts) punt_samples.push_back(sample);
  }
  /// The hops of a packet at its receiver. When there are more than are kept, every second packet goes, by a hash of
  /// its identity: what is left is spread evenly over the run, and the same whichever entities share a group.
  void add(const Frame& frame, ps_t now_ps) {
    if (!keeps(frame.src, frame.dst, frame.psn)) return;
    const IntHops& stack = int_stacks.at(telemetry_place(frame));
    for (std::uint32_t i = 0; i < telemetry_hops(frame); ++i) {
      int_samples.push_back({now_ps, frame.src, frame.dst, frame.psn, i, stack.hop[i]});
    }
    while (int_samples.size() > kKeptHops && int_interval_ < kMostInterval) {
      int_interval_ *= 2;
      std::erase_if(int_samples, [this](const IntSample& one) { return !keeps(one.src, one.dst, one.psn); });
    }
  }
  /// One packet in so many has its hops in `int_samples`.
  [[nodiscard]] std::uint64_t int_interval() const { return int_interval_; }

  /// Packets whose way is written down.
  void trace(std::uint32_t src, std::uint32_t dst, std::uint32_t psn) { traced_.insert(key(src, dst, psn)); }
  [[nodiscard]] bool tracing() const { return !traced_.empty(); }
  [[nodiscard]] bool traces(const Frame& frame) const { return traced_.contains(key(frame.src, frame.dst, frame.psn)); }
  /// A traced packet is ready for an egress port, whose class had been stopped for `stopped_ps` by then.
  HopSample& ready(const Frame& frame, std::uint32_t entity, std::uint32_t port, std::uint32_t c, ps_t stopped_ps,
                   ps_t now_ps) {
    HopSample& stop = open(frame);
    stop = HopSample{};
    stop.arrived_ps = now_ps;
    stop.paused_ps = stopped_ps;  // until it leaves, when the difference is known
    stop.psn = frame.psn;
    stop.entity = entity;
    stop.port = static_cast<std::uint16_t>(port);
    stop.src = frame.src;
    stop.dst = frame.dst;
    stop.traffic_class = static_cast<std::uint8_t>(c);
    return stop;
  }
  /// And leaves by it.
  void leaves(const Frame& frame, ps_t stopped_ps, ps_t now_ps) {
    HopSample& stop = open(frame);
    stop.paused_ps = std::min(stopped_ps - stop.paused_ps, now_ps - stop.arrived_ps);
    const HopOutcome outcome = stop.arrived_ps != now_ps ? HopOutcome::kWaited : HopOutcome::kAtOnce;
    close(frame, now_ps, frame.opcode == Opcode::kTrimmed ? HopOutcome::kTrimmed : outcome);
  }
  /// Its stop, to be changed while it waits.
  HopSample& open(const Frame& frame) { return under_way_[&frame]; }
  /// Write the stop down.
  void close(const Frame& frame, ps_t now_ps, HopOutcome outcome) {
    const auto found = under_way_.find(&frame);
    if (found == under_way_.end()) return;
    found->second.started_ps = now_ps;
    found->second.outcome = outcome;
    hop_samples.push_back(found->second);
    under_way_.erase(found);
  }

 private:
  static constexpr std::size_t kKept = 1'000'000;
  static constexpr std::size_t kKeptPunts = 100'000;
  static constexpr std::size_t kKeptHops = 1U << 17;
  static constexpr std::uint64_t kMostInterval = std::uint64_t{1} << 32;
  static std::uint64_t key(std::uint32_t src, std::uint32_t dst, std::uint32_t psn) {
    return (std::uint64_t{src} << 40) | (std::uint64_t{dst} << 24) | psn;
  }
  [[nodiscard]] bool keeps(std::uint32_t src, std::uint32_t dst, std::uint32_t psn) const {
    return (mix64(key(src, dst, psn)) & (int_interval_ - 1)) == 0;
  }
  std::unordered_set<std::uint64_t> traced_;
  std::unordered_map<const Frame*, HopSample> under_way_;
  ps_t until_ps_ = 0;
  std::size_t limit_ = 0;
  std::uint64_t int_interval_ = 1;
};

}  // namespace tb
