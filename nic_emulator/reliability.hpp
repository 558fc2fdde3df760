// Reliability of streams: which packets a receiver takes, what it answers, and what a sender sends again. A part is one
// file in reliability/ with a class, and an entry in `ReliabilityParts`. A part has no state but what the streams hold.
#pragma once
#include <cstdint>
#include <memory>

#include "parts.hpp"
#include "stream.hpp"

namespace tb {

struct ReliabilityConfig {
  std::uint32_t ack_every_pkts = 16;      // and with every last packet of a message
  std::uint32_t reorder_window_pkts = 0;  // a hole is lost once a packet so far behind it has come
  bool nacks = true;                      // the receiver tells of what is missing; else only time-outs find it
};

enum class Answer : std::uint8_t { kNone, kAck, kNack };

/// What a receiver makes of a data packet.
struct Receipt {
  bool fresh = false;         // it is placed
  bool out_of_order = false;  // it came before another that is missing
  Answer answer = Answer::kNone;
};

class Reliability {
 public:
  explicit Reliability(const ReliabilityConfig& config) : config_(config) {}
  virtual ~Reliability() = default;
  Reliability(const Reliability&) = delete;
  Reliability& operator=(const Reliability&) = delete;

  /// Whether packets are placed in the order of their numbers only.
  [[nodiscard]] virtual bool in_order() const = 0;
  /// Whether the receiver answers at all.
  [[nodiscard]] virtual bool acknowledges() const { return true; }
  /// Whether an acknowledgement carries the bitmap and a grant.
  [[nodiscard]] virtual bool selective() const { return false; }

  /// A data packet arrives.
  virtual Receipt receive(RxStream& stream, const Frame& frame, std::uint64_t psn) const = 0;
  /// A packet whose payload a switch has cut arrives: it is lost. `cut` is what the answer names, see Frame::index.
  virtual Answer receive_trimmed(RxStream& stream, std::uint64_t psn, std::uint16_t& cut) const = 0;
  /// An acknowledgement arrives; `una_psn` has moved already, by `moved` packets.
  virtual void acknowledged(TxStream& stream, const Frame& ack, std::uint64_t moved) const = 0;
  /// Nothing has been heard for too long: everything outstanding is to be sent again.
  virtual void timed_out(TxStream& stream) const = 0;
  /// Nothing has been heard for a while: send something whose answer tells what is missing.
  virtual void probe(TxStream& stream) const { send_again(stream, stream.high_psn - 1); }
  /// Packet `psn`, and for an in-order part all behind it, are to be sent again.
  virtual void send_again(TxStream& stream, std::uint64_t psn) const = 0;

 protected:
  ReliabilityConfig config_;  // NOLINT(cppcoreguidelines-non-private-member-variables-in-classes)
};

using ReliabilityFactory = std::unique_ptr<Reliability> (*)(const ReliabilityConfig&);
using ReliabilityParts = Parts<ReliabilityFactory>;

}  // namespace tb
