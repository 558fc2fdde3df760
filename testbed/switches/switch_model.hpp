// The model of a commodity Ethernet switch with a shared buffer. It includes the engine's boundary and no input or
// output. Its parts: `buffer.hpp` (who may hold how many cells), `path_choice.hpp` (which of equal ports),
// `../engine/flow_control.hpp` (what stops a class). docs/models.md says it in words.
//
// A frame's life: first bit in -> (pipeline latency) -> class, lookup and path choice -> if the egress port is idle,
// its queues are empty, nothing stops its class and the egress is not faster than the ingress, the transmission starts
// at once (cut-through); otherwise the frame is admitted to the buffer, trimmed or dropped, waits in the queue of its
// class, and is eligible once its last bit is in (+ pipeline latency). Its cells are held until its transmission
// starts.
//
// Keep in step: `SwitchEntity` slots [0, P) arrivals, P MAC control, [P + 1, 2P + 1) stored frames, [2P + 1, 3P + 1)
// departures, 3P + 1 changes of tables and ports, and restarts.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "../engine/entity.hpp"
#include "../engine/flow_control.hpp"
#include "../engine/group.hpp"
#include "buffer.hpp"
#include "forwarding.hpp"
#include "marking.hpp"
#include "port_counts.hpp"

namespace tb {

/// Configuration of a switch; every field has its unit in its name.
struct SwitchConfig : ForwardingConfig {
  ps_t pipeline_latency_ps = 0;
  bool cut_through = true;
  std::uint64_t buffer_bytes = 0;  // shared pool
  std::uint32_t cell_bytes = 256;
  std::int32_t alpha_log2 = 0;
  std::uint64_t reserved_bytes = 0;  // of each queue that is in use
  // ingress accounting and PFC
  std::int32_t ingress_alpha_log2 = kNoThreshold;
  std::uint64_t pg_reserved_bytes = 0;
  std::uint32_t lossless_classes = 0;  // bit c
  std::int32_t lossless_alpha_log2 = 0;
  std::vector<std::uint64_t> headroom_bytes;  // of a lossless priority group, by ingress port
  std::uint64_t headroom_pool_bytes = 0;      // all of them together; 0: their sum
  std::uint64_t xon_offset_bytes = 0;
  std::uint16_t pause_quanta = 0xFFFF;
  ps_t pfc_generation_ps = 0;  // decision to control frame
  ps_t pause_reaction_ps = 0;  // last bit of a control frame to its effect
  bool assert_lossless = true;
  ps_t watchdog_detection_ps = 0;  // 0: off
  ps_t watchdog_restoration_ps = 0;
  std::uint64_t credit_bytes = 0;  // of each class and port, on links with credit-based flow control
  // scheduling, trimming
  std::vector<std::uint32_t> dwrr_quantum_bytes;  // by class; 0: strict priority, before all DWRR; none: all strict
  std::vector<std::uint64_t> shaper_ps_per_kib;   // by class; 0: not shaped
  std::vector<std::uint64_t> shaper_burst_bytes;
  std::uint32_t trim_bytes = 0;  // a frame that would be dropped is cut to this; 0: dropped
  std::uint32_t trim_class = 0;
  // telemetry
  bool int_enabled = false;
  std::uint32_t sflow_interval = 0;
};

/// A frame of a lossless class was dropped.
class LosslessDropError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Priority groups wait for each other in a circle, or stand still for good.
class DeadlockError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class SwitchModel final : public NodeModel {
 public:
  /// Throws std::invalid_argument for a configuration that no switch can have.
  explicit SwitchModel(SwitchConfig config);
  [[nodiscard]] std::unique_ptr<Entity> make(const NodeContext& context) const override;
  [[nodiscard]] Ingress ingress() const override {
    return {.delay_ps = config.pipeline_latency_ps,
            .control_delay_ps = config.pause_reaction_ps,
            .last_bit = !config.cut_through};
  }
  /// A switch forwards to other ports only; what it sends back is MAC control.
  [[nodiscard]] ps_t turnaround_ps() const override {
    return config.lossless_classes != 0 || config.credit_bytes != 0 ? config.pfc_generation_ps : kNever;
  }
  [[nodiscard]] bool sends_control() const override { return config.lossless_classes != 0; }
  [[nodiscard]] std::uint32_t credits() const override {
    return static_cast<std::uint32_t>(config.credit_bytes / config.cell_bytes);
  }
  [[nodiscard]] std::uint32_t cell_bytes() const override { return config.cell_bytes; }
  SwitchConfig config;
};

class SwitchEntity final : public ModelEntity<SwitchEntity>, public Programmable {
 public:
  SwitchEntity(const NodeContext& context, const SwitchConfig& config);
  /// Throws std::invalid_argument for tables and changes that do not fit the links.
  void start() override;
  void update(TableUpdate update) override;
  void send_out(PacketOut out) override;
  void handle(std::uint32_t slot, ps_t now_ps);
  [[nodiscard]] Counters counters() const override;

