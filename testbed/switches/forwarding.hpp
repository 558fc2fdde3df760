// What every switch does with a frame before its queues matter: its class, and the port it leaves by. And what changes
// that while it runs: new tables, ports that go down and up, a restart. And frames that its CPU sends.
//
// A change takes effect behind every other event of its time: a frame that is looked up at the time of an update still
// goes by the old tables. Changes of one time: tables, then ports, then the end of a restart, then a restart. Each
// works out anew where each destination leads to, so that a frame only reads it. Frames of the CPU come behind them.
#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../engine/entity.hpp"
#include "marking.hpp"
#include "path_choice.hpp"

namespace tb {

/// In place of a group: no rule (of an ingress port: as the others), to be dropped, for the CPU.
inline constexpr std::uint32_t kNoRoute = 0xFFFFFFFFU, kDropRoute = 0xFFFFFFFEU, kCpuRoute = 0xFFFFFFFDU;

enum class GroupKind : std::uint8_t {
  kPlain = 0,     // all ports, whatever their state
  kWatched = 1,   // those that are up
  kFailover = 2,  // the first that is up
};

/// Everything that a control plane sets.
struct ForwardingTables {
  std::vector<std::vector<std::uint16_t>> groups;   // egress ports of equal standing
  std::vector<std::vector<std::uint32_t>> weights;  // beside `groups`; empty: all equal
  std::vector<std::uint8_t> watched;                // beside `groups`: GroupKind; empty: all plain
  std::vector<std::uint32_t> route;                 // endpoint -> index into groups, or one of the above
  std::vector<std::pair<std::uint32_t, std::vector<std::uint32_t>>> ingress_routes;  // port, its own routes
};

/// From a time on a switch has these tables in place of those before.
struct TableUpdate {
  ps_t time_ps = 0;
  ForwardingTables tables;
};

/// What a switch knows of a port from a time on.
struct PortState {
  ps_t time_ps = 0;
  std::uint32_t port = 0;
  bool up = true;
};

struct Restart {
  ps_t from_ps = 0, until_ps = 0;
};

/// A frame that the CPU sends out of a port at a time, as `encode` and `stamp` left it.
struct PacketOut {
  ps_t time_ps = 0;
  std::uint32_t port = 0;
  std::vector<unsigned char> bytes;
};

/// The part of a switch's configuration that does not depend on how it buffers.
struct ForwardingConfig : ForwardingTables {
  std::vector<TableUpdate> updates;    // ascending
  std::vector<PortState> port_states;  // ascending; all are up before
  std::vector<Restart> restarts;       // ascending
  std::vector<PacketOut> packet_outs;  // ascending
  ps_t punt_latency_ps = 0;            // to the CPU; 0: what has no rule is dropped
  PathConfig paths;
  std::vector<std::uint8_t> class_of_pcp;   // none: the same number
  std::vector<std::uint8_t> class_of_dscp;  // none: dscp >> 3
  std::vector<EcnConfig> ecn;               // by class, or none
  bool ecn_at_enqueue = false;
};

/// Throws std::invalid_argument for a configuration that no switch can have.
void check_forwarding(const ForwardingConfig& config);

class Forwarding {
 public:
  /// What `find` returns in place of a port.
  static constexpr std::uint16_t kSeveralPorts = 0xFFF0, kByIngress = 0xFFF1, kRefused = 0xFFF2;
  static constexpr std::uint16_t kRestarting = 0xFFF2, kNoLivePort = 0xFFF3, kDropped = 0xFFF4, kNoPort = 0xFFF5,
                                 kToCpu = 0xFFF6;

