// NSCC, the sender's window of Ultra Ethernet transport: queueing delay and marks together say what to do.
//
//   delay = round trip - base, base = the least round trip seen; on each acknowledgement, unless quick adapt acted:
//                    delay < target                                   delay >= target
//     not marked     proportional increase                            fair increase
//                    grown += alpha x bytes x (target - delay)        grown += beta x bytes
//     marked         nothing (another path is tried)                  multiplicative decrease, once in a base RTT and
//                                                                     if average > target:
//                       window x= max(1 - gamma (average - target) / average, 1 - max_decrease)
//   fast increase  instead of the proportional one, once a window has arrived with delays below fast_increase_delay_ps:
//                  window += fast x bytes
//   adjustment     after adjust_pkts packets or a base RTT: window += grown / window, grown = 0, and once in a base RTT
//                  window += eta
//   average        of the delays, with gain delay_gain_ppm; an unmarked delay above the target counts as base RTT / 4
//   quick adapt    each base RTT + target delay: if a packet was lost, or the delay is above quick_adapt_delay,
//                  and less than max window / 2^gate has arrived in that time, window = what has arrived; marks are
//                  then ignored until what was in flight has arrived
//   lost packet    (trimmed, or found missing) average takes in a delay of one base RTT; quick adapt, or
//                  window -= bytes
//   time-out       window -= bytes
//   1 packet <= window <= max_window_permille of the bandwidth-delay product (BDP); it starts at the most
//
// alpha, beta, eta, fast are given for the reference network and scale with BDP / (reference_bps x reference_rtt_ps):
//   alpha = proportional x MTU x scale / reference RTT, beta = fair x MTU x scale, eta = eta x MTU x scale.
//
// Structure and defaults are those of htsim (spcl/HTSIM @8a33f33e, htsim/sim/uec.cpp: initNsccParams, quick_adapt,
// updateCwndOnAck_NSCC, updateCwndOnNack_NSCC, rtxTimerExpired), which the UE consortium's members publish. The text of
// UET 1.0 was not read: what differs there is not modelled. htsim has no NACKs but those of trimmed packets; taking a
// packet that was found missing for one is assumed.
#include <algorithm>

#include "../congestion.hpp"

namespace tb {

namespace {

struct NsccParameters {
  ps_t base_rtt_ps;
  ps_t target_delay_ps;
  ps_t reference_rtt_ps;
  ps_t fast_increase_delay_ps;
  std::uint64_t reference_bps;
  std::uint64_t proportional_permille;
  std::uint64_t fair_permille;
  std::uint64_t eta_permille;
  std::uint64_t fast_permille;
  std::uint64_t gamma_permille;
  std::uint64_t max_decrease_permille;
  std::uint64_t delay_gain_ppm;
  std::uint64_t quick_adapt_delay_permille;
  std::uint64_t quick_adapt_gate_log2;
  std::uint64_t max_window_permille;
  std::uint64_t adjust_pkts;
};

class Nscc final : public CongestionControl {
 public:
  Nscc(const CongestionContext& context, const NsccParameters& given)
      : p_(given),
        byte_time_ps_(context.byte_time_ps),
        mtu_bytes_(context.mtu_bytes),
        base_rtt_ps_(given.base_rtt_ps),
        max_window_bytes_(most_for(given.base_rtt_ps)),
        window_bytes_(max_window_bytes_),
        proportional_bytes_(scaled(given.proportional_permille * mtu_bytes_)),
        fair_bytes_(scaled(given.fair_permille * mtu_bytes_)),
        eta_bytes_(scaled(given.eta_permille * mtu_bytes_)) {}

  void sent(ps_t /*now_ps*/, std::uint64_t bytes) override { in_flight_bytes_ += bytes; }

  void acknowledged(const Acknowledged& ack) override {
    in_flight_bytes_ = ack.in_flight_bytes;
    achieved_bytes_ += ack.bytes;
    received_bytes_ += ack.bytes;
    ignored_bytes_ += ack.bytes;
    const bool marked = ack.marked_bytes > 0;
    const ps_t delay_ps = observe(ack.rtt_ps, marked);
    if (quick_adapt(ack.now_ps, false, marked, delay_ps)) return;
    if (marked && delay_ps >= p_.target_delay_ps) {
      decrease(ack.now_ps);
    } else if (!marked && delay_ps >= p_.target_delay_ps) {
      grown_ += wide_t{fair_bytes_} * ack.bytes;
    } else if (!marked && !fast_increase(ack.bytes, delay_ps)) {
      grown_ += wide_t{proportional_bytes_} * ack.bytes * (p_.target_delay_ps - delay_ps) / p_.reference_rtt_ps;
    }
    set_window(window_bytes_);
    const bool due = ack.now_ps - adjusted_ps_ > p_.base_rtt_ps;
    if (due || received_bytes_ > p_.adjust_pkts * mtu_bytes_) adjust(ack.now_ps);
  }

