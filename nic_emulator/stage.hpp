// Stages: the parts that every NIC model is made of. A stage is a FIFO server with a latency.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "../testbed/engine/distribution.hpp"
#include "../testbed/engine/rng.hpp"
#include "../testbed/engine/types.hpp"

namespace tb {

/// One stage of a pipeline. An item of b bytes that comes at t starts at max(t, server free, end of a stall), holds the
/// server for `occupancy_ps + ceil(b * occupancy_ps_per_kib / 1024)`, and leaves that much plus latency and jitter
/// later, never before the item ahead of it.
struct StageConfig {
  std::string name;
  ps_t latency_ps = 0;
  ps_t occupancy_ps = 0;
  std::uint64_t occupancy_ps_per_kib = 0;
  QuantileTable jitter;        // added to each item's latency
  ps_t stall_interval_ps = 0;  // mean time between the end of a stall and the next; 0: never
  QuantileTable stall;         // how long a stall lasts
};

class Stage {
 public:
  Stage(const StageConfig& config, std::uint64_t seed, std::uint32_t entity, std::uint32_t purpose)
      : config_(&config), jitter_(seed, entity, 2 * purpose), stalls_(seed, entity, 2 * purpose + 1) {}

  /// The time at which an item that comes at `now_ps` leaves; calls come in time order.
  ps_t pass(ps_t now_ps, std::uint64_t bytes) {
    ps_t start = std::max(now_ps, free_ps_);
    if (config_->stall_interval_ps != 0) start = after_stall(start);
    const ps_t held = config_->occupancy_ps + (bytes * config_->occupancy_ps_per_kib + 1023) / 1024;
    free_ps_ = start + held;
    ps_t out = start + held + config_->latency_ps;
    if (!config_->jitter.empty()) out += config_->jitter.draw(jitter_.next());
    last_out_ps_ = std::max(out, last_out_ps_);
    return last_out_ps_;
  }

 private:
  ps_t after_stall(ps_t start) {
    while (start >= stall_end_ps_) {
      stall_start_ps_ = stall_end_ps_ + exponential_ps(stalls_.next(), config_->stall_interval_ps);
      stall_end_ps_ = stall_start_ps_ + config_->stall.draw(stalls_.next()) + 1;
    }
    return start >= stall_start_ps_ ? stall_end_ps_ : start;
  }

  const StageConfig* config_;
  RandomStream jitter_;
  RandomStream stalls_;
  ps_t free_ps_ = 0;
  ps_t last_out_ps_ = 0;
  ps_t stall_start_ps_ = 0;
  ps_t stall_end_ps_ = 0;
};

/// Stages in a row.
class Pipeline {
 public:
  Pipeline(const std::vector<StageConfig>& configs, std::uint64_t seed, std::uint32_t entity, std::uint32_t purpose) {
    for (const StageConfig& config : configs) {
      stages_.emplace_back(config, seed, entity, purpose + static_cast<std::uint32_t>(stages_.size()));
    }
  }
  ps_t pass(ps_t now_ps, std::uint64_t bytes) {
    for (Stage& stage : stages_) now_ps = stage.pass(now_ps, bytes);
    return now_ps;
  }

 private:
  std::vector<Stage> stages_;
};

}  // namespace tb
