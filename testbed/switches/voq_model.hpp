// The model of a switch with virtual output queues in a deep buffer, scheduled by credits (Jericho class). It includes
// the engine's boundary and no input or output; what it shares with other switches is in `forwarding.hpp`,
// `marking.hpp` and `port_counts.hpp`. docs/models.md says it in words.
//
// A frame's life: last bit in -> (pipeline latency) -> class, lookup and path choice -> queue of its (ingress, egress,
// class) in the deep buffer, which asks the egress for credit -> (credit latency) -> with credit -> (fabric latency) ->
// egress buffer -> sent in order, higher classes first. Frames for a busy egress wait at the ingress, each input for
// itself, so they are in nobody's way.
//
// Credits: an egress hands them out to the queues that ask, higher classes first and in turn within a class, at the
// rate of its port times the speed-up, as long as its buffer has room for what they let through. A queue sends while it
// has credit; its last frame may overdraw it, and the next credit pays for that first. So a frame never waits for a
// second credit, no queue sits on one, and the egress buffer may hold up to a frame more of each queue than it has room
// for.
//
// Keep in step: `VoqSwitchEntity` slots [0, P) arrivals, P MAC control, P + 1 + [0, P) credits that reach their queue,
// [P, 2P) frames out of the fabric, [2P, 3P) credits to hand out, [3P, 4P) departures, 4P changes of tables and ports,
// and restarts.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "../engine/entity.hpp"
#include "../engine/flow_control.hpp"
#include "../engine/group.hpp"
#include "forwarding.hpp"
#include "marking.hpp"
#include "port_counts.hpp"

namespace tb {

/// Configuration of a VOQ switch; every field has its unit in its name.
struct VoqSwitchConfig : ForwardingConfig {
  ps_t pipeline_latency_ps = 0;                  // last bit in to the queue
  ps_t pause_reaction_ps = 0;                    // last bit of a control frame to its effect
  std::uint64_t buffer_bytes = 0;                // of all queues together
  std::uint64_t voq_limit_bytes = 0;             // of one queue
  std::uint32_t credit_bytes = 4096;             // at most; a queue that asks for less gets less
  ps_t credit_latency_ps = 0;                    // request to credit at the queue, when the egress is idle
  ps_t fabric_latency_ps = 0;                    // queue to egress buffer
  std::uint64_t egress_buffer_bytes = 0;         // of one port: frames there or in the fabric, and credits on their way
  std::uint32_t credit_speedup_permille = 1000;  // rate of credits over rate of the port
};

class VoqSwitchModel final : public NodeModel {
 public:
  /// Throws std::invalid_argument for a configuration that no switch can have.
  explicit VoqSwitchModel(VoqSwitchConfig given);
  [[nodiscard]] std::unique_ptr<Entity> make(const NodeContext& context) const override;
  [[nodiscard]] Ingress ingress() const override {
    return {.delay_ps = config.pipeline_latency_ps, .control_delay_ps = config.pause_reaction_ps, .last_bit = true};
  }
  /// A switch forwards to other ports only, and this one tells its neighbours nothing.
  [[nodiscard]] ps_t turnaround_ps() const override { return kNever; }
  VoqSwitchConfig config;
};

class VoqSwitchEntity final : public ModelEntity<VoqSwitchEntity>, public Programmable {
 public:
  VoqSwitchEntity(const NodeContext& context, const VoqSwitchConfig& config);
  /// Throws std::invalid_argument for tables and changes that do not fit the links.
  void start() override;
  void update(TableUpdate update) override;
  void send_out(PacketOut out) override;
  void handle(std::uint32_t slot, ps_t now_ps);
  [[nodiscard]] Counters counters() const override;

