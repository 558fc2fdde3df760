// What `SwitchEntity` lets others see.
#include <algorithm>

#include "switch_model.hpp"

namespace tb {

void SwitchEntity::sample(std::uint32_t egress, std::uint32_t c, ps_t now_ps) {
  const Egress& out = egress_[egress];
  group_.telemetry.add_depths(now_ps, id(), egress, c, out.queues[c].bytes, out.bytes,
                              buffer_.used_cells() * config_.cell_bytes);
}

// One frame in `sflow_interval` on average, after a uniform skip of 1 to twice that less 1 (sFlow v5, 4.2.2).
void SwitchEntity::sample_flow(std::uint32_t ingress, const Frame& frame, ps_t now_ps) {
  sample_in_[ingress] = 1 + bounded(sampling_[ingress].next(), 2 * config_.sflow_interval - 1);
  if (forwarding_.restarting()) return;
  group_.telemetry.add(FlowSample{now_ps, id(), static_cast<std::uint16_t>(ingress), frame.src, frame.dst, frame.queue,
                                  0, frame.frame_bytes, static_cast<std::uint32_t>(egress_[ingress].in_frames),
                                  frame.psn});
}

void SwitchEntity::trace_arrival(std::uint32_t egress, const Frame& frame, ps_t now_ps) {
  Egress& out = egress_[egress];
  const ps_t stopped_ps = out.gate.stopped_ps(frame.queue, now_ps);
  Ahead ahead(group_.telemetry.ready(frame, id(), egress, frame.queue, stopped_ps, now_ps));
  for (std::uint32_t c = frame.queue; c < kClasses; ++c) {
    for (std::size_t i = 0; i < out.queues[c].frames.size(); ++i) {
      ahead.add(*out.queues[c].frames.at(i));
    }
  }
}

void SwitchEntity::push_telemetry(std::uint32_t egress, Frame* frame, ps_t now_ps) {
  const std::uint32_t hops = telemetry_hops(*frame);
  if (hops == kIntMaxHops) return;
  IntHop& hop = group_.telemetry.int_stacks.at(telemetry_place(*frame)).hop[hops];
  frame->telemetry += kTelemetryHop;
  hop.node = id();
  hop.ingress = frame->ingress;
  hop.egress = static_cast<std::uint16_t>(egress);
  hop.latency_ns = static_cast<std::uint32_t>((now_ps - frame->ack_bits) / 1000);
  hop.queue_occupancy = (std::uint32_t{frame->queue} << 24) | std::min(frame->message_bytes, 0xFFFFFFU);
  frame->frame_bytes += kIntHopBytes;
  group_.changed(frame);
}

}  // namespace tb
