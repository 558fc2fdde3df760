// A window that never changes: what a NIC without congestion control has, at most.
#include "../congestion.hpp"

namespace tb {

namespace {

class FixedWindow final : public CongestionControl {
 public:
  explicit FixedWindow(std::uint64_t bytes) : bytes_(bytes) {}
  [[nodiscard]] std::uint64_t window_bytes() const override { return bytes_; }

 private:
  std::uint64_t bytes_;
};

std::unique_ptr<CongestionControl> make_fixed_window(const CongestionContext& /*context*/, PartParameters& given) {
  return std::make_unique<FixedWindow>(static_cast<std::uint64_t>(given.take("window_bytes", 1, 1LL << 40)));
}

const CongestionParts::Entry kFixedWindow{"fixed_window", &make_fixed_window};

}  // namespace

}  // namespace tb
