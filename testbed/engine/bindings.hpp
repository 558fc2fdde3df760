// What the parts of the extension module share.
#pragma once
#include <nanobind/nanobind.h>

#include "../switches/forwarding.hpp"
#include "wire.hpp"

namespace tb {

/// Refuse a frame from Python whose headers and payload do not fit its length; throws ValueError.
inline void require_whole(const Frame& frame, std::uint32_t max_frame_bytes) {
  if (frame.format == WireFormat::kMacControl) {
    if (frame.frame_bytes == kMinFrameBytes && frame.payload_bytes == 0) return;
    throw nanobind::value_error("a MAC control frame has 64 bytes and no payload");
  }
  if (frame.frame_bytes > max_frame_bytes || frame.frame_bytes < least_frame_bytes(frame)) {
    throw nanobind::value_error("a frame has 64 bytes to the node's largest, and room for its headers and payload");
  }
}

/// A switch's tables from their names; throws ValueError for an unknown one.
ForwardingTables read_tables(const nanobind::dict& given);

/// A frame that a switch's CPU sends.
inline PacketOut read_packet_out(ps_t time_ps, std::uint32_t port, const nanobind::bytes& frame) {
  const auto* first = reinterpret_cast<const unsigned char*>(frame.c_str());
  return {time_ps, port, {first, first + frame.size()}};
}

/// Frames, stages, configurations of NICs and switches, nodes written in Python, the plan.
void bind_models(nanobind::module_& module);

/// Congestion-control parts, to be stepped by hand.
void bind_congestion(nanobind::module_& module);

}  // namespace tb
