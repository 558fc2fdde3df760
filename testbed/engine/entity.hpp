// The boundary between models and whatever drives them.
//
// An entity (a NIC with its cards, a switch) is a deterministic state machine without input or output: it is run up
// to a horizon, it transmits frames on its ports with the time at which the transmission starts, and its slot tree
// says when it next wants to be run. It reads no clock and knows neither its neighbour nor the process it lives in.
#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "frame.hpp"
#include "ring.hpp"
#include "rng.hpp"
#include "slots.hpp"
#include "types.hpp"

namespace tb {

class Entity;
class Group;

inline constexpr std::uint32_t kNoWire = 0xFFFFFFFFU;

/// When a frame that arrives on a port becomes an event of the entity.
struct Ingress {
  ps_t delay_ps = 0;          // after the first (or last) bit
  ps_t control_delay_ps = 0;  // MAC control: after the last bit, until it takes effect
  bool last_bit = false;      // wait for the whole frame
};

/// What a wire does to frames besides carrying them. A frame of b bytes is damaged with probability
/// (base + b * per_byte) / 2^64, and at least with that of a fault that is under way. Any but a MAC control frame may
/// be sent twice, and either of the two may be held up on its way, while what is behind it passes. A frame that starts
/// while the wire is slow takes longer, and so is later, but nothing overtakes it for that.
struct Impairment {
  struct Fault {
    ps_t from_ps, until_ps;
    std::uint64_t loss_base_2p64, loss_per_byte_2p64;
  };
  /// Of several under way at a time the greatest of each counts.
  struct Slow {
    ps_t from_ps, until_ps;
    std::uint32_t byte_time_ps;
    ps_t extra_latency_ps;
  };
  /// No carrier: what starts meanwhile is nowhere.
  struct Dark {
    ps_t from_ps, until_ps;
  };
  struct Pace {
    std::uint32_t byte_time_ps;
    ps_t extra_latency_ps;
  };
  std::uint64_t loss_base_2p64 = 0;
  std::uint64_t loss_per_byte_2p64 = 0;
  bool llr = false;         // link-level retry: what is damaged is sent again before anything else
  ps_t llr_latency_ps = 0;  // detection and replay, besides the round trip
  std::uint64_t reorder_2p64 = 0;
  ps_t reorder_delay_ps = 0;
  std::uint64_t duplicate_2p64 = 0;
  std::vector<Fault> faults;
  std::vector<Slow> slow;
  std::vector<Dark> dark;
  RandomStream random{};  // of the damage
  RandomStream random_reorder{};
  RandomStream random_duplicate{};
  std::uint64_t replays = 0;
  std::uint64_t reordered = 0;
  std::uint64_t duplicated = 0;
  std::uint64_t without_carrier = 0;

  [[nodiscard]] bool is_sound() const {
    return loss_base_2p64 == 0 && loss_per_byte_2p64 == 0 && faults.empty() && slow.empty() && dark.empty() &&
           reorder_2p64 == 0 && duplicate_2p64 == 0;
  }
  /// Make ready for frames, which start in order of time; `wire` is the number of the direction.
  void start(std::uint64_t seed, std::uint32_t wire);
  /// Whether the next frame, of so many bytes, is damaged on its way.
  bool damages(std::uint32_t frame_bytes, ps_t start_ps) {
    wide_t loss = wide_t{loss_base_2p64} + wide_t{loss_per_byte_2p64} * frame_bytes;
    for_current(faults, next_fault_, start_ps, [&loss, frame_bytes](const Fault& fault) {
      loss = std::max(loss, wide_t{fault.loss_base_2p64} + wide_t{fault.loss_per_byte_2p64} * frame_bytes);
    });
    return loss != 0 && random.next() <= loss - 1;
  }
  /// Whether the next frame is sent into a wire without carrier.
  bool is_dark(ps_t start_ps) {
    bool found = false;
    for_current(dark, next_dark_, start_ps, [&found](const Dark& /*span*/) { found = true; });
    without_carrier += found ? 1 : 0;
    return found;
  }
  /// How the wire carries a frame that starts at `start_ps`; a byte of it takes `rated_ps` on a sound one.
  Pace pace(std::uint32_t rated_ps, ps_t start_ps) {
    Pace now{rated_ps, 0};
    for_current(slow, next_slow_, start_ps, [&now](const Slow& window) {
      now.byte_time_ps = std::max(now.byte_time_ps, window.byte_time_ps);
      now.extra_latency_ps = std::max(now.extra_latency_ps, window.extra_latency_ps);
    });
    return now;
  }
  /// When the first bit of the next frame arrives that would at `first_bit_ps` if it were alone: not before the last
  /// of the one ahead and its gap. Only behind a slower or longer time does that ever hold up anything.
  ps_t in_line_ps(ps_t first_bit_ps, ps_t wire_time_ps) {
    const ps_t arrives_ps = std::max(first_bit_ps, clear_ps_);
    clear_ps_ = arrives_ps + wire_time_ps;
    return arrives_ps;
  }
  /// How much later than on a sound wire the next frame arrives.
  ps_t holds_up_ps() {
    if (reorder_2p64 == 0 || random_reorder.next() > reorder_2p64 - 1) return 0;
    ++reordered;
    return reorder_delay_ps;
  }
  /// Whether the next frame is sent twice.
  bool duplicates() {
    if (duplicate_2p64 == 0 || random_duplicate.next() > duplicate_2p64 - 1) return false;
    ++duplicated;
    return true;
  }

