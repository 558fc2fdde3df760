// What window-based congestion control needs beside its window: where a round trip's worth of data ends, and whether
// the window is what holds the sender back.
#pragma once
#include <algorithm>
#include <cstdint>

#include "../congestion.hpp"

namespace tb {

/// A window of data: over when more bytes than were outstanding at its start have arrived or are lost. Stands for
/// "until something beyond that time's SND.NXT is acknowledged", without sequence numbers.
class DataWindow {
 public:
  void start(std::uint64_t in_flight_bytes) { left_ = in_flight_bytes + 1; }
  void settle(std::uint64_t bytes) { left_ -= std::min(left_, bytes); }
  [[nodiscard]] bool over() const { return left_ == 0; }

 private:
  std::uint64_t left_ = 0;
};

/// Whether another packet would not have fitted before this acknowledgement. A window that its sender does not fill
/// says nothing about the network, and does not grow (RFC 9438 section 5.8, RFC 7661).
[[nodiscard]] inline bool window_limited(const Acknowledged& ack, std::uint64_t window_bytes, std::uint64_t mss_bytes) {
  return ack.in_flight_bytes + ack.bytes + mss_bytes > window_bytes;
}

}  // namespace tb
