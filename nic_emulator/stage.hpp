// Stages: the parts that every NIC model is made of. A stage is a FIFO server with a latency.
#pragma once
#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "../testbed/engine/distribution.hpp"
#include "../testbed/engine/rng.hpp"
#include "../testbed/engine/types.hpp"

namespace tb {

/// One stage of a pipeline. An item of b bytes that comes at t starts at max(t, first server free, end of a stall),
/// holds that server for `occupancy_ps + ceil(b * occupancy_ps_per_kib / 1024)`, and leaves that much plus latency and
/// jitter later, never before the item ahead of it.
struct StageConfig {
  std::string name;
  ps_t latency_ps = 0;
  ps_t occupancy_ps = 0;
  std::uint64_t occupancy_ps_per_kib = 0;
  QuantileTable jitter;        // added to each item's latency
  ps_t stall_interval_ps = 0;  // mean time between the end of a stall and the next; 0: never
  QuantileTable stall;         // how long a stall lasts
  std::uint32_t servers = 1;   // items that are served at once
  bool per_card = false;       // each card behind the NIC has one; else all share it
  bool reads_payload = false;  // it is there to fetch payload: a packet that has none does not wait for it
  ps_t coalesce_ps = 0;        // items wait for others, so long from the first, and enter together
  ps_t wake_after_ps = 0;      // a stage without work for so long sleeps
  QuantileTable wake;          // and takes so long to wake up; empty: it never sleeps
};

inline constexpr std::uint32_t kPurposeWake = 0x5000;

class Stage {
 public:
  Stage(const StageConfig& config, std::uint64_t seed, std::uint32_t entity, std::uint32_t purpose)
      : latency_ps_(config.latency_ps),
        occupancy_ps_(config.occupancy_ps),
        occupancy_ps_per_kib_(config.occupancy_ps_per_kib),
        plain_(config.jitter.empty() && config.stall_interval_ps == 0 && config.coalesce_ps == 0 &&
               config.wake.empty() && config.servers == 1),
        config_(&config),
        jitter_(seed, entity, 2 * purpose),
        stalls_(seed, entity, 2 * purpose + 1),
        wakes_(seed, entity, kPurposeWake + purpose),
        more_free_ps_(config.servers - 1, 0) {}

  /// The time at which an item that comes at `now_ps` leaves; calls come in time order.
  [[gnu::always_inline]] ps_t pass(ps_t now_ps, std::uint64_t bytes) {
    if (!plain_) [[unlikely]]
      return pass_any(now_ps, bytes);
    free_ps_ = std::max(now_ps, free_ps_) + held_ps(bytes);
    last_out_ps_ = std::max(free_ps_ + latency_ps_, last_out_ps_);
    return last_out_ps_;
  }

  /// Whatever is in it is gone, and it is free.
  void clear() {
    free_ps_ = last_out_ps_ = open_until_ps_ = 0;
    std::fill(more_free_ps_.begin(), more_free_ps_.end(), 0);
  }
  /// The time at which an item goes on that has no business here: at once, but not before those ahead of it.
  ps_t pass_by(ps_t now_ps) {
    last_out_ps_ = std::max(now_ps, last_out_ps_);
    return last_out_ps_;
  }

 private:
  [[nodiscard]] ps_t held_ps(std::uint64_t bytes) const {
    return occupancy_ps_ + (bytes * occupancy_ps_per_kib_ + 1023) / 1024;
  }
  [[gnu::noinline]] ps_t pass_any(ps_t now_ps, std::uint64_t bytes) {
    if (config_->coalesce_ps != 0) now_ps = together(now_ps);
    ps_t start = std::max(now_ps, free_ps_);
    if (!config_->wake.empty() && start >= last_out_ps_ + config_->wake_after_ps) {
      start += config_->wake.draw(wakes_.next());
    }
    if (config_->stall_interval_ps != 0) start = after_stall(start);
    free_ps_ = start + held_ps(bytes);
    ps_t out = free_ps_ + latency_ps_;
    if (!more_free_ps_.empty()) next_server();
    if (!config_->jitter.empty()) out += config_->jitter.draw(jitter_.next());
    last_out_ps_ = std::max(out, last_out_ps_);
    return last_out_ps_;
  }
  ps_t together(ps_t now_ps) {
    if (now_ps >= open_until_ps_) open_until_ps_ = now_ps + config_->coalesce_ps;
    return open_until_ps_;
  }
  // `free_ps_` is of the server that comes next: the one that is free first.
  void next_server() {
    const auto first = std::min_element(more_free_ps_.begin(), more_free_ps_.end());
    if (*first < free_ps_) std::swap(*first, free_ps_);
  }
  ps_t after_stall(ps_t start) {
    while (start >= stall_end_ps_) {
      stall_start_ps_ = stall_end_ps_ + exponential_ps(stalls_.next(), config_->stall_interval_ps);
      stall_end_ps_ = stall_start_ps_ + config_->stall.draw(stalls_.next()) + 1;
    }
    return start >= stall_start_ps_ ? stall_end_ps_ : start;
  }