  void lost(Loss how, ps_t now_ps, std::uint64_t bytes) override {
    bool adapted = false;
    if (how != Loss::kTimeout) {
      ignored_bytes_ += bytes;
      average(p_.base_rtt_ps);
      loss_seen_ = true;
      adapted = quick_adapt(now_ps, true, true, 0);
    }
    if (!adapted) set_window(window_bytes_ - std::min(window_bytes_, bytes));
    in_flight_bytes_ -= std::min(in_flight_bytes_, bytes);
  }

  [[nodiscard]] std::uint64_t window_bytes() const override { return window_bytes_; }
  [[nodiscard]] std::uint64_t least_window_bytes() const override { return mtu_bytes_; }

 private:
  static constexpr std::uint32_t kFraction = 16;

  /// For a number of the reference network, in thousandths: what it is in this one.
  [[nodiscard]] std::uint64_t scaled(std::uint64_t permille) const {
    const wide_t reference_bytes = wide_t{p_.reference_bps} * p_.reference_rtt_ps / 8'000'000'000'000ULL;
    const std::uint64_t bdp_bytes = p_.base_rtt_ps / byte_time_ps_;
    return static_cast<std::uint64_t>(wide_t{permille} * bdp_bytes / (1000 * reference_bytes));
  }
  [[nodiscard]] std::uint64_t most_for(ps_t rtt_ps) const {
    return std::max(rtt_ps / byte_time_ps_ * p_.max_window_permille / 1000, mtu_bytes_);
  }
  void set_window(std::uint64_t bytes) { window_bytes_ = std::clamp(bytes, mtu_bytes_, max_window_bytes_); }

  [[nodiscard]] ps_t average_ps() const { return average_ >> kFraction; }
  void average(ps_t delay_ps) {
    const std::uint64_t gain = p_.delay_gain_ppm;
    const wide_t sum = (wide_t{delay_ps} << kFraction) * gain + wide_t{average_} * (1'000'000 - gain);
    average_ = static_cast<std::uint64_t>(sum / 1'000'000);
  }

  /// The delay of this acknowledgement; the average, where its round trip is not known.
  ps_t observe(ps_t rtt_ps, bool marked) {
    if (rtt_ps == 0) return average_ps();
    if (rtt_ps < base_rtt_ps_) {
      base_rtt_ps_ = rtt_ps;
      max_window_bytes_ = most_for(rtt_ps);
    }
    const ps_t delay_ps = rtt_ps - base_rtt_ps_;
    average(!marked && delay_ps > p_.target_delay_ps ? base_rtt_ps_ / 4 : delay_ps);
    return delay_ps;
  }

  bool quick_adapt(ps_t now_ps, bool loss, bool marked, ps_t delay_ps) {
    bool acted = false;
    if (marked && ignored_bytes_ < to_ignore_bytes_) {
      acted = true;
    } else if (now_ps > adapt_from_ps_) {
      const bool congested = loss || loss_seen_ || delay_ps > p_.target_delay_ps * p_.quick_adapt_delay_permille / 1000;
      if (adapt_from_ps_ != 0 && congested && achieved_bytes_ < max_window_bytes_ >> p_.quick_adapt_gate_log2) {
        set_window(achieved_bytes_);
        to_ignore_bytes_ = in_flight_bytes_;
        ignored_bytes_ = 0;
        loss_seen_ = false;
        acted = true;
      }
      achieved_bytes_ = 0;
      adapt_from_ps_ = now_ps + base_rtt_ps_ + p_.target_delay_ps;
    }
    if (acted) {
      grown_ = 0;
      received_bytes_ = 0;
    }
    return acted;
  }

