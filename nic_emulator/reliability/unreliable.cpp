// No reliability: nothing is acknowledged and nothing is sent again. What is lost stays lost.
#include "../reliability.hpp"

namespace tb {

namespace {

// The last packet numbers tell a copy of a packet from a late one: all that a fast wire carries in some microseconds.
constexpr std::uint64_t kMemoryPkts = 4096;

class Unreliable final : public Reliability {
 public:
  using Reliability::Reliability;
  [[nodiscard]] bool in_order() const override { return false; }
  [[nodiscard]] bool acknowledges() const override { return false; }

  Receipt receive(RxStream& stream, const Frame& /*frame*/, std::uint64_t psn) const override {
    if (psn >= stream.expected_psn) {
      const bool gap = psn > stream.expected_psn;
      if (stream.seen.empty() || psn - stream.expected_psn >= kMemoryPkts) {
        stream.seen.assign(kMemoryPkts / 64, 0);
        stream.expected_psn = psn;
      }
      for (std::uint64_t missing = stream.expected_psn; missing < psn; ++missing) {
        word(stream, missing) &= ~bit(missing);
      }
      word(stream, psn) |= bit(psn);
      stream.expected_psn = psn + 1;
      return {.fresh = true, .out_of_order = gap};
    }
    if (stream.expected_psn - psn > kMemoryPkts || (word(stream, psn) & bit(psn)) != 0) return {};
    word(stream, psn) |= bit(psn);
    return {.fresh = true, .out_of_order = true};
  }
  Answer receive_trimmed(RxStream& /*stream*/, std::uint64_t /*psn*/, std::uint16_t& /*cut*/) const override {
    return Answer::kNone;
  }
  void acknowledged(TxStream& /*stream*/, const Frame& /*ack*/, std::uint64_t /*moved*/) const override {}
  void timed_out(TxStream& /*stream*/) const override {}
  void send_again(TxStream& /*stream*/, std::uint64_t /*psn*/) const override {}

 private:
  static std::uint64_t& word(RxStream& stream, std::uint64_t psn) { return stream.seen[psn % kMemoryPkts / 64]; }
  static std::uint64_t bit(std::uint64_t psn) { return std::uint64_t{1} << (psn % 64); }
};

std::unique_ptr<Reliability> make_unreliable(const ReliabilityConfig& config) {
  return std::make_unique<Unreliable>(config);
}

const ReliabilityParts::Entry kUnreliable{"unreliable", &make_unreliable};

}  // namespace

}  // namespace tb
