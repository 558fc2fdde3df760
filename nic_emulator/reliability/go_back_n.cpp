// Go-back-N: packets are taken in order only. The first that is out of order is answered with a NAK, and the sender
// begins again from there (InfiniBand specification volume 1, 9.7; SUE).
#include "../reliability.hpp"

namespace tb {

namespace {

class GoBackN final : public Reliability {
 public:
  using Reliability::Reliability;
  [[nodiscard]] bool in_order() const override { return true; }

  Receipt receive(RxStream& stream, const Frame& frame, std::uint64_t psn) const override {
    if (psn < stream.expected_psn) return {.answer = Answer::kAck};
    if (psn > stream.expected_psn) {
      const bool tell = !stream.nak_sent && config_.nacks;
      stream.nak_sent = true;
      return {.out_of_order = true, .answer = tell ? Answer::kNack : Answer::kNone};
    }
    ++stream.expected_psn;
    stream.nak_sent = false;
    ++stream.packets_since_ack;
    const bool due = (frame.flags & kFlagLast) != 0 || stream.packets_since_ack >= config_.ack_every_pkts;
    return {.fresh = true, .answer = due ? Answer::kAck : Answer::kNone};
  }

  Answer receive_trimmed(RxStream& stream, std::uint64_t psn, std::uint16_t& /*cut*/) const override {
    if (psn != stream.expected_psn || stream.nak_sent) return Answer::kNone;  // it may have overtaken others
    stream.nak_sent = true;
    return Answer::kNack;
  }

  void acknowledged(TxStream& stream, const Frame& ack, std::uint64_t /*moved*/) const override {
    if (ack.opcode == Opcode::kNack) send_again(stream, stream.una_psn);
  }

  void timed_out(TxStream& stream) const override { send_again(stream, stream.una_psn); }

  void send_again(TxStream& stream, std::uint64_t psn) const override {
    if (psn >= stream.next_psn) return;
    if (stream.flight != nullptr) {
      for (std::uint64_t lost = psn; lost < stream.next_psn; ++lost) stream.lose(lost);
    }
    stream.next_psn = psn;
  }
};

std::unique_ptr<Reliability> make_go_back_n(const ReliabilityConfig& config) {
  return std::make_unique<GoBackN>(config);
}

const ReliabilityParts::Entry kGoBackN{"go_back_n", &make_go_back_n};

}  // namespace

}  // namespace tb
