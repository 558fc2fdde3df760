// Explicit congestion notification: which frames a queue marks. Shared by all switches.
#pragma once
#include <cstdint>
#include <vector>

#include "../engine/group.hpp"
#include "../engine/rng.hpp"
#include "../engine/types.hpp"

namespace tb {

/// Marking of one class (RED as DCQCN and DCTCP use it): never up to kmin, always beyond kmax, in between with a
/// probability that rises linearly to pmax.
struct EcnConfig {
  std::uint64_t kmin_bytes = 0;
  std::uint64_t kmax_bytes = 0;  // 0: the class is not marked
  std::uint32_t pmax_ppm = 0;
};

/// Random numbers of the marking: this and the port.
inline constexpr std::uint32_t kPurposeMarking = 0x10000;

class Marker {
 public:
  Marker(const std::vector<EcnConfig>& by_class, const NodeContext& context) : by_class_(by_class) {
    if (by_class.empty()) return;
    for (std::uint32_t port = 0; port < context.ports; ++port) {
      random_.emplace_back(context.seed, context.id, kPurposeMarking + port);
    }
  }
  /// Whether any class is marked at all.
  [[nodiscard]] bool on() const { return !by_class_.empty(); }
  /// Mark a frame of class `c` for `egress` or not, as a queue of so many bytes has it; true if so. Only while `on`.
  bool mark(Group& group, std::uint32_t egress, std::uint32_t c, std::uint64_t depth_bytes, Frame* frame) {
    if (!hits(by_class_[c], egress, depth_bytes)) return false;
    if ((frame->flags & kFlagMarked) == 0) {
      frame->flags |= kFlagMarked;
      group.changed(frame);
    }
    return true;
  }

 private:
  bool hits(const EcnConfig& ecn, std::uint32_t egress, std::uint64_t depth_bytes) {
    if (ecn.kmax_bytes == 0 || depth_bytes <= ecn.kmin_bytes) return false;
    if (depth_bytes > ecn.kmax_bytes) return true;
    const std::uint64_t random = random_[egress].next() & 0xFFFFFFFFU;
    const wide_t at = wide_t{random} * 1'000'000U * (ecn.kmax_bytes - ecn.kmin_bytes);
    return at < (wide_t{ecn.pmax_ppm} * (depth_bytes - ecn.kmin_bytes)) << 32;
  }
  const std::vector<EcnConfig>& by_class_;
  std::vector<RandomStream> random_;  // by egress port
};

}  // namespace tb
