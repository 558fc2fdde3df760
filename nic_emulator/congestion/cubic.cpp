// CUBIC's sender: a TCP window that grows as a cubic function of the time since it was last reduced.
//
//   slow start   window < threshold: window += bytes acknowledged
//   avoidance    an epoch starts with its first acknowledgement: t = 0, K = cbrt((W_max - window) / C), W_est = window
//     W_cubic(t) = C (t - K)^3 + W_max       W_est += a x MSS x bytes / window, a = 3 (1-b) / (1+b), 1 from W_prior on
//     W_cubic(t) < W_est (Reno-friendly region):  window = W_est
//     otherwise:  window += (target - window) x bytes / window, target = W_cubic(t + RTT), at most 1.5 windows
//   loss, or a mark, once in each window of data: W_prior = window; W_max = window, or window (1+b)/2 if it is
//     below the last W_max (fast convergence); window = threshold = b x window; at least 2 MSS, after a mark 1 MSS
//   time-out     threshold = b x window, window = 1 MSS, slow start; the next epoch has K = 0 and W_max = window
//   A window that its sender does not fill does not grow, and its t stands still.
//
// RFC 9438 sections 4.2 to 4.9 and 5.8. C is in segments/s^3, as there. Not modelled: HyStart++ and spurious
// retransmissions (section 4.9). With a round trip of microseconds K is 10^5 round trips, so that the Reno-friendly
// region is what a fabric sees.
//
// Windows are in 2^-16 bytes. Times are in ns here: C MSS t^3 is then exact to a byte for 200 s, K to a ns.
#include <algorithm>

#include "../congestion.hpp"
#include "data_window.hpp"

namespace tb {

namespace {

struct CubicParameters {
  std::uint64_t beta_permille;
  std::uint64_t c_permille;
  std::uint64_t initial_window_bytes;
  std::uint64_t max_window_bytes;
  bool fast_convergence;
};

/// The largest number whose cube is not above `value`, digit by digit.
std::uint64_t cube_root(wide_t value) {
  std::uint64_t root = 0;
  for (int bit = 41; bit >= 0; --bit) {
    const std::uint64_t longer = root | (1ULL << bit);
    if (wide_t{longer} * longer <= value / longer) root = longer;
  }
  return root;
}

class Cubic final : public CongestionControl {
 public:
  Cubic(const CongestionContext& context, const CubicParameters& given)
      : p_(given), mss_bytes_(context.mtu_bytes), window_(given.initial_window_bytes << kFraction) {}

  void sent(ps_t /*now_ps*/, std::uint64_t bytes) override { in_flight_bytes_ += bytes; }

  void acknowledged(const Acknowledged& ack) override {
    const ps_t since_last_ps = ack.now_ps - last_ack_ps_;
    last_ack_ps_ = ack.now_ps;
    in_flight_bytes_ = ack.in_flight_bytes;
    recovery_.settle(ack.bytes);
    if (ack.rtt_ps != 0) rtt_ps_ = rtt_ps_ == 0 ? ack.rtt_ps : (7 * rtt_ps_ + ack.rtt_ps) / 8;
    if (ack.marked_bytes > 0 && recovery_.over()) return reduce(mss_bytes_);
    if (!recovery_.over() && !timed_out_) return;
    if (!window_limited(ack, window_bytes(), mss_bytes_)) {
      if (in_epoch_) epoch_ps_ += since_last_ps;
    } else if (window_ < threshold_) {
      set_window(std::min(window_ + (ack.bytes << kFraction), threshold_));
    } else {
      avoid_congestion(ack);
    }
  }

  void lost(Loss how, ps_t /*now_ps*/, std::uint64_t bytes) override {
    const bool timeout = how == Loss::kTimeout;
    if (recovery_.over() || (timeout && !timed_out_)) reduce(2 * mss_bytes_);
    if (timeout) {
      window_ = mss_bytes_ << kFraction;
      timed_out_ = restarted_ = true;
      in_epoch_ = false;
    }
    in_flight_bytes_ -= std::min(in_flight_bytes_, bytes);
    recovery_.settle(bytes);
  }

  [[nodiscard]] std::uint64_t window_bytes() const override { return window_ >> kFraction; }
  [[nodiscard]] std::uint64_t least_window_bytes() const override { return mss_bytes_; }

 private:
  static constexpr std::uint32_t kFraction = 16;
  static constexpr std::uint64_t kMostNs = 200'000'000'000;  // of |t - K|: what follows fits into 128 bits

  void set_window(std::uint64_t window) {
    window_ = std::clamp(window, mss_bytes_ << kFraction, p_.max_window_bytes << kFraction);
  }

