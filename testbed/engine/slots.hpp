// The event order of one entity, and of the entities of one group: a winner tree over a fixed set of slots.
// Every event source of an entity (an ingress port, an egress port, a timer) is one slot that holds the time of its
// earliest event; sources that hold several events keep them in time order themselves. Ties go to the lower slot,
// which makes the order of events a function of the model alone.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "types.hpp"

namespace tb {

class SlotTree {
 public:
  SlotTree() { resize(1); }
  /// Set the number of slots; all become kNever.
  void resize(std::uint32_t slots) {
    leaves_ = std::bit_ceil(std::max(slots, 2U));
    node_.assign(std::size_t{2} * leaves_, kNever);
  }
  /// Have at least so many slots; those that there were keep their times.
  void reserve(std::uint32_t slots) {
    if (slots <= leaves_) return;
    const std::vector<ps_t> before(node_.begin() + leaves_, node_.end());
    resize(slots);
    for (std::uint32_t slot = 0; slot < before.size(); ++slot) set(slot, before[slot]);
  }
  [[nodiscard]] ps_t min() const { return node_[1]; }
  [[nodiscard]] ps_t get(std::uint32_t slot) const { return node_[leaves_ + slot]; }
  /// The lowest slot that holds the minimum.
  [[nodiscard]] std::uint32_t argmin() const {
    std::uint32_t i = 1;
    const ps_t best = node_[1];
    while (i < leaves_) {
      i <<= 1;
      i += static_cast<std::uint32_t>(node_[i] != best);
    }
    return i - leaves_;
  }
  void set(std::uint32_t slot, ps_t time) {
    std::uint32_t i = leaves_ + slot;
    node_[i] = time;
    while (i > 1) {
      const ps_t winner = std::min(node_[i], node_[i ^ 1U]);
      i >>= 1;
      if (node_[i] == winner) return;
      node_[i] = winner;
    }
  }
  /// The minimum over all slots but one.
  [[nodiscard]] ps_t min_except(std::uint32_t slot) const {
    ps_t best = kNever;
    for (std::uint32_t i = leaves_ + slot; i > 1; i >>= 1) best = std::min(best, node_[i ^ 1U]);
    return best;
  }

 private:
  std::vector<ps_t> node_;
  std::uint32_t leaves_ = 0;
};

}  // namespace tb
