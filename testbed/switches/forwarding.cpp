#include "forwarding.hpp"

#include <algorithm>
#include <bit>
#include <numeric>

#include "../engine/group.hpp"
#include "../engine/wire.hpp"
#include "port_counts.hpp"

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

void check_routes(const std::vector<std::uint32_t>& routes, std::size_t groups) {
  for (const std::uint32_t route : routes) require(route < groups || route >= kCpuRoute, "a route names no group");
}

void check_tables(const ForwardingTables& tables) {
  check_routes(tables.route, tables.groups.size());
  for (std::size_t i = 0; i < tables.ingress_routes.size(); ++i) {
    check_routes(tables.ingress_routes[i].second, tables.groups.size());
    for (std::size_t j = 0; j < i; ++j) {
      require(tables.ingress_routes[j].first != tables.ingress_routes[i].first, "an ingress port has its routes once");
    }
  }
  for (const auto& group : tables.groups) require(!group.empty(), "a group has at least one port");
  require(tables.watched.empty() || tables.watched.size() == tables.groups.size(), "each group is watched or not");
  for (const std::uint8_t kind : tables.watched)
    require(kind <= 2, "a group is plain (0), watched (1) or failover (2)");
  require(tables.weights.empty() || tables.weights.size() == tables.groups.size(), "each group has its weights");
  for (std::size_t i = 0; i < tables.weights.size(); ++i) {
    require(tables.weights[i].size() == tables.groups[i].size(), "each port of a group has its weight");
    const auto sum = std::accumulate(tables.weights[i].begin(), tables.weights[i].end(), std::uint64_t{0});
    require(sum > 0 && sum <= 1'000'000, "the weights of a group add up to 1 to 1000000");
  }
}

void check_packet_out(const PacketOut& out) {
  Frame frame;
  Trailer trailer;
  IntStack stack;
  const bool whole = out.bytes.size() >= kMinFrameBytes && decode(out.bytes, frame, trailer, stack) == Decoded::kFrame;
  require(whole && frame.format != WireFormat::kMacControl, "the CPU sends whole frames of cards");
}

void check_changes(const ForwardingConfig& config) {
  const auto earlier = [](const auto& a, const auto& b) { return a.time_ps < b.time_ps; };
  require(std::is_sorted(config.updates.begin(), config.updates.end(), earlier), "updates are in order of time");
  require(std::is_sorted(config.port_states.begin(), config.port_states.end(), earlier),
          "port states are in order of time");
  require(std::is_sorted(config.packet_outs.begin(), config.packet_outs.end(), earlier),
          "packet-outs are in order of time");
  for (const PacketOut& out : config.packet_outs) check_packet_out(out);
  for (const TableUpdate& update : config.updates) check_tables(update.tables);
  ps_t free_ps = 0;
  for (const Restart& restart : config.restarts) {
    require(restart.from_ps < restart.until_ps, "a restart ends after it begins");
    require(restart.from_ps >= free_ps, "restarts follow each other");
    free_ps = restart.until_ps;
  }
}

void check_paths(const ForwardingConfig& config) {
  require(std::has_single_bit(config.paths.flowlet_entries), "the flowlet table has a power of two of entries");
  require(config.paths.load_quantum_bytes > 0, "loads are compared in units of at least one byte");
}

void check_port(const std::vector<Port>& ports, std::uint32_t number, const std::string& what) {
  if (number < ports.size() && ports[number].wire != kNoWire) return;
  throw std::invalid_argument(what + " names port " + std::to_string(number) + ", which has no link");
}

void check_ports_of(const ForwardingTables& tables, const std::vector<Port>& ports, const std::string& name) {
  for (const auto& group : tables.groups) {
    for (const std::uint32_t number : group) check_port(ports, number, "a group of " + name);
  }
  for (const auto& [ingress, routes] : tables.ingress_routes) check_port(ports, ingress, "a detour of " + name);
}

}  // namespace

void check_forwarding(const ForwardingConfig& config) {
  check_classes_of(config);
  check_tables(config);
  check_changes(config);
  check_paths(config);
}

