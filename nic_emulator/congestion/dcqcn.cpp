// DCQCN's reaction point: a rate that congestion notification packets (CNPs) cut, and timers and bytes raise.
//
//   unlimited --first CNP--> limited (alpha = 1, target = rate = line)
//   cut:      target = rate (see clamp_target); rate = rate (1 - alpha/2); both stages = 0; increase timer restarts
//   increase, each time the increase timer expires (timer stage) or byte_counter_bytes have left (byte stage):
//     fast recovery  max(stages) < F                        rate = (rate + target) / 2
//     additive       otherwise             target += R_AI;  rate = (rate + target) / 2
//     hyper          min(stages) > F       target += R_HAI; rate = (rate + target) / 2
//     the stage that expired is then one higher; without a byte counter the timer's stage stands for both
//   decrease_interval_ps = 0: each CNP cuts, then alpha += g (1 - alpha) and the alpha timer restarts; when it expires,
//     alpha -= g alpha. (Zhu et al., "Congestion Control for Large-Scale RDMA Deployments", SIGCOMM 2015, section 3 and
//     figure 7.)
//   decrease_interval_ps > 0: CNPs are only noted. The alpha timer moves alpha by g towards 1 if one came since it last
//     expired, otherwise towards 0; the decrease timer cuts if one came. (ConnectX, as in alibaba-edu/
//     High-Precision-Congestion-Control, simulation/src/point-to-point/model/rdma-hw.cc @9f4be2a9.)
//   clamp_target = 0: a cut that follows another with no expiry of the increase timer between leaves the target alone.
//
// At one instant alpha comes before an increase, and an increase before a cut, as there. Hyper increase adds R_HAI each
// time, as there; the paper draws it but does not say by how much, and QCN multiplies it by the number of expiries.
#include <algorithm>

#include "../congestion.hpp"

namespace tb {

namespace {

struct DcqcnParameters {
  std::uint32_t g_log2;
  ps_t alpha_timer_ps;
  ps_t decrease_interval_ps;
  ps_t increase_timer_ps;
  std::uint64_t byte_counter_bytes;
  std::uint64_t fast_recovery_stages;
  std::uint64_t additive_increase_bps;
  std::uint64_t hyper_increase_bps;
  std::uint64_t min_rate_bps;
  bool clamp_target;
};

class Dcqcn final : public CongestionControl {
 public:
  Dcqcn(const CongestionContext& context, const DcqcnParameters& given)
      : p_(given),
        line_bps_(8'000'000'000'000ULL / context.byte_time_ps),
        rate_bps_(line_bps_),
        target_bps_(line_bps_) {
    p_.min_rate_bps = std::min(p_.min_rate_bps, line_bps_);
  }

  void sent(ps_t now_ps, std::uint64_t bytes) override {
    catch_up(now_ps);
    if (!limited_ || p_.byte_counter_bytes == 0) return;
    counted_bytes_ += bytes;
    for (; counted_bytes_ >= p_.byte_counter_bytes; counted_bytes_ -= p_.byte_counter_bytes) increase(byte_stage_);
  }

  void notified(ps_t now_ps) override {
    catch_up(now_ps);
    const bool first = !limited_;
    limited_ = true;
    if (p_.decrease_interval_ps == 0) {
      cut(now_ps);
      alpha_ += (kOne - alpha_) >> p_.g_log2;
      alpha_due_ps_ = now_ps + p_.alpha_timer_ps;
      return;
    }
    cut_noted_ = true;
    alpha_noted_ = !first;  // alpha starts at 1 with this one
    if (!first) return;
    alpha_due_ps_ = now_ps + p_.alpha_timer_ps;
    decrease_due_ps_ = now_ps + p_.decrease_interval_ps;
  }

  [[nodiscard]] std::uint64_t ps_per_kib(ps_t now_ps) override {
    catch_up(now_ps);
    if (rate_bps_ >= line_bps_) return 0;
    return (kKibBitPs + rate_bps_ - 1) / rate_bps_;
  }

 private:
  static constexpr std::uint64_t kOne = 1ULL << 32;  // alpha = 1
  static constexpr std::uint64_t kKibBitPs = 8'192'000'000'000'000ULL;

  void catch_up(ps_t now_ps) {
    while (true) {
      const ps_t due_ps = std::min({alpha_due_ps_, increase_due_ps_, decrease_due_ps_});
      if (due_ps > now_ps) return;
      if (at_rest()) return skip_to(now_ps);
      if (due_ps == alpha_due_ps_) {
        step_alpha();
      } else if (due_ps == increase_due_ps_) {
        increase_due_ps_ += p_.increase_timer_ps;
        increase(timer_stage_);
      } else {
        decrease_due_ps_ += p_.decrease_interval_ps;
        if (cut_noted_) cut(due_ps);
        cut_noted_ = false;
      }
    }
  }