  ps_t free_ps_ = 0;
  ps_t last_out_ps_ = 0;
  ps_t latency_ps_;
  ps_t occupancy_ps_;
  std::uint64_t occupancy_ps_per_kib_;
  bool plain_;  // a server and a latency: all above is all it needs
  const StageConfig* config_;
  RandomStream jitter_;
  RandomStream stalls_;
  RandomStream wakes_;
  ps_t stall_start_ps_ = 0;
  ps_t stall_end_ps_ = 0;
  ps_t open_until_ps_ = 0;
  std::vector<ps_t> more_free_ps_;  // of the servers besides the first
};

/// Stages in a row, for the cards behind one NIC: those that all share, and those of which each card has its own.
class Pipeline {
 public:
  /// Random-number purposes from `purpose` on; throws std::invalid_argument for more than 16 stages.
  Pipeline(const std::vector<StageConfig>& configs, std::uint32_t cards, std::uint64_t seed, std::uint32_t entity,
           std::uint32_t purpose) {
    if (configs.size() > kMostStages) throw std::invalid_argument("a place has at most 16 stages");
    for (const StageConfig& config : configs) {
      if (config.servers == 0 || config.servers > 64) throw std::invalid_argument("a stage has 1 to 64 servers");
      const std::uint32_t copies = config.per_card ? cards : 1;
      first_.push_back({static_cast<std::uint32_t>(stages_.size()), copies > 1, config.reads_payload});
      reads_payload_ = reads_payload_ || config.reads_payload;
      const auto place = static_cast<std::uint32_t>(first_.size() - 1);
      for (std::uint32_t card = 0; card < copies; ++card) {
        stages_.emplace_back(config, seed, entity, purpose + place + kMostStages * card);
      }
    }
  }
  [[gnu::always_inline]] ps_t pass(ps_t now_ps, std::uint64_t bytes, std::uint32_t card = 0) {
    if (stages_.size() != first_.size() || (bytes == 0 && reads_payload_)) [[unlikely]] {
      return pass_some(0, first_.size(), now_ps, bytes, card);
    }
    for (Stage& stage : stages_) now_ps = stage.pass(now_ps, bytes);
    return now_ps;
  }
  /// Only the stages from place `begin` up to before place `end`.
  [[gnu::noinline]] ps_t pass_some(std::size_t begin, std::size_t end, ps_t now_ps, std::uint64_t bytes,
                                   std::uint32_t card) {
    for (std::size_t place = begin; place < end; ++place) {
      Stage& stage = stages_[first_[place].stage + (first_[place].per_card ? card : 0)];
      now_ps = bytes == 0 && first_[place].reads_payload ? stage.pass_by(now_ps) : stage.pass(now_ps, bytes);
    }
    return now_ps;
  }
  void clear() {
    for (Stage& stage : stages_) stage.clear();
  }
  [[nodiscard]] std::size_t size() const { return first_.size(); }
  /// How many stages at the beginning are not shared between several cards.
  [[nodiscard]] std::size_t own_stages() const {
    std::size_t count = 0;
    while (count < first_.size() && first_[count].per_card) ++count;
    return count;
  }
  /// Whether no shared stage comes behind one that is not.
  [[nodiscard]] bool shared_first() const {
    bool own = false;
    for (const Place& place : first_) {
      if (own && !place.per_card) return false;
      own = place.per_card;
    }
    return true;
  }

 private:
  static constexpr std::uint32_t kMostStages = 16;
  struct Place {
    std::uint32_t stage;
    bool per_card;
    bool reads_payload;
  };
  std::vector<Stage> stages_;
  std::vector<Place> first_;
  bool reads_payload_ = false;
};

}  // namespace tb
