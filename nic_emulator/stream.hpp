// The two halves of a stream between two cards: sequence numbers, windows and what is outstanding. Pure bookkeeping.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "../testbed/engine/frame.hpp"
#include "../testbed/engine/ring.hpp"
#include "../testbed/engine/rng.hpp"
#include "../testbed/engine/types.hpp"
#include "congestion.hpp"

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

/// UDP source port of a flow's path: the dynamic range, chosen by a hash as RoCEv2 NICs do; further paths follow it.
inline std::uint16_t flow_entropy(std::uint32_t src, std::uint32_t dst, std::uint32_t path = 0) {
  return static_cast<std::uint16_t>(0xC000U | ((mix64((std::uint64_t{src} << 32) | dst) + path) & 0x3FFFU));
}

inline constexpr std::uint32_t kNoRecord = 0xFFFFFFFFU;
inline constexpr std::uint32_t kMarkCounterMask = 0xFFFFFFU;
inline constexpr std::uint32_t kMostPaths = 64;

/// A message that the sender has not yet seen acknowledged; or several of one size that share a packet.
struct TxMessage {
  std::uint64_t first_psn = 0;
  std::uint64_t msn = 0;
  std::uint64_t first_byte = 0;  // of the stream
  std::uint32_t bytes = 0;       // of all of them
  std::uint32_t packets = 0;
  std::uint32_t record = kNoRecord;  // of one alone; of several the place of the first in the NIC's shared records
  std::uint32_t request_bytes = 0;   // get request: how much it asks for
  std::uint16_t count = 1;
  Op op = Op::kPut;
};

/// Messages that wait for others to share a packet with them.
struct Batch {
  std::uint64_t number = 0;  // of batches so far
  std::uint32_t each_bytes = 0;
  Op op = Op::kPut;
  std::vector<std::uint32_t> records;

  [[nodiscard]] bool open() const { return !records.empty(); }
};

/// A message that has been asked for and is not here yet.
struct AwaitedGet {
  std::uint64_t msn = 0;
  std::uint32_t record = kNoRecord;
  bool here = false;
};

/// Packets on their way, for those that count bytes or take times: only streams with congestion control have it.
class Flight {
 public:
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  /// Packet `psn` leaves for the first time or again.
  void sent(std::uint64_t psn, std::uint32_t bytes, ps_t now_ps) {
    if (psn == una_ + packets_.size()) packets_.push({});
    Packet& packet = packets_.at(psn - una_);
    packet.sent_ps = packet.bytes == 0 ? now_ps : 0;  // a second copy makes its round trip ambiguous (Karn)
    packet.bytes = bytes;
    if (!packet.away) bytes_ += bytes;
    packet.away = true;
  }
  /// Packet `psn` is taken for lost; returns its bytes, 0 if that was known.
  std::uint32_t lost(std::uint64_t psn) {
    if (psn < una_ || psn - una_ >= packets_.size()) return 0;
    Packet& packet = packets_.at(psn - una_);
    if (!packet.away) return 0;
    packet.away = false;
    bytes_ -= packet.bytes;
    return packet.bytes;
  }
  /// Packet `psn` has arrived; returns its bytes, 0 if that was known.
  std::uint32_t arrived(std::uint64_t psn) {
    if (psn < una_ || psn - una_ >= packets_.size()) return 0;
    Packet& packet = packets_.at(psn - una_);
    if (packet.done) return 0;
    packet.done = true;
    if (packet.away) bytes_ -= packet.bytes;
    packet.away = false;
    return packet.bytes;
  }
  /// Everything below `psn` has arrived; returns the bytes of which that is news.
  std::uint64_t arrived_below(std::uint64_t psn) {
    std::uint64_t news = 0;
    for (; una_ < psn && !packets_.empty(); ++una_) {
      news += arrived(una_);
      packets_.pop();
    }
    una_ = psn;
    return news;
  }
  /// When packet `psn` left, if it is known and certain; else 0.
  [[nodiscard]] ps_t sent_ps(std::uint64_t psn) {
    return psn >= una_ && psn - una_ < packets_.size() ? packets_.at(psn - una_).sent_ps : 0;
  }

 private:
  struct Packet {
    ps_t sent_ps = 0;
    std::uint32_t bytes = 0;
    bool away = false;
    bool done = false;
  };
  Ring<Packet> packets_;
  std::uint64_t una_ = 0;
  std::uint64_t bytes_ = 0;
};

/// What a sender that sprays knows of its paths: each is as good as the others, but one that was marked is left out
/// once.
class Paths {
 public:
  std::uint32_t next(std::uint32_t count) {
    for (std::uint32_t tried = 0; tried < count; ++tried) {
      const std::uint32_t path = turn_++ % count;
      const std::uint64_t bit = std::uint64_t{1} << path;
      if ((marked_ & bit) == 0) return path;
      marked_ &= ~bit;
    }
    return turn_++ % count;
  }
  void marked(std::uint32_t path) { marked_ |= std::uint64_t{1} << path; }

 private:
  std::uint64_t marked_ = 0;
  std::uint32_t turn_ = 0;
};

