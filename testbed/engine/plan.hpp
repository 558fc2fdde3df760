// What is to be run: nodes with their models, and links. Every engine and every process builds from the same plan.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "entity.hpp"

namespace tb {

/// A slow link is so much longer at most.
inline constexpr ps_t kMostExtraPs = 1'000'000'000'000;

struct PlanNode {
  std::string name;
  std::shared_ptr<const NodeModel> model;
  std::uint32_t ports = 0;
};

struct PlanLink {
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  std::uint16_t a_port = 0;
  std::uint16_t b_port = 0;
  std::uint32_t byte_time_ps = 0;
  ps_t latency_ps = 0;
  bool cbfc = false;             // credit-based flow control both ways
  Impairment forward, backward;  // a -> b, b -> a
};

class Plan {
 public:
  explicit Plan(std::uint64_t number) : seed(number) {}

  std::uint32_t add_node(std::string name, std::shared_ptr<const NodeModel> model) {
    nodes.push_back({std::move(name), std::move(model), 0});
    return static_cast<std::uint32_t>(nodes.size() - 1);
  }
  /// Direction a -> b is wire 2 i, b -> a is wire 2 i + 1 of link i. Throws std::invalid_argument.
  void add_link(const PlanLink& link) {
    if (link.a >= nodes.size() || link.b >= nodes.size() || link.a == link.b) {
      throw std::invalid_argument("a link joins two different nodes of the plan");
    }
    if (link.byte_time_ps == 0 || link.latency_ps == 0) {
      throw std::invalid_argument("a link has a byte time and a latency above zero");
    }
    for (const Impairment* wire : {&link.forward, &link.backward}) {
      for (const Impairment::Slow& slow : wire->slow) {
        if (slow.byte_time_ps < link.byte_time_ps || slow.extra_latency_ps > kMostExtraPs) {
          throw std::invalid_argument("a slow link is never faster than its rate, and at most 1 s longer");
        }
      }
    }
    if (link.cbfc && (link.forward.duplicate_2p64 != 0 || link.backward.duplicate_2p64 != 0)) {
      throw std::invalid_argument(
          "credits count every frame once: no credit-based flow control where frames come twice");
    }
    if (link.cbfc && (!link.forward.dark.empty() || !link.backward.dark.empty())) {
      throw std::invalid_argument(
          "credits that are lost without carrier are never granted again: no credit-based flow"
          " control on links that go down");
    }
    nodes[link.a].ports = std::max<std::uint32_t>(nodes[link.a].ports, link.a_port + 1U);
    nodes[link.b].ports = std::max<std::uint32_t>(nodes[link.b].ports, link.b_port + 1U);
    links.push_back(link);
  }
  /// One direction of a link as its sender's port; nothing is busy.
  [[nodiscard]] Port port_of(const PlanLink& link, bool forward) const {
    Port port;
    port.peer_entity = forward ? link.b : link.a;
    port.peer_port = forward ? link.b_port : link.a_port;
    port.byte_time_ps = link.byte_time_ps;
    port.latency_ps = link.latency_ps;
    const NodeModel& peer = *nodes[port.peer_entity].model;
    port.peer_ingress = peer.ingress();
    port.sends_control = nodes[forward ? link.a : link.b].model->sends_control() || link.cbfc;
    if (link.cbfc) {
      port.grants_credits = nodes[forward ? link.a : link.b].model->credits() != 0;
      port.peer_credits = peer.credits();
      port.peer_cell_bytes = peer.cell_bytes();
    }
    return port;
  }
  [[nodiscard]] std::uint32_t sources() const {
    return static_cast<std::uint32_t>(
        std::count_if(nodes.begin(), nodes.end(), [](const PlanNode& node) { return node.model->is_source(); }));
  }
  [[nodiscard]] std::uint32_t max_frame_bytes() const {
    std::uint32_t most = kMinFrameBytes;
    for (const PlanNode& node : nodes) most = std::max(most, node.model->max_frame_bytes());
    return most;
  }

  std::uint64_t seed;
  std::vector<PlanNode> nodes;
  std::vector<PlanLink> links;
};

}  // namespace tb
