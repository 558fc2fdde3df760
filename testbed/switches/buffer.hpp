// The packet buffer of a shared-memory switch: who may hold how many cells. Pure bookkeeping, in cells.
//
// Every frame is counted twice, as in SAI: on its way in, by (ingress port, priority group), and on its way out, by
// (egress port, queue). Either side has a reserved part and a dynamic threshold (Choudhury and Hahne, "Dynamic Queue
// Length Thresholds for Shared-Memory Packet Switches", 1998): beyond the reserve a queue or group may take cells while
// its shared part, the new frame included, is at most 2^alpha_log2 times the free shared cells before it.
//
// A lossless priority group that is beyond its threshold goes on in its headroom and asks its neighbour to stop; a
// lossless queue has no threshold of its own. Cells leave the headroom first. The neighbour may go on once the headroom
// is empty and the group is `xon_offset` cells below its threshold, or within its reserve.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "../engine/frame.hpp"

namespace tb {

/// No dynamic threshold.
inline constexpr std::int32_t kNoThreshold = 127;

/// In place of an ingress port: the frame came by none, and no priority group is charged for it.
inline constexpr std::uint32_t kFromCpu = 0xFFFF;

struct BufferConfig {
  std::uint64_t shared_cells = 0;
  std::uint64_t reserved_cells = 0;  // of each egress queue
  std::int32_t alpha_log2 = 0;       // of an egress queue
  std::uint64_t pg_reserved_cells = 0;
  std::int32_t ingress_alpha_log2 = kNoThreshold;
  std::int32_t lossless_alpha_log2 = 0;
  std::uint32_t lossless_classes = 0;  // bit c
  std::uint64_t xon_offset_cells = 0;
  std::vector<std::uint64_t> headroom_cells;  // of a lossless priority group, by ingress port
  std::uint64_t headroom_pool_cells = 0;      // all of them together
  bool credits = false;                       // some ports may grant credits
};

/// kRefused by the queue, kGroupRefused by the priority group, kNoHeadroom by a lossless one.
enum class Admission : std::uint8_t { kAccepted, kStop, kRefused, kGroupRefused, kNoHeadroom };

class SharedBuffer {
 public:
  SharedBuffer(BufferConfig config, std::uint32_t ports);

  void prefetch(std::uint32_t ingress, std::uint32_t c) const {
    if (keeps_groups_) __builtin_prefetch(&groups_[ingress * kClasses + c], 1);
  }
  /// Take `cells` for a frame, or say why not. kStop: accepted, and the neighbour must stop.
  Admission admit(std::uint32_t ingress, std::uint32_t egress, std::uint32_t c, std::uint64_t cells);
  /// Frames that come by this port are sent on credit: they are counted, and never refused.
  void grant_credits(std::uint32_t ingress) { credited_[ingress] = true; }
  /// Give them back.
  void release(std::uint32_t ingress, std::uint32_t egress, std::uint32_t c, std::uint64_t cells);
  /// Cells that a lossless frame lacked when it was last refused for want of headroom.
  [[nodiscard]] std::uint64_t missing_cells() const { return missing_cells_; }

  /// A lossless group that has asked its neighbour to stop and may now let it go on is taken off the list and
  /// returned as ingress * 8 + class; kNone: there is none.
  std::uint32_t next_resumed();
  static constexpr std::uint32_t kNone = 0xFFFFFFFFU;
  [[nodiscard]] bool any_stopped() const { return !stopped_.empty(); }
  [[nodiscard]] bool stopped(std::uint32_t ingress, std::uint32_t c) const { return group(ingress, c).stopped; }
  /// Frames' cells given back by the group so far; standing still while it is stopped, it is stuck.
  [[nodiscard]] std::uint64_t released(std::uint32_t ingress, std::uint32_t c) const {
    return group(ingress, c).released;
  }

  [[nodiscard]] std::uint64_t used_cells() const { return used_; }
  [[nodiscard]] std::uint64_t shared_watermark() const { return shared_watermark_; }
  [[nodiscard]] std::uint64_t headroom_pool_watermark() const { return headroom_watermark_; }
  [[nodiscard]] std::uint64_t group_watermark(std::uint32_t ingress, std::uint32_t c) const {
    return group(ingress, c).watermark;
  }
  [[nodiscard]] std::uint64_t headroom_watermark(std::uint32_t ingress, std::uint32_t c) const {
    return group(ingress, c).headroom_watermark;
  }
  [[nodiscard]] bool keeps_groups() const { return keeps_groups_; }