 private:
  struct alignas(64) Queue {  // one cache line for what waits, one for what leaves
    Ring<Frame*> frames;
    std::uint64_t bytes = 0;
    std::uint64_t watermark = 0;
    std::uint64_t out_frames = 0, out_bytes = 0;
    std::uint64_t deficit_bytes = 0;  // DWRR
    ps_t shaped_until_ps = 0;
    ps_t storm_until_ps = 0;
    std::uint16_t shaped_rest = 0;  // [ps / 1024]
  };
  static_assert(sizeof(Queue) == 128);
  struct Stored {
    Frame* frame;
    std::uint32_t egress;
  };
  struct ClassCounts {
    std::uint64_t discards = 0, discard_bytes = 0, marked = 0, trimmed = 0;
    std::uint64_t storms = 0, storm_discards = 0;
    std::uint64_t pg_discards = 0;  // of this ingress port's priority group
  };
  /// Telling the neighbour of a port to stop or to go on.
  struct Teller {
    std::uint32_t stopped = 0;   // classes that the neighbour is to stop
    std::uint32_t changed = 0;   // not told yet
    std::uint32_t freed = 0;     // classes that have given credits back
    ps_t repeat_ps = 0;          // until the last credit frame is repeated, if nothing new is told
    ps_t pause_due_ps = kNever;  // a pause frame is ready, or has to be repeated
    ps_t credit_due_ps = kNever;
    std::uint64_t pause_frames = 0, credit_frames = 0;
    std::array<ps_t, kClasses> since_ps{};
    std::array<ps_t, kClasses> told_ps{};  // time that the neighbour was stopped for, in ended stops
    std::array<std::uint64_t, kClasses> frames{};
    std::array<std::uint64_t, kClasses> released{};  // by the group when the pause frame was last repeated
    std::array<std::uint32_t, kClasses> stuck{};     // repetitions without any release
    std::array<std::uint16_t, kClasses> freed_cells{};
    std::array<std::uint16_t, kClasses> told_cells{};
  };
  struct alignas(64) Egress {          // what every frame touches comes first: one cache line
    std::uint8_t waiting_classes = 0;  // bit c: queue c holds frames
    bool gated = false;                // its gate or a shaper may stop a class
    bool granted = false;              // DWRR: whether the class whose turn it is has had its quantum
    std::uint32_t turn = 0;            // DWRR: whose turn it is
    ps_t control_due_ps = kNever;      // a control frame is to be sent
    std::uint64_t bytes = 0;
    std::uint64_t bytes_watermark = 0;
    std::uint64_t in_frames = 0, in_bytes = 0, out_frames = 0, out_bytes = 0;
    std::array<Queue, kClasses> queues;
    std::array<ClassCounts, kClasses> counts;
    std::uint64_t discards = 0, discard_bytes = 0;
    std::uint64_t fcs_errors = 0, pause_frames_rx = 0, credit_frames_rx = 0;
    EgressGate gate;
  };
  struct Choice {
    std::uint32_t traffic_class;  // kClasses: none can go
    ps_t soonest_ps;
  };

  // forwarding (switch_model.cpp)
  void arrive(std::uint32_t ingress, Frame* frame, ps_t now_ps);
  void lookup(std::uint32_t ingress, Frame* frame, ps_t now_ps);
  void forward(std::uint32_t egress, Frame* frame, ps_t now_ps, ps_t eligible_ps);
  void enqueue(std::uint32_t egress, Frame* frame, ps_t now_ps, ps_t eligible_ps);
  [[nodiscard]] bool keep(std::uint32_t egress, Frame* frame, ps_t now_ps);
  bool trim(std::uint32_t egress, Frame* frame, ps_t now_ps);
  void discard(std::uint32_t egress, Frame* frame, ps_t now_ps);
  void depart(std::uint32_t egress, ps_t now_ps);
  void start(std::uint32_t egress, Frame* frame, ps_t now_ps);
  void let_go(const Frame& frame, ps_t now_ps);
  [[nodiscard]] std::uint32_t choose_port(std::uint32_t ingress, const Frame& frame, ps_t now_ps);
  void await_change();
  [[gnu::cold]] void send_packet_outs(ps_t now_ps);
  [[gnu::cold]] void restart(ps_t now_ps);
  [[nodiscard]] std::uint64_t cells(const Frame& frame) const {
    return (frame.frame_bytes + config_.cell_bytes - 1) / config_.cell_bytes;
  }
  [[nodiscard]] std::uint32_t stored_slot(std::uint32_t port) const { return port_count_ + 1 + port; }
  [[nodiscard]] std::uint32_t departure_slot(std::uint32_t port) const { return 2 * port_count_ + 1 + port; }
  [[nodiscard]] std::uint32_t change_slot() const { return departure_slot(port_count_); }
  void wake(std::uint32_t egress, ps_t at_ps);

