// The two halves of a stream between two cards: sequence numbers, windows and what is outstanding. Pure bookkeeping.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "../testbed/engine/frame.hpp"
#include "../testbed/engine/ring.hpp"
#include "../testbed/engine/rng.hpp"
#include "../testbed/engine/types.hpp"

namespace tb {

/// The full number whose low 24 bits are `low24`, nearest to `reference`.
inline std::uint64_t extend_psn(std::uint64_t reference, std::uint32_t low24) {
  const auto difference = static_cast<std::int32_t>((low24 - static_cast<std::uint32_t>(reference)) << 8) >> 8;
  return reference + static_cast<std::uint64_t>(static_cast<std::int64_t>(difference));
}

/// The full number whose low 16 bits are `low16`, nearest to `reference`.
inline std::uint64_t extend_msn(std::uint64_t reference, std::uint16_t low16) {
  const auto difference = static_cast<std::int16_t>(static_cast<std::uint16_t>(low16 - reference));
  return reference + static_cast<std::uint64_t>(static_cast<std::int64_t>(difference));
}

/// UDP source port of a flow: the dynamic range, chosen by a hash as RoCEv2 NICs do.
inline std::uint16_t flow_entropy(std::uint32_t src, std::uint32_t dst) {
  return static_cast<std::uint16_t>(0xC000U | (mix64((std::uint64_t{src} << 32) | dst) & 0x3FFFU));
}

inline constexpr std::uint32_t kNoRecord = 0xFFFFFFFFU;

/// A message that the sender has not yet seen acknowledged.
struct TxMessage {
  std::uint64_t first_psn = 0;
  std::uint64_t msn = 0;
  std::uint32_t bytes = 0;
  std::uint32_t packets = 0;
  std::uint32_t record = kNoRecord;
};

struct TxStream {
  std::uint32_t peer = 0;
  std::uint32_t window_pkts = 0;  // granted by the receiver, or fixed
  std::uint64_t next_msn = 0;
  std::uint64_t end_psn = 0;       // behind the last packet posted
  std::uint64_t next_psn = 0;      // to be sent next
  std::uint64_t high_psn = 0;      // behind the highest ever sent
  std::uint64_t una_psn = 0;       // oldest unacknowledged
  std::uint64_t sacked = 0;        // bit i: una + 1 + i has arrived
  std::uint64_t repaired_psn = 0;  // holes below this are queued already
  std::uint64_t cut = 0;           // bit i: una + i was cut by a switch and is queued for that
  Ring<std::uint64_t> holes;       // to be sent again
  Ring<TxMessage> messages;
  std::size_t sending = 0;  // place in `messages` of the one that next_psn belongs to
  ps_t deadline_ps = 0;
  std::uint32_t retries = 0;
  bool ready = false;  // in the scheduler's ring
  bool timed = false;  // in the timer heap

  [[nodiscard]] bool outstanding() const { return una_psn < high_psn; }
  [[nodiscard]] bool arrived(std::uint64_t psn) const {
    return psn < una_psn || (psn > una_psn && psn - una_psn <= 64 && ((sacked >> (psn - una_psn - 1)) & 1U) != 0);
  }
  [[nodiscard]] bool sendable() const {
    return !holes.empty() || (next_psn < end_psn && next_psn < una_psn + window_pkts);
  }
  /// Place in `messages` of the message that packet `psn` belongs to.
  [[nodiscard]] std::size_t find(std::uint64_t psn, std::size_t from) {
    std::size_t place = from;
    while (psn >= messages.at(place).first_psn + messages.at(place).packets) ++place;
    return place;
  }
};

/// A multi-packet message of which some packets have arrived (selective reliability).
struct RxMessage {
  std::uint64_t msn = 0;
  std::uint64_t first_psn = 0;
  std::uint64_t last_psn = 0;
  std::uint64_t bytes = 0;
  std::uint32_t received = 0;
  std::uint32_t marks = 0;
  bool has_first = false;
  bool has_last = false;
};

struct RxStream {
  std::uint32_t peer = 0;
  std::uint64_t expected_psn = 0;
  std::uint64_t arrived = 0;  // bit i: expected + 1 + i has arrived
  std::uint64_t msn = 0;      // go-back-N: messages completed; selective: highest seen
  std::uint32_t packets_since_ack = 0;
  std::uint32_t marks = 0;  // go-back-N: of the message under way
  std::uint64_t bytes = 0;  // go-back-N: of the message under way
  bool nak_sent = false;
  std::vector<RxMessage> partial;

  [[nodiscard]] bool has(std::uint64_t psn) const {
    return psn > expected_psn && psn - expected_psn <= 64 && ((arrived >> (psn - expected_psn - 1)) & 1U) != 0;
  }
  /// Note the arrival of packet `psn` > = expected; false if it has arrived before.
  bool note(std::uint64_t psn) {
    if (psn == expected_psn) {
      bool more = true;
      while (more) {
        ++expected_psn;
        more = (arrived & 1U) != 0;
        arrived >>= 1;
      }
      return true;
    }
    const std::uint64_t bit = std::uint64_t{1} << (psn - expected_psn - 1);
    if ((arrived & bit) != 0) return false;
    arrived |= bit;
    return true;
  }
};

}  // namespace tb