Forwarding::Forwarding(const ForwardingConfig& config, const NodeContext& context)
    : config_(config),
      group_(context.group),
      tables_(&config),
      paths_(config.paths, context.seed, context.id),
      down_(context.ports, false) {
  for (std::uint32_t i = 0; i < kClasses; ++i) {
    class_of_pcp_[i] = config.class_of_pcp.empty() ? static_cast<std::uint8_t>(i) : config.class_of_pcp[i];
  }
  for (std::uint32_t i = 0; i < 64; ++i) {
    class_of_dscp_[i] = config.class_of_dscp.empty() ? static_cast<std::uint8_t>(i >> 3) : config.class_of_dscp[i];
  }
  for (const TableUpdate& update : config.updates) {
    plan({update.time_ps, ChangeKind::kTables, true, 0, &update.tables});
  }
  for (const PortState& state : config.port_states) {
    plan({state.time_ps, ChangeKind::kPort, state.up, state.port, nullptr});
  }
  for (const Restart& restart : config.restarts) {
    plan({restart.from_ps, ChangeKind::kRestart, false, 0, nullptr});
    plan({restart.until_ps, ChangeKind::kRestarted, true, 0, nullptr});
  }
  for (const PacketOut& out : config.packet_outs) {
    plan({out.time_ps, ChangeKind::kPacketOut, true, out.port, nullptr, &out});
  }
  work_out();
}

void Forwarding::check_ports(const std::vector<Port>& ports, const std::string& name) const {
  check_ports_of(config_, ports, name);
  for (const TableUpdate& update : config_.updates) check_ports_of(update.tables, ports, name);
  for (const PortState& state : config_.port_states) check_port(ports, state.port, "a port state of " + name);
  for (const PacketOut& out : config_.packet_outs) check_port(ports, out.port, "a packet-out of " + name);
  if (config_.restarts.empty()) return;
  for (const Port& port : ports) {
    if (!port.grants_credits && port.peer_credits == 0) continue;
    throw std::invalid_argument(name +
                                " restarts, and has a link with credit-based flow control: its credits are lost");
  }
}

// ------------------------------------------------------------------------------------------------------ changes

void Forwarding::plan(const Change& change) {
  const auto before = [](const Change& a, const Change& b) {
    return a.time_ps != b.time_ps ? a.time_ps < b.time_ps : a.kind < b.kind;
  };
  const auto first = changes_.begin() + static_cast<std::ptrdiff_t>(next_change_);
  changes_.insert(std::upper_bound(first, changes_.end(), change, before), change);
}

void Forwarding::add(TableUpdate update, const std::vector<Port>& ports, const std::string& name) {
  check_tables(update.tables);
  check_ports_of(update.tables, ports, name);
  added_.push_back(std::move(update.tables));
  plan({update.time_ps, ChangeKind::kTables, true, 0, &added_.back()});
}

void Forwarding::add(PacketOut out, const std::vector<Port>& ports, const std::string& name) {
  check_packet_out(out);
  check_port(ports, out.port, "a packet-out of " + name);
  added_outs_.push_back(std::move(out));
  const PacketOut& kept = added_outs_.back();
  plan({kept.time_ps, ChangeKind::kPacketOut, true, kept.port, nullptr, &kept});
}

Frame* Forwarding::take_packet_out(ps_t now_ps, std::uint32_t& egress) {
  while (!due_outs_.empty()) {
    const PacketOut& out = *due_outs_.front();
    due_outs_.pop_front();
    Frame* frame = group_.take_frame(out.bytes);
    if (restarting_) {
      lose(frame, now_ps);
      continue;
    }
    ++cpu_out_;
    egress = out.port;
    frame->queue = static_cast<std::uint8_t>(classify(*frame));
    if (group_.telemetry.tracing() && group_.telemetry.traces(*frame)) frame->flags |= kFlagTraced;
    return frame;
  }
  return nullptr;
}

bool Forwarding::change(ps_t now_ps) {
  bool restart = false, changed = false;
  for (; next_change_ps() <= now_ps; ++next_change_) {
    const Change& change = changes_[next_change_];
    changed |= change.kind != ChangeKind::kPacketOut;
    switch (change.kind) {
      case ChangeKind::kTables:
        tables_ = change.tables;
        break;
      case ChangeKind::kPort:
        down_[change.port] = !change.up;
        break;
      case ChangeKind::kRestarted:
        restarting_ = false;
        break;
      case ChangeKind::kRestart:
        restarting_ = restart = true;
        paths_.forget();
        break;
      case ChangeKind::kPacketOut:
        due_outs_.push_back(change.out);
        break;
    }
  }
  if (!changed) return false;
  work_out();
  paths_.keep([this](std::uint32_t number, std::uint16_t port) {
    if (number >= groups_.size()) return false;
    const std::vector<std::uint16_t>& ports = groups_[number].ports;
    return std::find(ports.begin(), ports.end(), port) != ports.end();
  });
  return restart;
}

// ------------------------------------------------------------------------------------------------------ tables

