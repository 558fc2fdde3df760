// DCTCP's sender: a TCP window that shrinks by the fraction of bytes that were marked.
//
//   slow start   window < threshold: window += bytes acknowledged
//   avoidance    window += MSS x bytes acknowledged / window, which is one MSS a round trip
//   alpha        each window of data (ends when something beyond what was outstanding at its start has arrived):
//                alpha += g (M - alpha), M = bytes marked / bytes acknowledged; alpha starts at 1
//   mark         window = threshold = window (1 - alpha/2)
//   loss         window = threshold = window / 2
//                after either no growth, and neither again, until something sent after it has arrived
//   time-out     threshold = window / 2, window = 1 MSS, slow start
//   A window that its sender does not fill does not grow.
//
// RFC 8257 sections 3.3 (alpha, and the reduction, which comes with the first mark and once in each window of data, as
// RFC 3168 has it and Linux does it), 3.4 (growth as in RFC 5681) and 3.5 (loss as in RFC 5681). RFC 5681's
// "FlightSize / 2" is taken from the window, which is the same for a sender that fills it.
#include <algorithm>

#include "../congestion.hpp"
#include "data_window.hpp"

namespace tb {

namespace {

struct DctcpParameters {
  std::uint32_t g_log2;
  std::uint64_t initial_window_bytes;
  std::uint64_t min_window_bytes;
  std::uint64_t max_window_bytes;
};

class Dctcp final : public CongestionControl {
 public:
  Dctcp(const CongestionContext& context, const DctcpParameters& given)
      : p_(given), mss_bytes_(context.mtu_bytes), window_bytes_(given.initial_window_bytes) {}

  void sent(ps_t /*now_ps*/, std::uint64_t bytes) override { in_flight_bytes_ += bytes; }

  void acknowledged(const Acknowledged& ack) override {
    in_flight_bytes_ = ack.in_flight_bytes;
    observed_bytes_ += ack.bytes;
    marked_bytes_ += std::min(ack.marked_bytes, ack.bytes);
    observation_.settle(ack.bytes);
    recovery_.settle(ack.bytes);
    if (observation_.over()) end_observation();
    if (ack.marked_bytes > 0 && recovery_.over()) {
      reduce(static_cast<std::uint64_t>((wide_t{window_bytes_} * alpha_) >> 33), p_.min_window_bytes);
    } else if ((recovery_.over() || timed_out_) && window_limited(ack, window_bytes_, mss_bytes_)) {
      grow(ack.bytes);
    }
  }

  void lost(Loss how, ps_t /*now_ps*/, std::uint64_t bytes) override {
    const bool timeout = how == Loss::kTimeout;
    if (recovery_.over() || (timeout && !timed_out_)) reduce(window_bytes_ / 2, 2 * mss_bytes_);
    timed_out_ = timed_out_ || timeout;
    if (timeout) window_bytes_ = mss_bytes_;
    in_flight_bytes_ -= std::min(in_flight_bytes_, bytes);
    recovery_.settle(bytes);
    observation_.settle(bytes);
  }

  [[nodiscard]] std::uint64_t window_bytes() const override { return window_bytes_; }
  [[nodiscard]] std::uint64_t least_window_bytes() const override { return mss_bytes_; }  // after a time-out

 private:
  static constexpr std::uint64_t kOne = 1ULL << 32;  // alpha = 1

  void set_window(std::uint64_t bytes) { window_bytes_ = std::clamp(bytes, p_.min_window_bytes, p_.max_window_bytes); }

  void reduce(std::uint64_t by_bytes, std::uint64_t least_bytes) {
    set_window(std::max(window_bytes_ - by_bytes, least_bytes));
    threshold_bytes_ = window_bytes_;
    unspent_ = 0;
    timed_out_ = false;
    recovery_.start(in_flight_bytes_);
  }

  void grow(std::uint64_t bytes) {
    if (window_bytes_ < threshold_bytes_) return set_window(std::min(window_bytes_ + bytes, threshold_bytes_));
    unspent_ += bytes * mss_bytes_;
    const std::uint64_t by_bytes = unspent_ / window_bytes_;
    unspent_ -= by_bytes * window_bytes_;
    set_window(window_bytes_ + by_bytes);
  }

  void end_observation() {
    if (observed_bytes_ == 0) return;
    const std::uint64_t fraction = static_cast<std::uint64_t>((wide_t{marked_bytes_} << 32) / observed_bytes_);
    alpha_ = alpha_ - (alpha_ >> p_.g_log2) + (fraction >> p_.g_log2);
    observed_bytes_ = marked_bytes_ = 0;
    observation_.start(in_flight_bytes_);
  }

  DctcpParameters p_;
  std::uint64_t mss_bytes_;
  std::uint64_t window_bytes_;
  std::uint64_t threshold_bytes_ = kNoWindow;
  std::uint64_t alpha_ = kOne;  // 2^-32
  std::uint64_t unspent_ = 0;   // of growth: bytes x MSS that did not make a byte of window yet
  std::uint64_t in_flight_bytes_ = 0;
  std::uint64_t observed_bytes_ = 0;
  std::uint64_t marked_bytes_ = 0;
  DataWindow observation_;
  DataWindow recovery_;
  bool timed_out_ = false;
};

std::unique_ptr<CongestionControl> make_dctcp(const CongestionContext& context, PartParameters& given) {
  const std::uint64_t mss_bytes = context.mtu_bytes;
  DctcpParameters p{};
  p.g_log2 = static_cast<std::uint32_t>(given.take("g_log2", 1, 16));
  p.initial_window_bytes = static_cast<std::uint64_t>(given.take("initial_window_pkts", 1, 1000)) * mss_bytes;
  p.min_window_bytes = static_cast<std::uint64_t>(given.take("min_window_pkts", 1, 2)) * mss_bytes;
  p.max_window_bytes = static_cast<std::uint64_t>(given.take("max_window_bytes", 1, 1LL << 30));
  if (p.max_window_bytes < p.initial_window_bytes || p.max_window_bytes < p.min_window_bytes) {
    throw std::invalid_argument("dctcp: max_window_bytes has room for the smallest and the initial window");
  }
  return std::make_unique<Dctcp>(context, p);
}

const CongestionParts::Entry kDctcp{"dctcp", &make_dctcp};

}  // namespace

}  // namespace tb