  bool fast_increase(std::uint64_t bytes, ps_t delay_ps) {
    if (delay_ps >= p_.fast_increase_delay_ps) {
      fast_bytes_ = 0;
      return fast_ = false;
    }
    fast_bytes_ += bytes;
    fast_ = fast_ || fast_bytes_ > window_bytes_;
    if (fast_) window_bytes_ += scaled(p_.fast_permille * bytes);
    return fast_;
  }

  void decrease(ps_t now_ps) {
    fast_ = false;
    fast_bytes_ = 0;
    const ps_t mean_ps = average_ps();
    if (mean_ps <= p_.target_delay_ps || now_ps - decreased_ps_ <= base_rtt_ps_) return;
    const wide_t by = wide_t{window_bytes_} * p_.gamma_permille * (mean_ps - p_.target_delay_ps) / mean_ps / 1000;
    const std::uint64_t most_bytes = window_bytes_ * p_.max_decrease_permille / 1000;
    set_window(window_bytes_ - static_cast<std::uint64_t>(std::min(by, wide_t{most_bytes})));
    decreased_ps_ = now_ps;
  }

  void adjust(ps_t now_ps) {
    std::uint64_t bytes = window_bytes_ + static_cast<std::uint64_t>(grown_ / window_bytes_);
    if (now_ps - adjusted_ps_ >= p_.base_rtt_ps) {
      bytes += eta_bytes_;
      adjusted_ps_ = now_ps;
    }
    set_window(bytes);
    grown_ = 0;
    received_bytes_ = 0;
  }

  NsccParameters p_;
  std::uint64_t byte_time_ps_;
  std::uint64_t mtu_bytes_;
  ps_t base_rtt_ps_;
  std::uint64_t max_window_bytes_;
  std::uint64_t window_bytes_;
  std::uint64_t proportional_bytes_;  // alpha x reference RTT
  std::uint64_t fair_bytes_;          // beta
  std::uint64_t eta_bytes_;
  wide_t grown_ = 0;           // bytes of growth x bytes of window
  std::uint64_t average_ = 0;  // delay [2^-16 ps]
  std::uint64_t in_flight_bytes_ = 0;
  std::uint64_t achieved_bytes_ = 0;  // arrived since quick adapt last looked
  std::uint64_t received_bytes_ = 0;  // arrived since the last adjustment
  std::uint64_t ignored_bytes_ = 0;   // arrived or lost since quick adapt last acted
  std::uint64_t to_ignore_bytes_ = 0;
  std::uint64_t fast_bytes_ = 0;
  ps_t adapt_from_ps_ = 0;
  ps_t adjusted_ps_ = 0;
  ps_t decreased_ps_ = 0;
  bool fast_ = false;
  bool loss_seen_ = false;
};

std::unique_ptr<CongestionControl> make_nscc(const CongestionContext& context, PartParameters& given) {
  constexpr std::int64_t kMostPs = 10'000'000'000;
  const auto take = [&given](const char* name, std::int64_t low, std::int64_t high) {
    return static_cast<std::uint64_t>(given.take(name, low, high));
  };
  NsccParameters p{};
  p.base_rtt_ps = take("base_rtt_ps", 10'000, kMostPs);
  p.target_delay_ps = take("target_delay_ps", 1000, kMostPs);
  p.reference_rtt_ps = take("reference_rtt_ps", 10'000, kMostPs);
  p.reference_bps = take("reference_bps", 1'000'000'000, 8'000'000'000'000);
  p.proportional_permille = take("proportional_permille", 0, 1'000'000);
  p.fair_permille = take("fair_permille", 0, 1'000'000);
  p.eta_permille = take("eta_permille", 0, 1'000'000);
  p.fast_permille = take("fast_permille", 0, 10'000);
  p.fast_increase_delay_ps = take("fast_increase_delay_ps", 0, kMostPs);
  p.gamma_permille = take("gamma_permille", 0, 1000);
  p.max_decrease_permille = take("max_decrease_permille", 0, 1000);
  p.delay_gain_ppm = take("delay_gain_ppm", 1, 1'000'000);
  p.quick_adapt_delay_permille = take("quick_adapt_delay_permille", 0, 1'000'000);
  p.quick_adapt_gate_log2 = take("quick_adapt_gate_log2", 0, 20);
  p.max_window_permille = take("max_window_permille", 100, 100'000);
  p.adjust_pkts = take("adjust_pkts", 1, 1000);
  return std::make_unique<Nscc>(context, p);
}

const CongestionParts::Entry kNscc{"nscc", &make_nscc};

}  // namespace

}  // namespace tb