 private:
  /// The frames of one ingress port, egress port and class. Bytes here = balance + credits under way + asked_bytes.
  struct Voq {
    Ring<Frame*> frames;
    std::uint64_t bytes = 0;
    std::uint64_t asked_bytes = 0;   // no credit handed out for them yet
    std::int64_t balance_bytes = 0;  // credit; negative: overdrawn
  };
  struct Credit {
    ps_t time_ps;  // reaches its queue
    std::uint32_t voq;
    std::uint32_t bytes;
  };
  /// One class of an egress port.
  struct ClassQueue {
    std::uint64_t bytes = 0;  // in its virtual output queues
    std::uint64_t watermark = 0;
    Ring<std::uint32_t> asking;  // queues that ask for credit, in turn
    Ring<Frame*> ready;          // in the egress buffer
    std::uint64_t out_frames = 0, out_bytes = 0, discards = 0, discard_bytes = 0, marked = 0;
  };
  struct Egress {
    std::array<ClassQueue, kClasses> classes;
    std::uint32_t asking_classes = 0;  // bit c: `asking` of class c holds queues
    std::uint32_t ready_classes = 0;   // bit c: `ready` of class c holds frames
    std::uint64_t bytes = 0;           // in its virtual output queues
    std::uint64_t bytes_watermark = 0;
    std::uint64_t taken_bytes = 0;  // of the egress buffer: frames there or in the fabric, and credits on their way
    std::uint64_t taken_watermark = 0;
    ps_t next_credit_ps = 0;
    Ring<Credit> credits;  // on their way; all take equally long, so they keep their order
    Ring<Frame*> fabric;   // likewise
    EgressGate gate;
    std::uint64_t in_frames = 0, in_bytes = 0, out_frames = 0, out_bytes = 0, discards = 0, discard_bytes = 0;
    std::uint64_t fcs_errors = 0, pause_frames_rx = 0, credit_frames_rx = 0;
  };

  void arrive(std::uint32_t ingress, Frame* frame, ps_t now_ps);
  void enqueue(std::uint32_t egress, Frame* frame, ps_t now_ps);
  void control_arrives(std::uint32_t port, Frame* frame, ps_t now_ps);
  void hand_out_credit(std::uint32_t egress, ps_t now_ps);
  void credit_arrives(std::uint32_t egress, ps_t now_ps);
  void into_fabric(std::uint32_t egress, Voq& voq, ps_t now_ps);
  void out_of_fabric(std::uint32_t egress, ps_t now_ps);
  void depart(std::uint32_t egress, ps_t now_ps);
  void start(std::uint32_t egress, Frame* frame, ps_t now_ps);
  [[nodiscard]] std::uint32_t choose_port(std::uint32_t ingress, const Frame& frame, ps_t now_ps);
  void await_change();
  [[gnu::cold]] void send_packet_outs(ps_t now_ps);
  [[gnu::cold]] void restart(ps_t now_ps);
  void lose_all(Ring<Frame*>& frames, ps_t now_ps);
  void mark(std::uint32_t egress, const Voq& voq, Frame* frame);
  void sample(std::uint32_t egress, std::uint32_t c, ps_t now_ps);
  void trace_arrival(std::uint32_t egress, const Frame& frame, ps_t now_ps);

  [[nodiscard]] std::uint32_t voq_of(std::uint32_t egress, std::uint32_t c, std::uint32_t ingress) const {
    return (egress * kClasses + c) * port_count_ + ingress;
  }
  [[nodiscard]] ps_t least_ps() const { return config_.credit_latency_ps + config_.fabric_latency_ps; }
  [[nodiscard]] std::uint32_t credit_slot(std::uint32_t egress) const { return control_slot() + 1 + egress; }
  [[nodiscard]] std::uint32_t fabric_slot(std::uint32_t egress) const { return credit_slot(port_count_) + egress; }
  [[nodiscard]] std::uint32_t scheduler_slot(std::uint32_t egress) const { return fabric_slot(port_count_) + egress; }
  [[nodiscard]] std::uint32_t departure_slot(std::uint32_t egress) const {
    return scheduler_slot(port_count_) + egress;
  }
  [[nodiscard]] std::uint32_t change_slot() const { return departure_slot(port_count_); }
  void wake(std::uint32_t slot, ps_t at_ps) { slots_.set(slot, std::min(slots_.get(slot), at_ps)); }
  void wake_scheduler(std::uint32_t egress, ps_t now_ps) {
    wake(scheduler_slot(egress), std::max(now_ps, egress_[egress].next_credit_ps));
  }

  const VoqSwitchConfig& config_;
  std::uint32_t port_count_;
  Forwarding forwarding_;
  Marker marker_;
  std::vector<Voq> voqs_;  // by egress, class, ingress
  std::vector<Egress> egress_;
  std::uint64_t used_bytes_ = 0;  // of the deep buffer
  std::uint64_t used_watermark_ = 0;
};

}  // namespace tb