struct TxStream {
  std::uint32_t peer = 0;
  std::uint32_t card = 0;         // behind this NIC, that sends
  std::uint32_t window_pkts = 0;  // granted by the receiver, or fixed
  std::uint64_t next_msn = 0;
  std::uint64_t end_psn = 0;       // behind the last packet posted
  std::uint64_t next_psn = 0;      // to be sent next
  std::uint64_t high_psn = 0;      // behind the highest ever sent
  std::uint64_t una_psn = 0;       // oldest unacknowledged
  std::uint64_t sacked = 0;        // bit i: una + 1 + i has arrived
  std::uint64_t repaired_psn = 0;  // holes below this are queued already
  std::uint64_t cut = 0;           // bit i: una + i was cut by a switch and is queued for that
  std::uint64_t end_byte = 0;      // behind the last posted
  Ring<std::uint64_t> holes;       // to be sent again
  Ring<TxMessage> messages;
  std::size_t sending = 0;  // place in `messages` of the one that next_psn belongs to
  ps_t deadline_ps = 0;
  ps_t timed_ps = kNever;  // of its entry in the timer heap that counts, if it has one
  std::uint32_t retries = 0;
  std::uint32_t not_ready = 0;  // times in a row that the receiver had no receive posted
  std::uint32_t traffic_class = 0;
  Op kind = Op::kPut;       // kGetResponse: what the peer asked for
  bool ready = false;       // in the scheduler's ring
  bool probed = false;      // since the last acknowledgement
  bool paced = false;       // waits for `pace_ps`
  ps_t pace_ps = 0;         // no packet before this
  std::uint32_t marks = 0;  // the receiver's counter of marked bytes
  Batch batch;
  bool batch_due = false;  // the batch leaves as soon as it can
  Ring<AwaitedGet> gets;
  std::uint64_t lost_bytes = 0;  // found since anybody asked
  Paths paths;
  std::unique_ptr<CongestionControl> congestion;
  std::unique_ptr<Flight> flight;

  [[nodiscard]] bool outstanding() const { return una_psn < high_psn; }
  [[nodiscard]] bool arrived(std::uint64_t psn) const {
    return psn < una_psn || (psn > una_psn && psn - una_psn <= 64 && ((sacked >> (psn - una_psn - 1)) & 1U) != 0);
  }
  [[nodiscard]] bool sendable() const {
    const bool more = (next_psn < end_psn || batch_due) && next_psn < una_psn + window_pkts;
    if (holes.empty() && !more) return false;
    return !paced && (flight == nullptr || flight->bytes() < congestion->window_bytes());
  }
  /// Place in `messages` of the message that packet `psn` belongs to.
  [[nodiscard]] std::size_t find(std::uint64_t psn, std::size_t from) {
    std::size_t place = from;
    while (psn >= messages.at(place).first_psn + messages.at(place).packets) ++place;
    return place;
  }
  /// Packet `psn` is taken for lost.
  void lose(std::uint64_t psn) {
    if (flight != nullptr) lost_bytes += flight->lost(psn);
  }
};

/// A multi-packet message of which some packets have arrived.
struct RxMessage {
  std::uint64_t msn = 0;
  std::uint64_t first_psn = 0;
  std::uint64_t last_psn = 0;
  std::uint64_t bytes = 0;
  std::uint32_t received = 0;
  std::uint32_t marks = 0;
  bool has_first = false;
  bool has_last = false;
  Op op = Op::kPut;  // of the last packet: others do not tell all of it in every format
};

/// One or several whole messages, as the last packet of them left them.
struct Arrived {
  std::uint64_t msn = 0;
  std::uint64_t bytes = 0;  // of all of them
  ps_t memory_ps = 0;
  std::uint32_t marks = 0;
  std::uint32_t request_bytes = 0;
  std::uint16_t count = 1;
  Op op = Op::kPut;
};

struct RxStream {
  std::uint32_t peer = 0;
  std::uint32_t card = 0;  // behind this NIC, that receives
  bool response = false;   // of what this card asked for
  std::uint64_t expected_psn = 0;
  std::uint64_t arrived = 0;   // bit i: expected + 1 + i has arrived
  std::uint64_t msn = 0;       // in order: messages completed; else: highest seen
  std::uint64_t next_msn = 0;  // ordered completion: of the message to complete next
  std::uint32_t packets_since_ack = 0;
  std::uint32_t marks = 0;         // in order: of the message under way
  std::uint32_t marked_bytes = 0;  // so far, as the sender is told it
  std::uint64_t bytes = 0;         // in order: of the message under way
  ps_t cnp_ps = 0;                 // the next notification may leave
  ps_t last_memory_ps = 0;         // ordered completion: of the message before
  bool nak_sent = false;
  std::uint64_t newest_psn = 0;     // unreliable: highest that has arrived
  std::vector<std::uint64_t> seen;  // unreliable: which of the latest have arrived, by number
  std::uint32_t posted = 0;         // receives
  Ring<ps_t> reposts;               // when further receives will be posted
  std::vector<RxMessage> partial;
  std::vector<Arrived> held;  // ordered completion: whole, but not its turn

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