  Forwarding(const ForwardingConfig& config, const NodeContext& context);
  /// Throws std::invalid_argument if tables or port states name a port without link, or a link has credit-based flow
  /// control and the switch restarts: its neighbours would count on credits that are gone.
  void check_ports(const std::vector<Port>& ports, const std::string& name) const;
  [[nodiscard]] std::uint32_t classify(const Frame& frame) const {
    return has_ip(frame.format) ? class_of_dscp_[frame.dscp & 63U] : class_of_pcp_[frame.traffic_class() & 7U];
  }
  /// Called as early as can be: what `choose` will read of a flow is seldom in the cache.
  void prefetch(const Frame& frame) const {
    if (frame.dst < only_port_.size() && only_port_[frame.dst] == kSeveralPorts) paths_.prefetch(frame);
  }
  /// The egress port of a frame that came by `ingress`; kSeveralPorts: ask `choose`; from kRefused on: `refuse` it.
  [[nodiscard]] std::uint16_t find(std::uint32_t ingress, const Frame& frame) const {
    const std::uint16_t found = frame.dst < only_port_.size() ? only_port_[frame.dst] : beyond_;
    if (found == kByIngress) [[unlikely]]
      return leads_to(route_of(ingress, frame.dst));
    return found;
  }
  /// One of several ports; `load(port)` is what lies before the frame there [bytes].
  template <typename Load>
  std::uint32_t choose(std::uint32_t ingress, const Frame& frame, ps_t now_ps, const Load& load) {
    const PortGroup& group = groups_[detours_.empty() ? route_[frame.dst] : route_of(ingress, frame.dst)];
    if (config_.paths.choice == PathChoice::kHash) return group.draw(flow_hash(frame, config_.paths.hash_seed));
    return paths_.choose(group, frame, now_ps, load);
  }
  /// Count a frame that goes nowhere, for the reason that `find` gave, and drop it or hand it to the CPU.
  [[gnu::cold]] void refuse(std::uint16_t found, const Entity& at, std::uint32_t ingress, Frame* frame, ps_t now_ps);
  /// Likewise one whose port is the one it came by: rules never send a frame back, and the clock relies on it.
  [[gnu::cold]] void refuse_return(Frame* frame);
  /// And one that was in the switch when it restarted.
  void lose(Frame* frame, ps_t now_ps);
  void list(Counters& all) const;

  /// When the next change is due; kNever: none is.
  [[nodiscard]] ps_t next_change_ps() const {
    return next_change_ < changes_.size() ? changes_[next_change_].time_ps : kNever;
  }
  /// Make the changes that are due; true if the switch restarts now, and so loses all that it holds.
  [[gnu::cold]] bool change(ps_t now_ps);
  /// After `change`: the next frame of the CPU that is due, with its class, and the port that it leaves by; null: there
  /// is none (left).
  [[gnu::cold]] Frame* take_packet_out(ps_t now_ps, std::uint32_t& egress);
  /// A change that the configuration does not have. Throws std::invalid_argument.
  void add(TableUpdate update, const std::vector<Port>& ports, const std::string& name);
  void add(PacketOut out, const std::vector<Port>& ports, const std::string& name);
  [[nodiscard]] bool restarting() const { return restarting_; }

 private:
  enum class ChangeKind : std::uint8_t { kTables, kPort, kRestarted, kRestart, kPacketOut };
  struct Change {
    ps_t time_ps;
    ChangeKind kind;
    bool up;
    std::uint32_t port;
    const ForwardingTables* tables;
    const PacketOut* out = nullptr;
  };
  void plan(const Change& change);
  void work_out();
  [[nodiscard]] bool up(std::uint32_t port) const { return port >= down_.size() || !down_[port]; }
  [[nodiscard]] PortGroup live_group(std::uint32_t number) const;
  [[nodiscard, gnu::cold]] std::uint32_t route_of(std::uint32_t ingress, std::uint32_t dst) const;
  [[nodiscard, gnu::cold]] std::uint16_t leads_to(std::uint32_t route) const;

  const ForwardingConfig& config_;
  Group& group_;
  const ForwardingTables* tables_;
  std::vector<PortGroup> groups_;  // of the ports that count
  std::vector<std::uint32_t> route_;
  std::vector<const std::vector<std::uint32_t>*> detours_;  // by ingress port, or empty
  std::vector<std::uint16_t> only_port_;                    // by endpoint, or what stands for it
  std::uint16_t beyond_ = kNoPort;                          // of endpoints that the tables do not have
  bool restarting_ = false;
  PathChooser paths_;
  std::vector<bool> down_;  // by port
  std::vector<Change> changes_;
  std::size_t next_change_ = 0;
  std::deque<ForwardingTables> added_;
  std::deque<PacketOut> added_outs_;
  std::deque<const PacketOut*> due_outs_;
  std::array<std::uint8_t, kClasses> class_of_pcp_{};
  std::array<std::uint8_t, 64> class_of_dscp_{};
  std::uint64_t no_route_ = 0, no_live_port_ = 0, acl_ = 0, restart_ = 0, cpu_ = 0, cpu_out_ = 0;
};

/// A switch that a control plane acts on while it runs.
class Programmable {
 public:
  virtual ~Programmable() = default;
  Programmable() = default;
  Programmable(const Programmable&) = delete;
  Programmable& operator=(const Programmable&) = delete;
  /// Throws std::invalid_argument for tables that the switch cannot have.
  virtual void update(TableUpdate update) = 0;
  /// Throws std::invalid_argument for a frame that it cannot send.
  virtual void send_out(PacketOut out) = 0;
};

/// Give a switch of a running group new tables. Throws std::invalid_argument if it is none, or the time is over.
void apply_update(Group& group, std::uint32_t node, TableUpdate update);
/// Let its CPU send a frame. Likewise.
void apply_packet_out(Group& group, std::uint32_t node, PacketOut out);

}  // namespace tb