  // scheduling, marking (switch_scheduling.cpp)
  [[nodiscard]] Choice choose(std::uint32_t egress, ps_t now_ps);
  [[nodiscard]] std::uint32_t deficit_round_robin(Egress& out, std::uint32_t ready);
  [[nodiscard]] ps_t opens_ps(const Egress& out, const Frame& frame) const;
  void account_shaper(Egress& out, std::uint32_t c, std::uint32_t frame_bytes, ps_t now_ps);
  void mark(std::uint32_t egress, std::uint32_t c, std::uint64_t depth_bytes, Frame* frame);

  // flow control (switch_flow_control.cpp)
  void control_arrives(std::uint32_t port, Frame* frame, ps_t now_ps);
  void gate_changed(Egress& out) const { out.gated = shaped_ || !out.gate.free(); }
  void stop_neighbour(std::uint32_t port, std::uint32_t c, ps_t now_ps);
  void resume_neighbours(ps_t now_ps);
  void forget_flow_control(ps_t now_ps);
  void give_credit(std::uint32_t port, std::uint32_t c, std::uint64_t cells, ps_t now_ps);
  bool tell(std::uint32_t port, ps_t now_ps);
  void tell_pause(std::uint32_t port, ps_t now_ps);
  void tell_credit(std::uint32_t port, ps_t now_ps);
  /// A control frame is due at another time; returns when the first one is.
  ps_t due(std::uint32_t port) {
    const Teller& teller = tellers_[port];
    return egress_[port].control_due_ps = std::min(teller.pause_due_ps, teller.credit_due_ps);
  }
  void watch(std::uint32_t port, std::uint32_t c, ps_t now_ps);
  [[noreturn]] void lossless_drop(std::uint32_t egress, const Frame& frame, ps_t now_ps) const;
  void suspect(std::uint32_t port, std::uint32_t c, ps_t now_ps);
  [[nodiscard]] bool stuck(std::uint32_t port, std::uint32_t c) const {
    return buffer_.stopped(port, c) && tellers_[port].released[c] == buffer_.released(port, c);
  }
  /// Egress ports that hold frames of this class that came by `port`.
  [[nodiscard]] std::vector<std::uint32_t> holders(std::uint32_t port, std::uint32_t c);
  struct Link;
  static bool standing(std::vector<Link>& groups, ps_t now_ps);
  bool circle(std::vector<Link>& chain);

  // telemetry (switch_telemetry.cpp)
  void sample(std::uint32_t egress, std::uint32_t c, ps_t now_ps);
  /// False where there is no more room for samples.
  bool sample_flow(std::uint32_t ingress, const Frame& frame, ps_t now_ps);
  /// The frame that was sampled last is sent on.
  void sampled_leaves(std::uint32_t egress);
  void trace_arrival(std::uint32_t egress, const Frame& frame, ps_t now_ps);
  void push_telemetry(std::uint32_t egress, Frame* frame, ps_t now_ps);

  const SwitchConfig& config_;
  std::uint32_t port_count_;
  SharedBuffer buffer_;
  Forwarding forwarding_;
  Marker marker_;
  std::vector<Egress> egress_;
  std::vector<Teller> tellers_;
  std::vector<Ring<Stored>> stored_;     // by ingress port: frames whose egress is faster than their ingress
  std::uint32_t strict_classes_ = 0xFF;  // bit c
  std::vector<RandomStream> sampling_;   // by port
  std::vector<std::uint32_t> sample_in_;
  std::vector<unsigned char> sampled_bytes_;
  bool sampled_ = false;  // the frame that is looked up
  bool shaped_ = false;
  bool flow_control_ = false;
};

}  // namespace tb