  void reduce(std::uint64_t least_bytes) {
    const bool shrinking = p_.fast_convergence && window_ < w_max_;
    w_max_ = shrinking ? window_ * (1000 + p_.beta_permille) / 2000 : window_;
    w_prior_ = window_;
    set_window(std::max(window_ * p_.beta_permille / 1000, least_bytes << kFraction));
    threshold_ = std::max(window_, (2 * mss_bytes_) << kFraction);
    in_epoch_ = restarted_ = timed_out_ = false;
    recovery_.start(in_flight_bytes_);
  }

  void start_epoch(ps_t now_ps) {
    in_epoch_ = true;
    epoch_ps_ = now_ps;
    w_est_ = window_;
    if (restarted_ || w_max_ < window_) w_max_ = window_;
    restarted_ = false;
    // ns^3, from bytes / (segments/s^3 x bytes): 10^30 / 1000ths of C; the last 10 after the division, to fit.
    const wide_t by_bytes = (w_max_ - window_) >> kFraction;
    k_ns_ = cube_root(by_bytes * kTo29 / (wide_t{p_.c_permille} * mss_bytes_) * 10);
  }

  /// W_cubic at a time since the epoch's start.
  [[nodiscard]] std::uint64_t cubic_at(ps_t since_ps) const {
    const std::uint64_t t_ns = since_ps / 1000;
    const bool before = t_ns < k_ns_;
    const std::uint64_t d_ns = std::min(before ? k_ns_ - t_ns : t_ns - k_ns_, kMostNs);
    wide_t by = wide_t{d_ns} * d_ns * d_ns / 1'000'000'000;
    by = by * p_.c_permille * mss_bytes_ * (1ULL << kFraction) / 1'000'000'000'000ULL / 1'000'000'000ULL;
    const auto by_window = static_cast<std::uint64_t>(std::min(by, wide_t{1} << 60));
    if (before) return w_max_ - std::min(w_max_, by_window);
    return w_max_ + by_window;
  }

  void avoid_congestion(const Acknowledged& ack) {
    if (!in_epoch_) start_epoch(ack.now_ps);
    const ps_t t_ps = ack.now_ps - epoch_ps_;
    const bool as_reno = w_est_ >= w_prior_;
    const std::uint64_t up = as_reno ? 1 : 3 * (1000 - p_.beta_permille);
    const std::uint64_t down = as_reno ? 1 : 1000 + p_.beta_permille;
    const wide_t segment_bytes = wide_t{mss_bytes_} * ack.bytes;
    w_est_ += static_cast<std::uint64_t>((segment_bytes * up << (2 * kFraction)) / (wide_t{window_} * down));
    w_est_ = std::min(w_est_, p_.max_window_bytes << kFraction);
    if (cubic_at(t_ps) < w_est_) return set_window(std::max(window_, w_est_));
    const std::uint64_t target = std::clamp(cubic_at(t_ps + rtt_ps_), window_, window_ + window_ / 2);
    set_window(window_ + static_cast<std::uint64_t>((wide_t{target - window_} * ack.bytes << kFraction) / window_));
  }

  static constexpr wide_t kTo29 = wide_t{1'000'000'000'000'000ULL} * 100'000'000'000'000ULL;

  CubicParameters p_;
  std::uint64_t mss_bytes_;
  // Windows [2^-16 bytes].
  std::uint64_t window_;
  std::uint64_t threshold_ = kNoWindow;
  std::uint64_t w_max_ = 0;
  std::uint64_t w_prior_ = 0;
  std::uint64_t w_est_ = 0;
  std::uint64_t k_ns_ = 0;
  std::uint64_t in_flight_bytes_ = 0;
  ps_t epoch_ps_ = 0;
  ps_t last_ack_ps_ = 0;
  ps_t rtt_ps_ = 0;  // smoothed as in RFC 6298
  DataWindow recovery_;
  bool in_epoch_ = false;
  bool timed_out_ = false;  // in the window of data that a time-out ended
  bool restarted_ = false;  // by a time-out, since the last epoch
};

std::unique_ptr<CongestionControl> make_cubic(const CongestionContext& context, PartParameters& given) {
  const std::uint64_t mss_bytes = context.mtu_bytes;
  CubicParameters p{};
  p.beta_permille = static_cast<std::uint64_t>(given.take("beta_permille", 100, 990));
  p.c_permille = static_cast<std::uint64_t>(given.take("c_permille", 10, 10'000));
  p.initial_window_bytes = static_cast<std::uint64_t>(given.take("initial_window_pkts", 1, 1000)) * mss_bytes;
  p.max_window_bytes = static_cast<std::uint64_t>(given.take("max_window_bytes", 1, 1LL << 30));
  p.fast_convergence = given.take("fast_convergence", 0, 1) != 0;
  if (p.max_window_bytes < std::max(p.initial_window_bytes, 2 * mss_bytes)) {
    throw std::invalid_argument("cubic: max_window_bytes has room for the initial window and for two packets");
  }
  return std::make_unique<Cubic>(context, p);
}

const CongestionParts::Entry kCubic{"cubic", &make_cubic};

}  // namespace

}  // namespace tb
