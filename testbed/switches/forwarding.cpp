#include "forwarding.hpp"

#include <algorithm>
#include <bit>
#include <numeric>

namespace tb {

namespace {

void check_classes_of(const ForwardingConfig& config) {
  const bool by_class = config.class_of_pcp.empty() || config.class_of_pcp.size() == kClasses;
  require(by_class && (config.ecn.empty() || config.ecn.size() == kClasses), "a list by class has 8 items");
  require(config.class_of_dscp.empty() || config.class_of_dscp.size() == 64, "class_of_dscp has 64 items");
  for (const auto* map : {&config.class_of_pcp, &config.class_of_dscp}) {
    for (const std::uint8_t c : *map) require(c < kClasses, "a class is 0 to 7");
  }
  for (const EcnConfig& ecn : config.ecn) {
    require(ecn.kmax_bytes == 0 || ecn.kmin_bytes <= ecn.kmax_bytes, "kmin is at most kmax");
    require(ecn.pmax_ppm <= 1'000'000, "pmax is at most 1");
  }
}

void check_routes(const ForwardingConfig& config) {
  for (const std::uint32_t group : config.route) {
    require(group == kNoRoute || group < config.groups.size(), "a route names no group");
  }
  for (const auto& group : config.groups) require(!group.empty(), "a group has at least one port");
  require(config.weights.empty() || config.weights.size() == config.groups.size(), "each group has its weights");
  for (std::size_t i = 0; i < config.weights.size(); ++i) {
    require(config.weights[i].size() == config.groups[i].size(), "each port of a group has its weight");
    const auto sum = std::accumulate(config.weights[i].begin(), config.weights[i].end(), std::uint64_t{0});
    require(sum > 0 && sum <= 1'000'000, "the weights of a group add up to 1 to 1000000");
  }
  require(std::has_single_bit(config.paths.flowlet_entries), "the flowlet table has a power of two of entries");
  require(config.paths.load_quantum_bytes > 0, "loads are compared in units of at least one byte");
}

std::vector<PortGroup> groups_of(const ForwardingConfig& config) {
  std::vector<PortGroup> groups;
  for (std::size_t i = 0; i < config.groups.size(); ++i) {
    PortGroup& group = groups.emplace_back();
    group.number = static_cast<std::uint32_t>(i);
    group.ports = config.groups[i];
    if (config.weights.empty()) continue;
    group.upto = config.weights[i];
    std::partial_sum(group.upto.begin(), group.upto.end(), group.upto.begin());
  }
  return groups;
}

bool any_choice(const ForwardingConfig& config) {
  return std::any_of(config.groups.begin(), config.groups.end(), [](const auto& group) { return group.size() > 1; });
}

}  // namespace

void check_forwarding(const ForwardingConfig& config) {
  check_classes_of(config);
  check_routes(config);
}

Forwarding::Forwarding(const ForwardingConfig& config, const NodeContext& context)
    : config_(config), groups_(groups_of(config)), paths_(config.paths, any_choice(config), context.seed, context.id) {
  for (std::uint32_t i = 0; i < kClasses; ++i) {
    class_of_pcp_[i] = config.class_of_pcp.empty() ? static_cast<std::uint8_t>(i) : config.class_of_pcp[i];
  }
  for (std::uint32_t i = 0; i < 64; ++i) {
    class_of_dscp_[i] = config.class_of_dscp.empty() ? static_cast<std::uint8_t>(i >> 3) : config.class_of_dscp[i];
  }
  for (const std::uint32_t route : config.route) {
    const bool several = route != kNoRoute && groups_[route].ports.size() > 1;
    only_port_.push_back(several ? kSeveralPorts : route == kNoRoute ? kNoPort : groups_[route].ports[0]);
  }
}

void Forwarding::check_ports(const std::vector<Port>& ports, const std::string& name) const {
  for (const auto& group : config_.groups) {
    for (const std::uint32_t number : group) {
      if (number < ports.size() && ports[number].wire != kNoWire) continue;
      throw std::invalid_argument("a group of " + name + " names port " + std::to_string(number) +
                                  ", which has no link");
    }
  }
}

}  // namespace tb
