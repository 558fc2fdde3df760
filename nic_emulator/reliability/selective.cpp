// Selective retransmission: a receiver places packets in any order and tells which have come, 64 beyond the first that
// is missing; the sender sends only what is missing.
#include "../reliability.hpp"

namespace tb {

namespace {

class Selective final : public Reliability {
 public:
  using Reliability::Reliability;
  [[nodiscard]] bool in_order() const override { return false; }
  [[nodiscard]] bool selective() const override { return true; }

  Receipt receive(RxStream& stream, const Frame& frame, std::uint64_t psn) const override {
    const bool outside = psn < stream.expected_psn || psn > stream.expected_psn + 64;
    const bool gap = stream.arrived != 0;
    if (outside || !stream.note(psn)) return {.answer = Answer::kAck};
    ++stream.packets_since_ack;
    if (stream.arrived != 0) {
      return {.fresh = true, .out_of_order = true, .answer = config_.nacks ? Answer::kNack : Answer::kAck};
    }
    // An answer also when the last hole is filled: nobody else would tell.
    const bool due = gap || (frame.flags & kFlagLast) != 0 || stream.packets_since_ack >= config_.ack_every_pkts;
    return {.fresh = true, .answer = due ? Answer::kAck : Answer::kNone};
  }

  Answer receive_trimmed(RxStream& stream, std::uint64_t psn, std::uint16_t& cut) const override {
    if (psn < stream.expected_psn || stream.has(psn)) return Answer::kNone;
    cut = static_cast<std::uint16_t>(psn - stream.expected_psn + 1);
    return Answer::kNack;
  }

  void acknowledged(TxStream& stream, const Frame& ack, std::uint64_t moved) const override {
    stream.cut = moved < 64 ? stream.cut >> moved : 0;
    // Acknowledgements may overtake each other: what one of them has told stays true.
    stream.sacked = (moved < 64 ? stream.sacked >> moved : 0) | ack.ack_bits;
    stream.window_pkts = ack.credit;
    if (ack.index != 0) send_again(stream, stream.una_psn + ack.index - 1);
    if (ack.ack_bits == 0 || !config_.nacks) return;
    const std::uint64_t below = highest_psn(stream.una_psn, ack.ack_bits);
    if (below > stream.una_psn + config_.reorder_window_pkts) queue_holes(stream, below - config_.reorder_window_pkts);
  }

  // What is missing below something that has arrived is no longer late, but lost, as in RACK (RFC 8985).
  void probe(TxStream& stream) const override {
    if (stream.sacked != 0) queue_holes(stream, highest_psn(stream.una_psn, stream.sacked));
    const std::uint64_t last = stream.high_psn - 1;
    if (stream.holes.empty()) send_again(stream, stream.arrived(last) ? stream.una_psn : last);
  }

  void timed_out(TxStream& stream) const override {
    stream.holes.clear();
    stream.cut = 0;
    stream.repaired_psn = stream.una_psn;
    queue_holes(stream, stream.high_psn);
  }

  // A packet that was cut or refused: send it again, once for each time.
  void send_again(TxStream& stream, std::uint64_t psn) const override {
    if (stream.arrived(psn) || psn >= stream.high_psn) return;
    for (std::size_t i = 0; i < stream.holes.size(); ++i) {
      if (stream.holes.at(i) == psn) return;
    }
    queue(stream, psn);
    if (psn >= stream.repaired_psn && psn - stream.una_psn < 64) {
      stream.cut |= std::uint64_t{1} << (psn - stream.una_psn);
    }
  }

 private:
  static std::uint64_t highest_psn(std::uint64_t una_psn, std::uint64_t bits) {
    return una_psn + 1 + (63U - static_cast<unsigned>(__builtin_clzll(bits)));
  }
  static void queue(TxStream& stream, std::uint64_t psn) {
    stream.holes.push(psn);
    stream.lose(psn);
  }
  static void queue_holes(TxStream& stream, std::uint64_t below_psn) {
    for (std::uint64_t psn = std::max(stream.una_psn, stream.repaired_psn); psn < below_psn; ++psn) {
      const std::uint64_t bit = psn - stream.una_psn < 64 ? std::uint64_t{1} << (psn - stream.una_psn) : 0;
      if (!stream.arrived(psn) && (stream.cut & bit) == 0) queue(stream, psn);
      stream.cut &= ~bit;
    }
    stream.repaired_psn = std::max(stream.repaired_psn, below_psn);
  }
};

std::unique_ptr<Reliability> make_selective(const ReliabilityConfig& config) {
  return std::make_unique<Selective>(config);
}

const ReliabilityParts::Entry kSelective{"selective", &make_selective};

}  // namespace

}  // namespace tb