  void step_alpha() {
    alpha_due_ps_ += p_.alpha_timer_ps;
    alpha_ -= alpha_ >> p_.g_log2;
    if (alpha_noted_) alpha_ += kOne >> p_.g_log2;
    alpha_noted_ = false;
  }

  /// Nothing but the timers' stages would change, however often they expire.
  [[nodiscard]] bool at_rest() const {
    return rate_bps_ == line_bps_ && target_bps_ == line_bps_ && (alpha_ >> p_.g_log2) == 0 && !alpha_noted_ &&
           !cut_noted_;
  }
  void skip_to(ps_t now_ps) {
    skip(alpha_due_ps_, p_.alpha_timer_ps, now_ps);
    skip(decrease_due_ps_, p_.decrease_interval_ps, now_ps);
    timer_stage_ += skip(increase_due_ps_, p_.increase_timer_ps, now_ps);
  }
  static std::uint64_t skip(ps_t& due_ps, ps_t period_ps, ps_t now_ps) {
    if (due_ps > now_ps) return 0;
    const std::uint64_t times = (now_ps - due_ps) / period_ps + 1;
    due_ps += times * period_ps;
    return times;
  }

  void cut(ps_t now_ps) {
    if (p_.clamp_target || timer_stage_ > 0) target_bps_ = rate_bps_;
    const auto by_bps = static_cast<std::uint64_t>((wide_t{rate_bps_} * alpha_) >> 33);
    rate_bps_ = std::max(p_.min_rate_bps, rate_bps_ - by_bps);
    timer_stage_ = byte_stage_ = 0;
    counted_bytes_ = 0;
    increase_due_ps_ = now_ps + p_.increase_timer_ps;
  }

  void increase(std::uint64_t& stage) {
    const std::uint64_t bytes = p_.byte_counter_bytes == 0 ? timer_stage_ : byte_stage_;
    if (std::min(timer_stage_, bytes) > p_.fast_recovery_stages) {
      target_bps_ += p_.hyper_increase_bps;
    } else if (std::max(timer_stage_, bytes) >= p_.fast_recovery_stages) {
      target_bps_ += p_.additive_increase_bps;
    }
    target_bps_ = std::min(target_bps_, line_bps_);
    rate_bps_ = (rate_bps_ + target_bps_ + 1) / 2;  // up, or it never arrives
    ++stage;
  }

  DcqcnParameters p_;
  std::uint64_t line_bps_;
  std::uint64_t rate_bps_;
  std::uint64_t target_bps_;
  std::uint64_t alpha_ = kOne;  // 2^-32
  std::uint64_t timer_stage_ = 0;
  std::uint64_t byte_stage_ = 0;
  std::uint64_t counted_bytes_ = 0;
  ps_t alpha_due_ps_ = kNever;
  ps_t decrease_due_ps_ = kNever;
  ps_t increase_due_ps_ = kNever;
  bool limited_ = false;
  bool alpha_noted_ = false;
  bool cut_noted_ = false;
};

std::unique_ptr<CongestionControl> make_dcqcn(const CongestionContext& context, PartParameters& given) {
  constexpr std::int64_t kSecond = 1'000'000'000'000;
  constexpr std::int64_t kMostBps = 8'000'000'000'000;
  DcqcnParameters p{};
  p.g_log2 = static_cast<std::uint32_t>(given.take("g_log2", 1, 16));
  p.alpha_timer_ps = static_cast<ps_t>(given.take("alpha_timer_ps", 1000, kSecond));
  p.decrease_interval_ps = static_cast<ps_t>(given.take("decrease_interval_ps", 0, kSecond));
  p.increase_timer_ps = static_cast<ps_t>(given.take("increase_timer_ps", 1000, kSecond));
  p.byte_counter_bytes = static_cast<std::uint64_t>(given.take("byte_counter_bytes", 0, 1LL << 40));
  p.fast_recovery_stages = static_cast<std::uint64_t>(given.take("fast_recovery_stages", 0, 1000));
  p.additive_increase_bps = static_cast<std::uint64_t>(given.take("additive_increase_bps", 1, kMostBps));
  p.hyper_increase_bps = static_cast<std::uint64_t>(given.take("hyper_increase_bps", 1, kMostBps));
  p.min_rate_bps = static_cast<std::uint64_t>(given.take("min_rate_bps", 1'000'000, kMostBps));
  p.clamp_target = given.take("clamp_target", 0, 1) != 0;
  return std::make_unique<Dcqcn>(context, p);
}

const CongestionParts::Entry kDcqcn{"dcqcn", &make_dcqcn};

}  // namespace

}  // namespace tb
