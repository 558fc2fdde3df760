// Time and index types of the engine. Includes nothing of the project.
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace tb {

/// Simulated time or duration [picoseconds].
using ps_t = std::uint64_t;

/// Wide products of fixed-point arithmetic.
__extension__ using wide_t = unsigned __int128;

/// "No event": larger than any reachable time, small enough that adding a delay cannot overflow.
inline constexpr ps_t kNever = ps_t{1} << 62;

/// Preamble and start-of-frame delimiter before every frame [bytes] (IEEE 802.3 clause 3.1.1).
inline constexpr std::uint32_t kPreambleBytes = 8;
/// Preamble, delimiter and minimum inter-packet gap around every frame [bytes].
inline constexpr std::uint32_t kWireOverheadBytes = 20;
/// Smallest Ethernet frame, FCS included [bytes].
inline constexpr std::uint32_t kMinFrameBytes = 64;
/// Frame check sequence, counted in every `frame_bytes` [bytes].
inline constexpr std::uint32_t kFcsBytes = 4;

inline void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

}  // namespace tb