 private:
  /// Those of `windows`, in order of their beginnings, that are under way; those before `next` are over for good.
  template <typename Window, typename Function>
  static void for_current(const std::vector<Window>& windows, std::size_t& next, ps_t now_ps, Function&& function) {
    while (next < windows.size() && windows[next].until_ps <= now_ps) ++next;
    for (std::size_t i = next; i < windows.size() && windows[i].from_ps <= now_ps; ++i) {
      if (now_ps < windows[i].until_ps) function(windows[i]);
    }
  }
  std::size_t next_fault_ = 0, next_slow_ = 0, next_dark_ = 0;
  ps_t clear_ps_ = 0;  // the frame before is over at the far end, gap included
};

/// One end of a full-duplex link.
struct Port {
  Entity* peer = nullptr;            // neighbour in the same group, or null
  Impairment* impairment = nullptr;  // of the outgoing direction
  ps_t latency_ps = 0;               // propagation, FEC and modules, one way
  ps_t busy_until_ps = 0;            // end of the transmission under way, gap included
  Ingress peer_ingress;
  std::uint32_t byte_time_ps = 0;
  std::uint32_t peer_entity = 0;
  std::uint32_t wire = kNoWire;  // number of the outgoing direction; kNoWire: nothing is plugged in
  std::uint16_t peer_port = 0;
  bool sends_control = false;      // MAC control frames may leave here
  bool grants_credits = false;     // credit-based flow control: the neighbour sends on credit of this node
  std::uint32_t peer_credits = 0;  // and this node on so many cells of each class at the neighbour; 0: it need not
  std::uint32_t peer_cell_bytes = 1;

  [[nodiscard]] static ps_t wire_time_ps(const Frame& frame, std::uint32_t byte_ps) {
    return ps_t{frame.frame_bytes + kWireOverheadBytes} * byte_ps;
  }
  /// The time of the event that a frame on a wire becomes where its first bit arrives at `first_bit_ps`.
  [[nodiscard]] static ps_t event_ps(const Ingress& ingress, const Frame& frame, ps_t first_bit_ps) {
    const ps_t whole = ps_t{frame.frame_bytes + kPreambleBytes} * wire_byte_ps(frame);
    if (frame.format == WireFormat::kMacControl) return first_bit_ps + whole + ingress.control_delay_ps;
    return first_bit_ps + (ingress.last_bit ? whole : 0) + ingress.delay_ps;
  }
  /// The least time between the start of a transmission here and its event at the neighbour.
  [[nodiscard]] ps_t lookahead_ps() const {
    const ps_t least = ps_t{kMinFrameBytes + kPreambleBytes} * byte_time_ps;
    const ps_t data = (peer_ingress.last_bit ? least : 0) + peer_ingress.delay_ps;
    return latency_ps + (sends_control ? std::min(data, least + peer_ingress.control_delay_ps) : data);
  }
};

using Counters = std::map<std::string, std::uint64_t>;

class Entity {
 public:
  Entity(Group& group, std::uint32_t id, std::string name, std::uint32_t ports, std::uint32_t more_slots);
  virtual ~Entity() = default;
  Entity(const Entity&) = delete;
  Entity& operator=(const Entity&) = delete;

  /// Process every event before the group's horizon, which shrinks as frames are sent.
  virtual void run() = 0;
  /// Called once before the first event.
  virtual void start() {}
  /// Counters under the names that engineers know.
  [[nodiscard]] virtual Counters counters() const = 0;

