// The workload engine of a card: when which message is posted to whom.
#pragma once
#include <cstdint>
#include <vector>

#include "../testbed/engine/distribution.hpp"
#include "../testbed/engine/frame.hpp"
#include "../testbed/engine/rng.hpp"
#include "../testbed/engine/types.hpp"

namespace tb {

/// How the intended times of a card's messages arise.
enum class Arrivals : std::uint8_t {
  kNone = 0,      // posts nothing of its own accord
  kPeriodic = 1,  // open loop, one every `interval_ps`
  kPoisson = 2,   // open loop, exponential gaps of mean `interval_ps`
  kClosed = 3,    // `window` messages at a time: the next when one is acknowledged
  kPingPong = 4,  // one message; the next when the reply is complete
  // A collective without multicast, again every `interval_ps`: in round r one message to destinations[r], as soon as
  // the message of the round before has come from destinations[rounds + r - 1]. A dissemination barrier, recursive
  // doubling, a ring.
  kRounds = 5,
};

struct WorkloadConfig {
  Arrivals arrivals = Arrivals::kNone;
  std::vector<std::uint32_t> destinations;  // cards; each message draws one uniformly
  std::uint32_t others_of = 0;              // instead: all of this many cards but itself
  std::uint64_t message_bytes = 0;
  ps_t start_ps = 0;
  ps_t interval_ps = 0;
  ps_t measure_until_ps = 0;  // messages intended before this are recorded, and the run waits for them
  std::uint32_t window = 1;   // closed loop
  ps_t post_until_ps = 0;     // closed loop: goes on so far as load to the others, if later than measure_until_ps
  bool common_times = false;  // every card draws the same intended times (synchronous incast)
  bool reply = false;         // answer each complete message with one of the same size
  Op op = Op::kPut;
  std::uint32_t batch = 1;  // messages that are posted at once, to one destination; the interval is from batch to batch
};

inline constexpr std::uint32_t kPurposeDestination = 0x1000;
inline constexpr std::uint32_t kPurposeTimes = 0x1001;
inline constexpr std::uint32_t kCommonEntity = 0xFFFFFFFFU;

/// Draws times and destinations.
class Workload {
 public:
  Workload(const WorkloadConfig& config, std::uint64_t seed, std::uint32_t card)
      : config_(&config),
        destinations_(seed, card, kPurposeDestination),
        times_(seed, config.common_times ? kCommonEntity : card, kPurposeTimes),
        next_ps_(config.start_ps),
        card_(card) {}

  [[nodiscard]] bool open_loop() const {
    return config_->arrivals == Arrivals::kPeriodic || config_->arrivals == Arrivals::kPoisson ||
           config_->arrivals == Arrivals::kRounds;
  }
  /// The intended time of the first (or, again, the next) open-loop message.
  ps_t next_time() {
    if (config_->arrivals == Arrivals::kPoisson) {
      next_ps_ += exponential_ps(times_.next(), config_->interval_ps);
      return next_ps_;
    }
    const ps_t now = next_ps_;
    next_ps_ += config_->interval_ps;
    return now;
  }
  std::uint32_t next_destination() {
    if (config_->others_of > 1) {
      const std::uint32_t place = bounded(destinations_.next(), config_->others_of - 1);
      return place < card_ ? place : place + 1;
    }
    const auto& all = config_->destinations;
    if (all.size() == 1) return all[0];
    return all[bounded(destinations_.next(), static_cast<std::uint32_t>(all.size()))];
  }

 private:
  const WorkloadConfig* config_;
  RandomStream destinations_;
  RandomStream times_;
  ps_t next_ps_;
  std::uint32_t card_;
};

}  // namespace tb
