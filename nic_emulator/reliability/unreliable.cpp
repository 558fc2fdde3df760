// No reliability: nothing is acknowledged and nothing is sent again. What is lost stays lost.
#include "../reliability.hpp"

namespace tb {

namespace {

class Unreliable final : public Reliability {
 public:
  using Reliability::Reliability;
  [[nodiscard]] bool in_order() const override { return false; }
  [[nodiscard]] bool acknowledges() const override { return false; }

  // The last 64 packet numbers tell a copy of a packet from a late one. `arrived` has bit i for expected - 1 - i.
  Receipt receive(RxStream& stream, const Frame& /*frame*/, std::uint64_t psn) const override {
    if (psn >= stream.expected_psn) {
      const std::uint64_t step = psn + 1 - stream.expected_psn;
      stream.arrived = (step < 64 ? stream.arrived << step : 0) | 1U;
      stream.expected_psn = psn + 1;
      return {.fresh = true, .out_of_order = step > 1};
    }
    const std::uint64_t behind = stream.expected_psn - 1 - psn;
    if (behind >= 64 || (stream.arrived >> behind & 1U) != 0) return {};
    stream.arrived |= std::uint64_t{1} << behind;
    return {.fresh = true, .out_of_order = true};
  }
  Answer receive_trimmed(RxStream& /*stream*/, std::uint64_t /*psn*/, std::uint16_t& /*cut*/) const override {
    return Answer::kNone;
  }
  void acknowledged(TxStream& /*stream*/, const Frame& /*ack*/, std::uint64_t /*moved*/) const override {}
  void timed_out(TxStream& /*stream*/) const override {}
  void send_again(TxStream& /*stream*/, std::uint64_t /*psn*/) const override {}
};

std::unique_ptr<Reliability> make_unreliable(const ReliabilityConfig& config) {
  return std::make_unique<Unreliable>(config);
}

const ReliabilityParts::Entry kUnreliable{"unreliable", &make_unreliable};

}  // namespace

}  // namespace tb
