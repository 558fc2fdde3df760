// What stops a class of an egress port: the neighbour's pause (IEEE 802.1Qbb), or its credits being used up.
// Shared by every node that sends. MAC control frames: 64 bytes, one 16-bit word for each class.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>

#include "frame.hpp"
#include "types.hpp"

namespace tb {

/// One quantum of a pause is the time of so many bytes (512 bits; IEEE 802.3 annex 31B.2).
inline constexpr std::uint32_t kQuantumBytes = 64;

/// Make `frame` a MAC control frame of `opcode` for the classes in `enabled`.
inline void make_control(Frame& frame, Opcode opcode, std::uint32_t enabled) {
  frame.format = WireFormat::kMacControl;
  frame.opcode = opcode;
  frame.frame_bytes = kMinFrameBytes;
  frame.credit = static_cast<std::uint16_t>(enabled);
  frame.src = frame.dst = 0xFFFF;
}

inline std::uint64_t cells_of(std::uint32_t frame_bytes, std::uint32_t cell_bytes) {
  return (frame_bytes + cell_bytes - 1U) / cell_bytes;
}

/// The egress side of one port.
class EgressGate {
 public:
  struct Stops {
    std::uint64_t frames = 0;  // control frames that named the class
    ps_t stopped_ps = 0;       // ended stops
  };

  void set_credits(std::uint32_t cells, std::uint32_t cell_bytes) {
    credits_ = cells;
    cell_bytes_ = cell_bytes;
  }
  /// Whether anything can be stopped at all right now.
  [[nodiscard]] bool free() const { return stopped_ == 0 && credits_ == 0; }
  /// The earliest time from which class `c` may send a frame; kNever: only a control frame can tell.
  [[nodiscard]] ps_t opens_ps(std::uint32_t c, std::uint32_t frame_bytes) const {
    if (credits_ != 0 && used_[c] + cells_of(frame_bytes, cell_bytes_) > credits_) return kNever;
    return until_ps_[c];
  }
  [[nodiscard]] bool stopped(std::uint32_t c, ps_t now_ps) const { return until_ps_[c] > now_ps; }
  /// Until when class `c` is stopped, if nothing more is heard; only while it is.
  [[nodiscard]] ps_t until_ps(std::uint32_t c) const { return until_ps_[c]; }
  /// Since when class `c` has been stopped without a break; only while it is.
  [[nodiscard]] ps_t since_ps(std::uint32_t c) const { return since_ps_[c]; }
  [[nodiscard]] const Stops& stops(std::uint32_t c) const { return stops_[c]; }
  /// How long class `c` had been stopped by `now_ps`.
  [[nodiscard]] ps_t stopped_ps(std::uint32_t c, ps_t now_ps) const {
    const ps_t open = until_ps_[c] != 0 ? std::min(now_ps, until_ps_[c]) : 0;
    return stops_[c].stopped_ps + (open > since_ps_[c] ? open - since_ps_[c] : 0);
  }

  /// Forget every pause; returns the classes that were stopped.
  std::uint32_t open(ps_t now_ps) {
    std::uint32_t opened = 0;
    for (std::uint32_t c = 0; c < kClasses; ++c) {
      stops_[c].stopped_ps = stopped_ps(c, now_ps);
      opened |= std::uint32_t{stopped(c, now_ps)} << c;
      until_ps_[c] = 0;
    }
    stopped_ = 0;
    return opened;
  }
  /// A frame leaves.
  void sent(std::uint32_t c, std::uint32_t frame_bytes) {
    if (credits_ != 0) used_[c] += static_cast<std::uint32_t>(cells_of(frame_bytes, cell_bytes_));
  }
  /// A control frame takes effect, its quanta at the pace at which it came itself; returns the classes that changed
  /// between stopped and free.
  std::uint32_t receive(const Frame& frame, ps_t now_ps) {
    std::uint32_t changed = 0;
    for (std::uint32_t c = 0; c < kClasses; ++c) {
      if ((frame.credit >> c & 1U) == 0) continue;
      const std::uint16_t word = control_word(frame, c);
      if (frame.opcode == Opcode::kCredit) {
        used_[c] -= static_cast<std::uint16_t>(word - freed_[c]);
        freed_[c] = word;
        changed |= 1U << c;
      } else if (pause(c, ps_t{word} * kQuantumBytes * wire_byte_ps(frame), now_ps)) {
        changed |= 1U << c;
      }
    }
    return changed;
  }

 private:
  bool pause(std::uint32_t c, ps_t duration_ps, ps_t now_ps) {
    ++stops_[c].frames;
    const bool before = stopped(c, now_ps);
    if (!before && until_ps_[c] != 0) stops_[c].stopped_ps += until_ps_[c] - since_ps_[c];  // it ran out
    if (!before) since_ps_[c] = now_ps;
    if (duration_ps == 0) {
      stops_[c].stopped_ps += now_ps - since_ps_[c];
      until_ps_[c] = 0;
      stopped_ &= ~(1U << c);
    } else {
      until_ps_[c] = now_ps + duration_ps;
      stopped_ |= 1U << c;
    }
    return before != (duration_ps != 0);
  }

  std::uint32_t stopped_ = 0;  // bit c: paused, or was when last heard of
  std::uint32_t credits_ = 0;  // of each class [cells of the neighbour]; 0: not used
  std::uint32_t cell_bytes_ = 1;
  std::array<ps_t, kClasses> until_ps_{};
  std::array<ps_t, kClasses> since_ps_{};
  std::array<std::uint32_t, kClasses> used_{};
  std::array<std::uint16_t, kClasses> freed_{};
  std::array<Stops, kClasses> stops_{};
};

}  // namespace tb
