// A group: entities that share one event loop. All entities in one group are the `twin`; under the virtual clock each
// process runs a group, usually of one entity, and frames for other groups leave through `FrameIo`.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "entity.hpp"
#include "plan.hpp"
#include "telemetry.hpp"

namespace tb {

/// The sender's half of a message record. Times in picoseconds.
struct TxRecord {
  std::uint64_t seq = 0;
  std::uint64_t message_bytes = 0;
  ps_t intended_ps = 0;
  ps_t posted_ps = 0;
  ps_t first_byte_ps = kNever;
  std::uint64_t msn = 0;
  std::uint32_t src = 0;
  std::uint32_t dst = 0;
  std::uint32_t retransmits = 0;
  std::uint32_t acked = 0;
};
static_assert(sizeof(TxRecord) == 64);

/// The receiver's half of a message record.
struct RxRecord {
  std::uint64_t msn = 0;
  ps_t delivered_ps = 0;
  ps_t completed_ps = 0;
  std::uint32_t src = 0;
  std::uint32_t dst = 0;
  std::uint32_t marks = 0;
  std::uint32_t bytes = 0;
};
static_assert(sizeof(RxRecord) == 40);

/// Where frames for entities of other groups go.
class FrameIo {
 public:
  virtual ~FrameIo() = default;
  /// Send; returns the new horizon that the reply to this frame allows [ps]. The frame is no longer the caller's.
  virtual ps_t send(const Entity& from, std::uint32_t port, Frame* frame, ps_t first_bit_ps, ps_t event_ps) = 0;
  /// Give a frame, which has the bytes of another, bytes of its own that are the same.
  virtual void duplicate(Frame* frame) = 0;
  /// Bring the bytes of a frame in line with its fields, which a switch has changed.
  virtual void rewrite(Frame* frame) = 0;
  /// Drop the bytes that belong to a frame which a model discards or consumes.
  virtual void release(Frame* frame) = 0;
  /// A frame has these bytes.
  virtual void adopt(Frame* /*frame*/, std::span<const unsigned char> /*bytes*/) {}
  /// A switch hands a frame to its CPU, which came by a port of it and is dropped afterwards.
  virtual void punt(const Entity& /*from*/, std::uint32_t /*port*/, const Frame& /*frame*/, ps_t /*now_ps*/) {}
};

/// Random numbers of a wire: whether a frame is damaged, held up, sent twice.
inline constexpr std::uint32_t kPurposeWire = 0x3000, kPurposeReorder = 0x3001, kPurposeDuplicate = 0x3002;

class Group {
 public:
  /// Make the listed entities of the plan (empty: all of them).
  Group(const Plan& plan, const std::vector<std::uint32_t>& members);
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  /// Process events before `limit_ps`, which external sends may lower. Stops early when every source is done.
  void run(ps_t limit_ps);
  [[nodiscard]] ps_t next_event_ps() const { return order_.min(); }
  [[nodiscard]] Entity* entity(std::uint32_t id) { return by_id_[id]; }
  [[nodiscard]] const std::vector<std::unique_ptr<Entity>>& entities() const { return entities_; }
  void set_io(FrameIo* io) { io_ = io; }
  /// Process nothing from a time on in the run that is under way.
  void stop_before(ps_t time_ps) {
    limit_ps_ = std::min(limit_ps_, time_ps);
    horizon_ = std::min(horizon_, limit_ps_);
  }
  /// Frames for a member go by `FrameIo`, as those for strangers do.
  void lead_out(std::uint32_t entity);
  /// A frame from another group arrives; `first_bit_ps` is the ideal arrival of its first bit.
  void deliver(std::uint32_t entity, std::uint32_t port, Frame* frame, ps_t event_ps) {
    by_id_[entity]->accept(port, frame, event_ps);
    refresh(*by_id_[entity]);
  }
  void refresh(const Entity& entity) { order_.set(place_[entity.id()], entity.next_event_ps()); }

