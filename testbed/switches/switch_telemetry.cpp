// What `SwitchEntity` lets others see.
#include <algorithm>

#include "../engine/wire.hpp"
#include "switch_model.hpp"

namespace tb {

void SwitchEntity::sample(std::uint32_t egress, std::uint32_t c, ps_t now_ps) {
  const Egress& out = egress_[egress];
  group_.telemetry.add_depths(now_ps, id(), egress, c, out.queues[c].bytes, out.bytes,
                              buffer_.used_cells() * config_.cell_bytes);
}

// One frame in `sflow_interval` on average, after a uniform skip of 1 to twice that less 1 (sFlow v5, 4.2.2).
bool SwitchEntity::sample_flow(std::uint32_t ingress, const Frame& frame, ps_t now_ps) {
  sample_in_[ingress] = 1 + bounded(sampling_[ingress].next(), 2 * config_.sflow_interval - 1);
  if (forwarding_.restarting()) return false;
  FlowSample sample;
  sample.time_ps = now_ps;
  sample.entity = id();
  sample.port = static_cast<std::uint16_t>(ingress);
  sample.src = frame.src;
  sample.dst = frame.dst;
  sample.traffic_class = frame.queue;
  sample.frame_bytes = frame.frame_bytes;
  sample.payload_bytes = frame.payload_bytes;
  sample.sequence = static_cast<std::uint32_t>(egress_[ingress].in_frames);
  sample.psn = frame.psn;
  IntStack stack;
  const bool tells = frame.telemetry != kNoTelemetry;
  if (tells) stack = {telemetry_hops(frame), group_.telemetry.int_stacks.at(telemetry_place(frame)).hop};
  // In whole, since checksums are over all of it.
  sampled_bytes_.resize(encoded_bytes(frame, frame.payload_bytes) + kIntShimBytes + sizeof(IntHops));
  const std::size_t size = encode(frame, frame.payload_bytes, sampled_bytes_, tells ? &stack : nullptr);
  sample.header_bytes = static_cast<std::uint8_t>(std::min(kSampledHeader, size - kTrailerBytes));
  std::copy_n(sampled_bytes_.begin(), sample.header_bytes, sample.header.begin());
  return group_.telemetry.add(sample);
}

void SwitchEntity::sampled_leaves(std::uint32_t egress) {
  group_.telemetry.flow_samples.back().egress = static_cast<std::uint16_t>(egress);
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
