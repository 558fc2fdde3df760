// What every switch does with a frame before its queues matter: its class, and the port it leaves by.
#pragma once
#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "../engine/entity.hpp"
#include "marking.hpp"
#include "path_choice.hpp"

namespace tb {

/// The part of a switch's configuration that does not depend on how it buffers.
struct ForwardingConfig {
  std::vector<std::vector<std::uint16_t>> groups;   // egress ports of equal standing
  std::vector<std::vector<std::uint32_t>> weights;  // beside `groups`; empty: all equal
  std::vector<std::uint32_t> route;                 // endpoint -> index into groups; kNoRoute: unknown
  PathConfig paths;
  std::vector<std::uint8_t> class_of_pcp;   // none: the same number
  std::vector<std::uint8_t> class_of_dscp;  // none: dscp >> 3
  std::vector<EcnConfig> ecn;               // by class, or none
  bool ecn_at_enqueue = false;
};

inline constexpr std::uint32_t kNoRoute = 0xFFFFFFFFU;

/// Throws std::invalid_argument for a configuration that no switch can have.
void check_forwarding(const ForwardingConfig& config);

class Forwarding {
 public:
  Forwarding(const ForwardingConfig& config, const NodeContext& context);
  /// Throws std::invalid_argument if a group names a port without link.
  void check_ports(const std::vector<Port>& ports, const std::string& name) const;
  [[nodiscard]] std::uint32_t classify(const Frame& frame) const {
    return has_ip(frame.format) ? class_of_dscp_[frame.dscp & 63U] : class_of_pcp_[frame.traffic_class() & 7U];
  }
  [[nodiscard]] bool knows(const Frame& frame) const {
    return frame.dst < only_port_.size() && only_port_[frame.dst] != kNoPort;
  }
  /// Called as early as can be: what `choose` will read of a flow is seldom in the cache.
  void prefetch(const Frame& frame) const {
    if (knows(frame) && only_port_[frame.dst] == kSeveralPorts) paths_.prefetch(frame);
  }
  /// The egress port of a frame whose destination is known; `load(port)` is what lies before it there [bytes].
  template <typename Load>
  std::uint32_t choose(const Frame& frame, ps_t now_ps, const Load& load) {
    if (only_port_[frame.dst] != kSeveralPorts) return only_port_[frame.dst];
    const PortGroup& group = groups_[config_.route[frame.dst]];
    if (config_.paths.choice == PathChoice::kHash) return group.draw(flow_hash(frame, config_.paths.hash_seed));
    return paths_.choose(group, frame, now_ps, load);
  }

 private:
  static constexpr std::uint16_t kSeveralPorts = 0xFFFF, kNoPort = 0xFFFE;
  const ForwardingConfig& config_;
  std::vector<PortGroup> groups_;
  std::vector<std::uint16_t> only_port_;  // by endpoint, where its group has one port
  PathChooser paths_;
  std::array<std::uint8_t, kClasses> class_of_pcp_{};
  std::array<std::uint8_t, 64> class_of_dscp_{};
};

}  // namespace tb