  /// Whether this is where frames for a card end.
  [[nodiscard]] virtual bool owns(std::uint32_t /*card*/) const { return false; }

  [[nodiscard]] ps_t next_event_ps() const { return slots_.min(); }
  [[nodiscard]] std::uint32_t id() const { return id_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] Port& port(std::uint32_t number) { return ports_[number]; }
  [[nodiscard]] const std::vector<Port>& ports() const { return ports_; }

  /// A frame becomes an event of this entity at `event_ps`; frames of one port that arrive together stay in the order
  /// in which they were sent.
  void accept(std::uint32_t port, Frame* frame, ps_t event_ps) {
    if (frame->format == WireFormat::kMacControl) {
      control_.push({event_ps, port, frame});
      slots_.set(control_slot(), control_.top().time_ps);
      return;
    }
    const auto later = [event_ps](const Arrival& other) { return other.time_ps > event_ps; };
    if (lanes_[port].insert({event_ps, frame}, later)) slots_.set(port, event_ps);
  }

 protected:
  /// Take the frame whose arrival is the current event of `port`.
  Frame* take_arrival(std::uint32_t port) {
    Ring<Arrival>& lane = lanes_[port];
    Frame* frame = lane.pop().frame;
    if (lane.empty()) {
      slots_.set(port, kNever);
    } else {
      slots_.set(port, lane.front().time_ps);
      __builtin_prefetch(lane.front().frame);
    }
    return frame;
  }
  /// A MAC control frame, and the port by which it came.
  struct Control {
    ps_t time_ps;
    std::uint32_t port;
    Frame* frame;
    friend bool operator<(const Control& a, const Control& b) {  // the earliest is the greatest
      return a.time_ps != b.time_ps ? a.time_ps > b.time_ps : a.port > b.port;
    }
  };
  [[nodiscard]] std::uint32_t control_slot() const { return static_cast<std::uint32_t>(ports_.size()); }
  /// Take the control frame that is the current event of `control_slot()`.
  Control take_control() {
    const Control first = control_.top();
    control_.pop();
    slots_.set(control_slot(), control_.empty() ? kNever : control_.top().time_ps);
    return first;
  }
  /// Start a transmission at `start_ps`; the port must be idle then.
  void transmit(std::uint32_t port, Frame* frame, ps_t start_ps);

  Group& group_;
  SlotTree slots_;  // [0, ports): arrivals; control_slot(): MAC control of all ports; the model's own slots follow
  std::vector<Port> ports_;

 private:
  struct Arrival {
    ps_t time_ps;  // beside the frame, which may lie far off
    Frame* frame;
  };
  std::vector<Ring<Arrival>> lanes_;
  std::priority_queue<Control> control_;
  std::string name_;
  std::uint32_t id_;
};

/// Everything a node's model needs to make its entity.
struct NodeContext {
  Group& group;
  std::uint32_t id;
  std::string name;
  std::uint32_t ports;
  std::uint64_t seed;
};

/// The configuration of a node, from which its entity is made; immutable and shared by all engines.
class NodeModel {
 public:
  virtual ~NodeModel() = default;
  [[nodiscard]] virtual std::unique_ptr<Entity> make(const NodeContext& context) const = 0;
  [[nodiscard]] virtual Ingress ingress() const = 0;
  /// The least time from the arrival of a frame to a transmission that it causes on the port it came by [ps];
  /// kNever: a frame never makes the node send back that way. What it causes on other ports may follow at once, and so
  /// may what a MAC control frame sets free on its own port.
  [[nodiscard]] virtual ps_t turnaround_ps() const { return 0; }
  /// Whether the node may send MAC control frames.
  [[nodiscard]] virtual bool sends_control() const { return false; }
  /// Cells that a neighbour may fill in each class before any is freed; 0: no credit-based flow control.
  [[nodiscard]] virtual std::uint32_t credits() const { return 0; }
  [[nodiscard]] virtual std::uint32_t cell_bytes() const { return 1; }
  /// Whether the node posts messages, so that a run waits for it to finish.
  [[nodiscard]] virtual bool is_source() const { return false; }
  /// Throws std::invalid_argument where the node sends what its wire format cannot tell.
  virtual void check_real_frames() const {}
  /// The largest frame the node can send [bytes].
  [[nodiscard]] virtual std::uint32_t max_frame_bytes() const { return kMinFrameBytes; }
};

}  // namespace tb