  // ---- for entities
  [[nodiscard]] ps_t horizon() const { return horizon_; }
  Frame* take_frame() { return pool_.take(); }
  /// The frame that stands in bytes; where frames have bytes it has these. Throws std::invalid_argument if there is
  /// none.
  Frame* take_frame(std::span<const unsigned char> bytes);
  /// Keep the telemetry that a frame came with.
  void keep_stack(Frame* frame, const IntStack& stack) {
    const std::uint32_t place = telemetry.int_stacks.take();
    telemetry.int_stacks.at(place).hop = stack.hop;
    frame->telemetry = place + stack.hops * kTelemetryHop;
  }
  void drop_frame(Frame* frame) {
    if (frame->buffer != kNoBuffer) io_->release(frame);
    give_back(frame);
  }
  void give_back(Frame* frame) {
    if (frame->telemetry != kNoTelemetry) telemetry.int_stacks.give(telemetry_place(*frame));
    pool_.give(frame);
  }
  /// Called by a model that has changed a frame which it forwards.
  void changed(Frame* frame) {
    if (frame->buffer != kNoBuffer) io_->rewrite(frame);
  }
  void send(Entity& from, std::uint32_t port, Frame* frame, ps_t start_ps);
  /// A switch has no more to do with a frame that is for its CPU.
  void punt(const Entity& from, std::uint32_t port, Frame* frame, ps_t now_ps) {
    telemetry.add(
        PuntSample{now_ps, from.id(), static_cast<std::uint16_t>(port), frame->src, frame->dst, 0, frame->psn});
    if (io_ != nullptr) io_->punt(from, port, *frame, now_ps);
    drop_frame(frame);
  }
  void source_done() { ++sources_done_; }
  void message_completed() { ++messages_completed_; }
  // ---- results
  std::vector<TxRecord> tx_records;
  std::vector<RxRecord> rx_records;
  Telemetry telemetry;
  [[nodiscard]] std::uint64_t hops() const { return hops_; }
  [[nodiscard]] std::uint32_t sources_done() const { return sources_done_; }
  [[nodiscard]] std::uint64_t messages_completed() const { return messages_completed_; }
  /// Every event before this is processed.
  [[nodiscard]] ps_t limit_ps() const { return limit_ps_; }
  [[nodiscard]] ps_t now_ps() const { return now_ps_; }
  [[nodiscard]] std::size_t frames_in_use() const { return pool_.used(); }
  void stop_when_done(std::uint32_t sources) { stop_sources_ = sources; }
  /// All entities have started; called by the constructor's user once io is in place.
  void start();

 private:
  void connect(const Plan& plan);
  void impair(Port& port, const Impairment& impairment, std::uint64_t seed);
  static ps_t damage(Port& port, Frame& frame, ps_t start_ps);
  void send_impaired(Entity& from, std::uint32_t port, Frame* frame, ps_t start_ps);
  void put_on_wire(Entity& from, std::uint32_t port, Frame* frame, std::uint32_t byte_time_ps, ps_t start_ps,
                   ps_t first_bit_ps);
  Frame* copy_of(const Frame& frame);

  FramePool pool_;
  SlotTree order_;  // one slot for each member
  std::vector<std::unique_ptr<Entity>> entities_;
  std::vector<Entity*> by_id_;        // null for strangers
  std::vector<std::uint32_t> place_;  // id -> slot of order_
  std::vector<ps_t> lookahead_ps_;    // by slot: least delay of a frame from any neighbour
  FrameIo* io_ = nullptr;
  ps_t horizon_ = 0;
  ps_t limit_ps_ = 0;
  ps_t current_lookahead_ps_ = 0;
  ps_t now_ps_ = 0;
  std::vector<std::unique_ptr<Impairment>> impairments_;
  std::uint64_t hops_ = 0;
  std::uint64_t messages_completed_ = 0;
  std::uint32_t sources_done_ = 0;
  std::uint32_t stop_sources_ = 0xFFFFFFFFU;
};

inline void Group::send(Entity& from, std::uint32_t port_number, Frame* frame, ps_t start_ps) {
  const Port& port = from.port(port_number);
  if (port.impairment != nullptr) {
    send_impaired(from, port_number, frame, start_ps);
  } else {
    put_on_wire(from, port_number, frame, port.byte_time_ps, start_ps, start_ps + port.latency_ps);
  }
}

inline void Group::put_on_wire(Entity& from, std::uint32_t port_number, Frame* frame, std::uint32_t byte_time_ps,
                               ps_t start_ps, ps_t first_bit_ps) {
  Port& port = from.port(port_number);
  port.busy_until_ps = start_ps + Port::wire_time_ps(*frame, byte_time_ps);
  note_wire(*frame, byte_time_ps);
  const ps_t event_ps = Port::event_ps(port.peer_ingress, *frame, first_bit_ps);
  ++hops_;
  if (port.peer == nullptr) {
    limit_ps_ = std::min(limit_ps_, io_->send(from, port_number, frame, first_bit_ps, event_ps));
    horizon_ = std::min(horizon_, limit_ps_);
    return;
  }
  port.peer->accept(port.peer_port, frame, event_ps);
  const std::uint32_t place = place_[port.peer_entity];
  if (event_ps < order_.get(place)) order_.set(place, event_ps);
  horizon_ = std::min(horizon_, event_ps + current_lookahead_ps_);
}

inline void Entity::transmit(std::uint32_t port, Frame* frame, ps_t start_ps) {
  group_.send(*this, port, frame, start_ps);
}

/// The event loop of a model: `Model::handle(slot, now_ps)` is called for each event in order.
template <typename Model>
class ModelEntity : public Entity {
 public:
  using Entity::Entity;
  void run() override {
    auto& model = static_cast<Model&>(*this);
    for (ps_t now = slots_.min(); now < group_.horizon(); now = slots_.min()) model.handle(slots_.argmin(), now);
  }
};

}  // namespace tb