// The ports of a group that count now: none where no frame can be sent.
PortGroup Forwarding::live_group(std::uint32_t number) const {
  PortGroup group;
  group.number = number;
  const auto kind = tables_->watched.empty() ? GroupKind::kPlain : static_cast<GroupKind>(tables_->watched[number]);
  const std::vector<std::uint16_t>& ports = tables_->groups[number];
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (kind != GroupKind::kPlain && !up(ports[i])) continue;
    group.ports.push_back(ports[i]);
    if (kind == GroupKind::kFailover) return group;
    if (!tables_->weights.empty()) group.upto.push_back(sum += tables_->weights[number][i]);
  }
  if (!tables_->weights.empty() && sum == 0) group.ports.clear();
  return group;
}

std::uint16_t Forwarding::leads_to(std::uint32_t route) const {
  if (route == kNoRoute || route == kCpuRoute) return config_.punt_latency_ps == 0 ? kNoPort : kToCpu;
  if (route == kDropRoute) return kDropped;
  const std::vector<std::uint16_t>& ports = groups_[route].ports;
  return ports.empty() ? kNoLivePort : ports.size() > 1 ? kSeveralPorts : ports[0];
}

std::uint32_t Forwarding::route_of(std::uint32_t ingress, std::uint32_t dst) const {
  const std::vector<std::uint32_t>* own = ingress < detours_.size() ? detours_[ingress] : nullptr;
  return own != nullptr && dst < own->size() && (*own)[dst] != kNoRoute ? (*own)[dst] : route_[dst];
}

void Forwarding::work_out() {
  only_port_.clear();
  beyond_ = restarting_ ? kRestarting : leads_to(kNoRoute);
  if (restarting_) return;
  groups_.clear();
  for (std::uint32_t number = 0; number < tables_->groups.size(); ++number) groups_.push_back(live_group(number));
  detours_.clear();
  route_ = tables_->route;
  for (const auto& [ingress, routes] : tables_->ingress_routes) {
    detours_.resize(std::max<std::size_t>(detours_.size(), ingress + 1), nullptr);
    detours_[ingress] = &routes;
    route_.resize(std::max(route_.size(), routes.size()), kNoRoute);
  }
  for (const std::uint32_t route : route_) only_port_.push_back(leads_to(route));
  for (const auto& [ingress, routes] : tables_->ingress_routes) {
    for (std::size_t dst = 0; dst < routes.size(); ++dst) {
      if (routes[dst] != kNoRoute) only_port_[dst] = kByIngress;
    }
  }
  if (std::any_of(groups_.begin(), groups_.end(), [](const PortGroup& one) { return one.ports.size() > 1; })) {
    paths_.prepare();
  }
}

// ------------------------------------------------------------------------------------------------------ refusals

// A damaged frame is none for the CPU, which would find it out.
void Forwarding::refuse(std::uint16_t found, const Entity& at, std::uint32_t ingress, Frame* frame, ps_t now_ps) {
  if (found == kToCpu && (frame->flags & kFlagCorrupt) == 0) {
    ++cpu_;
    group_.punt(at, ingress, frame, now_ps);
    return;
  }
  ++(found == kRestarting ? restart_ : found == kNoLivePort ? no_live_port_ : found == kDropped ? acl_ : no_route_);
  group_.drop_frame(frame);
}

void Forwarding::refuse_return(Frame* frame) {
  ++no_route_;
  group_.drop_frame(frame);
}

void Forwarding::lose(Frame* frame, ps_t now_ps) {
  ++restart_;
  if ((frame->flags & kFlagTraced) != 0) group_.telemetry.close(*frame, now_ps, HopOutcome::kDropped);
  group_.drop_frame(frame);
}

void Forwarding::list(Counters& all) const {
  all["no_route_discards"] = no_route_;
  note(all, "no_live_port_discards", no_live_port_);
  note(all, "acl_discards", acl_);
  note(all, "restart_discards", restart_);
  note(all, "cpu_frames", cpu_);
  note(all, "cpu_out_frames", cpu_out_);
}

namespace {

Programmable& programmable_at(Group& group, std::uint32_t node, ps_t time_ps) {
  auto* programmable = dynamic_cast<Programmable*>(group.entity(node));
  if (programmable == nullptr) throw std::invalid_argument("no switch of this group has that number");
  if (time_ps < group.limit_ps()) {
    throw std::invalid_argument("an order for " + std::to_string(time_ps) + " ps came when the time was " +
                                std::to_string(group.limit_ps()) + " ps");
  }
  return *programmable;
}

}  // namespace

void apply_update(Group& group, std::uint32_t node, TableUpdate update) {
  programmable_at(group, node, update.time_ps).update(std::move(update));
  group.refresh(*group.entity(node));
}

void apply_packet_out(Group& group, std::uint32_t node, PacketOut out) {
  programmable_at(group, node, out.time_ps).send_out(std::move(out));
  group.refresh(*group.entity(node));
}

}  // namespace tb
