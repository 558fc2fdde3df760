// The model of a commodity Ethernet switch. It includes the engine's boundary and no input or output.
//
// A frame's life: first bit in -> (pipeline latency) -> lookup and path choice -> if the egress port is idle and its
// queues are empty and the egress is not faster than the ingress, the transmission starts at once (cut-through);
// otherwise the frame is admitted to the shared buffer or dropped, waits in the queue of its class, and is eligible
// once its last bit is in (+ pipeline latency). The buffer is held from admission to the start of transmission.
//
// Admission (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998): cells of
// a queue up to `reserved` are its own; beyond, the frame is accepted iff the queue's shared cells with the frame stay
// within alpha times the free shared cells before it, and the frame fits into them. alpha = 2^alpha_log2 (SAI).
//
// Keep in step: `SwitchEntity` slots [0, P) arrivals, [P, 2P) stored frames, [2P, 3P) departures.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../engine/entity.hpp"
#include "../engine/group.hpp"

namespace tb {

inline constexpr std::uint32_t kClasses = 8;

/// Configuration of a switch; every field has its unit in its name.
struct SwitchConfig {
  ps_t pipeline_latency_ps = 0;
  bool cut_through = true;
  std::uint64_t buffer_bytes = 0;
  std::uint32_t cell_bytes = 256;
  std::int32_t alpha_log2 = 0;
  std::uint64_t reserved_bytes = 0;                // of each queue that is in use
  std::uint64_t hash_seed = 0;                     // of the path choice; each switch has its own
  std::vector<std::vector<std::uint16_t>> groups;  // egress ports of equal cost
  std::vector<std::uint32_t> route;                // endpoint -> index into groups; kNoRoute: unknown
};

inline constexpr std::uint32_t kNoRoute = 0xFFFFFFFFU;

class SwitchModel final : public NodeModel {
 public:
  /// Throws std::invalid_argument for a configuration that no switch can have.
  explicit SwitchModel(SwitchConfig config);
  [[nodiscard]] std::unique_ptr<Entity> make(const NodeContext& context) const override;
  [[nodiscard]] Ingress ingress() const override { return {config.pipeline_latency_ps, !config.cut_through}; }
  /// A switch forwards to other ports only.
  [[nodiscard]] ps_t turnaround_ps() const override { return kNever; }
  SwitchConfig config;
};

class SwitchEntity final : public ModelEntity<SwitchEntity> {
 public:
  SwitchEntity(const NodeContext& context, const SwitchConfig& config);
  /// Throws std::invalid_argument if a group names a port without link.
  void start() override;
  void handle(std::uint32_t slot, ps_t now_ps);
  [[nodiscard]] Counters counters() const override;

 private:
  struct Queue {
    Ring<Frame*> frames;
    std::uint64_t cells = 0;
  };
  struct Egress {
    std::array<Queue, kClasses> queues;
    std::uint32_t waiting_classes = 0;  // bit c: queue c holds frames
    std::uint64_t bytes = 0;
    std::uint64_t bytes_watermark = 0;
    std::uint64_t in_frames = 0, in_bytes = 0, out_frames = 0, out_bytes = 0, discards = 0, discard_bytes = 0;
  };

  void arrive(std::uint32_t ingress, Frame* frame, ps_t now_ps);
  void forward(std::uint32_t egress, Frame* frame, ps_t now_ps, ps_t eligible_ps);
  void depart(std::uint32_t egress, ps_t now_ps);
  void start(std::uint32_t egress, Frame* frame, ps_t now_ps);
  [[nodiscard]] std::uint32_t choose_port(const Frame& frame) const;
  [[nodiscard]] bool admit(Queue& queue, const Frame& frame);
  void release(Queue& queue, const Frame& frame);
  void trace(std::uint32_t egress, ps_t now_ps);
  [[nodiscard]] std::uint64_t cells(const Frame& frame) const {
    return (frame.frame_bytes + config_.cell_bytes - 1) / config_.cell_bytes;
  }
  [[nodiscard]] std::uint64_t shared_part(std::uint64_t cells) const {
    return cells > reserved_cells_ ? cells - reserved_cells_ : 0;
  }

  const SwitchConfig& config_;
  std::uint32_t port_count_;
  std::vector<Egress> egress_;
  std::vector<Ring<Frame*>> stored_;  // by ingress port: frames whose egress is faster than their ingress
  std::uint64_t reserved_cells_;
  std::uint64_t shared_cells_;
  std::uint64_t shared_used_ = 0;
  std::uint64_t shared_watermark_ = 0;
  std::uint64_t no_route_ = 0;
};

}  // namespace tb