 private:
  struct Group {
    std::uint64_t cells = 0;     // reserved and shared
    std::uint64_t headroom = 0;  // beyond
    std::uint64_t released = 0;
    std::uint64_t watermark = 0, headroom_watermark = 0;
    bool stopped = false;
  };
  [[nodiscard]] const Group& group(std::uint32_t ingress, std::uint32_t c) const {
    return groups_[ingress * kClasses + c];
  }
  [[nodiscard]] bool lossless(std::uint32_t c) const { return (config_.lossless_classes >> c & 1U) != 0; }
  static std::uint64_t beyond(std::uint64_t cells, std::uint64_t reserved) {
    return cells > reserved ? cells - reserved : 0;
  }
  static std::uint64_t threshold(std::uint64_t free, std::int32_t alpha_log2) {
    return alpha_log2 >= 0 ? free << alpha_log2 : free >> -alpha_log2;
  }
  [[nodiscard]] static std::uint64_t left(std::uint64_t whole, std::uint64_t used) { return beyond(whole, used); }
  [[nodiscard]] bool may_resume(const Group& group) const;
  bool enter_group(Group& group, std::uint32_t ingress, std::uint32_t c, std::uint64_t cells);

  BufferConfig config_;
  bool keeps_groups_;
  std::vector<std::uint64_t> queues_;  // cells by egress * 8 + class
  std::vector<Group> groups_;          // by ingress * 8 + class
  std::vector<std::uint32_t> stopped_;
  std::vector<bool> credited_;  // by ingress
  std::uint64_t used_ = 0;
  std::uint64_t shared_used_ = 0;   // by queues
  std::uint64_t shared_taken_ = 0;  // by groups
  std::uint64_t headroom_used_ = 0;
  std::uint64_t shared_watermark_ = 0;
  std::uint64_t headroom_watermark_ = 0;
  std::uint64_t missing_cells_ = 0;
};

inline Admission SharedBuffer::admit(std::uint32_t ingress, std::uint32_t egress, std::uint32_t c,
                                     std::uint64_t cells) {
  std::uint64_t& queue = queues_[egress * kClasses + c];
  const std::uint64_t shared_after = beyond(queue + cells, config_.reserved_cells);
  const std::uint64_t shared_more = shared_after - beyond(queue, config_.reserved_cells);
  const bool keeps_group = keeps_groups_ && ingress != kFromCpu;
  const bool is_lossless = lossless(c) || (keeps_group && credited_[ingress]);
  if (shared_more > 0 && !is_lossless) {
    const std::uint64_t free = left(config_.shared_cells, shared_used_);
    if (shared_more > free || shared_after > threshold(free, config_.alpha_log2)) return Admission::kRefused;
  }
  Admission result = Admission::kAccepted;
  if (keeps_group) {
    Group& from = groups_[ingress * kClasses + c];
    const bool before = from.stopped;
    if (!enter_group(from, ingress, c, cells)) return is_lossless ? Admission::kNoHeadroom : Admission::kGroupRefused;
    if (from.stopped && !before) result = Admission::kStop;
  }
  queue += cells;
  used_ += cells;
  shared_used_ += shared_more;
  if (shared_used_ > shared_watermark_) shared_watermark_ = shared_used_;
  return result;
}

inline void SharedBuffer::release(std::uint32_t ingress, std::uint32_t egress, std::uint32_t c, std::uint64_t cells) {
  std::uint64_t& queue = queues_[egress * kClasses + c];
  shared_used_ -= beyond(queue, config_.reserved_cells) - beyond(queue - cells, config_.reserved_cells);
  queue -= cells;
  used_ -= cells;
  if (!keeps_groups_ || ingress == kFromCpu) return;
  Group& from = groups_[ingress * kClasses + c];
  from.released += cells;
  const std::uint64_t of_headroom = from.headroom < cells ? from.headroom : cells;
  from.headroom -= of_headroom;
  headroom_used_ -= of_headroom;
  const std::uint64_t rest = cells - of_headroom;
  shared_taken_ -= beyond(from.cells, config_.pg_reserved_cells) - beyond(from.cells - rest, config_.pg_reserved_cells);
  from.cells -= rest;
}

}  // namespace tb
