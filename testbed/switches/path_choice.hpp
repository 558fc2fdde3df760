// Which of several ports of equal standing a switch sends a frame to: its own choice, as in a select group.
#pragma once
#include <cstdint>
#include <vector>

#include "../engine/frame.hpp"
#include "../engine/rng.hpp"
#include "../engine/types.hpp"

namespace tb {

enum class PathChoice : std::uint8_t {
  kHash = 0,         // of the flow: order is kept
  kFlowlet = 1,      // at random for each burst of a flow
  kLeastLoaded = 2,  // the port with the least load, for each burst of a flow (dynamic load balancing)
  kSpray = 3,        // at random for each frame
  kRoundRobin = 4,   // in turn for each frame
};

struct PathConfig {
  PathChoice choice = PathChoice::kHash;
  std::uint64_t hash_seed = 0;               // each switch has its own; the same on all switches polarises
  ps_t flowlet_gap_ps = 0;                   // a pause of a flow that lets it change its port
  std::uint32_t flowlet_entries = 16'384;    // a power of two; flows that share an entry share their port
  std::uint64_t load_quantum_bytes = 1'024;  // loads that differ by less count as equal
};

/// Random numbers of the choice.
inline constexpr std::uint32_t kPurposePaths = 0x2000;

/// The hash of the fields that a switch knows a flow by: addresses, and the UDP source port where there is one.
inline std::uint64_t flow_hash(const Frame& frame, std::uint64_t seed) {
  const std::uint64_t flow = (std::uint64_t{frame.src} << 48) | (std::uint64_t{frame.dst} << 32) |
                             (std::uint64_t{frame.entropy} << 16) | static_cast<std::uint64_t>(frame.format);
  return mix64(flow ^ seed);
}

/// The ports of one group; `upto[i]` is the sum of the weights of ports 0 .. i, empty where all are equal.
struct PortGroup {
  std::uint32_t number = 0;
  std::vector<std::uint16_t> ports;
  std::vector<std::uint32_t> upto;

  [[nodiscard]] std::uint16_t draw(std::uint64_t random) const {
    if (upto.empty()) return ports[bounded(random, static_cast<std::uint32_t>(ports.size()))];
    const std::uint32_t at = bounded(random, upto.back());
    std::size_t place = 0;
    while (at >= upto[place]) ++place;
    return ports[place];
  }
};

class PathChooser {
 public:
  PathChooser(const PathConfig& config, std::uint64_t seed, std::uint32_t entity)
      : config_(config), random_(seed, entity, kPurposePaths) {}

  /// Some group has several ports.
  void prepare() {
    if (config_.choice == PathChoice::kFlowlet || config_.choice == PathChoice::kLeastLoaded) {
      table_.resize(config_.flowlet_entries);
    }
  }
  /// Flows whose port `still(group, port)` denies choose anew.
  template <typename Still>
  void keep(const Still& still) {
    for (Flowlet& flowlet : table_) flowlet.known = flowlet.known && still(flowlet.group, flowlet.port);
  }
  /// Start as on the first day; the random numbers go on.
  void forget() {
    keep([](std::uint32_t, std::uint16_t) { return false; });
    turn_ = 0;
  }

  void prefetch(const Frame& frame) const {
    if (!table_.empty()) __builtin_prefetch(&table_[place_of(frame)], 1);
  }
  /// `load(port)` tells what lies before a frame there [bytes].
  template <typename Load>
  std::uint16_t choose(const PortGroup& group, const Frame& frame, ps_t now_ps, const Load& load) {
    switch (config_.choice) {
      case PathChoice::kHash:
        return group.draw(flow_hash(frame, config_.hash_seed));
      case PathChoice::kSpray:
        return group.draw(random_.next());
      case PathChoice::kRoundRobin:
        return group.ports[turn_++ % group.ports.size()];
      default:
        break;
    }
    Flowlet& flowlet = table_[place_of(frame)];
    const bool goes_on =
        flowlet.known && flowlet.group == group.number && now_ps - flowlet.last_ps < config_.flowlet_gap_ps;
    if (!goes_on) {
      flowlet.port = config_.choice == PathChoice::kFlowlet ? group.draw(random_.next()) : least_loaded(group, load);
      flowlet.group = group.number;
      flowlet.known = true;
    }
    flowlet.last_ps = now_ps;
    return flowlet.port;
  }

 private:
  struct Flowlet {
    ps_t last_ps = 0;
    std::uint32_t group = 0;
    std::uint16_t port = 0;
    bool known = false;
  };
  static_assert(sizeof(Flowlet) == 16);
  [[nodiscard]] std::size_t place_of(const Frame& frame) const {
    return flow_hash(frame, config_.hash_seed) & (table_.size() - 1);
  }
  /// Ties go to the first port behind the one that was chosen last.
  template <typename Load>
  std::uint16_t least_loaded(const PortGroup& group, const Load& load) {
    const std::size_t count = group.ports.size();
    std::size_t best = 0;
    std::uint64_t least = UINT64_MAX;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t place = (turn_ + i) % count;
      const std::uint64_t here = load(group.ports[place]) / config_.load_quantum_bytes;
      if (here < least) {
        least = here;
        best = place;
      }
    }
    turn_ = best + 1;
    return group.ports[best];
  }

  const PathConfig& config_;
  RandomStream random_;
  std::vector<Flowlet> table_;
  std::size_t turn_ = 0;
};

}  // namespace tb
