// What the parts of the extension module share.
#pragma once
#include <nanobind/nanobind.h>

#include "frame.hpp"

namespace tb {

/// Refuse a frame from Python whose headers and payload do not fit its length; throws ValueError.
inline void require_whole(const Frame& frame, std::uint32_t max_frame_bytes) {
  if (frame.format == WireFormat::kMacControl) {
    if (frame.frame_bytes == kMinFrameBytes && frame.payload_bytes == 0) return;
    throw nanobind::value_error("a MAC control frame has 64 bytes and no payload");
  }
  const bool data = frame.opcode == Opcode::kData || frame.opcode == Opcode::kTrimmed;
  std::uint32_t least = data ? 26 : 34;  // what wire.cpp writes, and the FCS
  if (frame.format == WireFormat::kRoceV2) least = !data ? 66 : (frame.flags & kFlagFirst) != 0 ? 78 : 62;
  if (frame.frame_bytes < kMinFrameBytes || frame.frame_bytes > max_frame_bytes || frame.frame_bytes < least ||
      frame.frame_bytes - least < frame.payload_bytes) {
    throw nanobind::value_error("a frame has 64 bytes to the node's largest, and room for its headers and payload");
  }
}

/// Frames, stages, configurations of NICs and switches, nodes written in Python, the plan.
void bind_models(nanobind::module_& module);

/// Congestion-control parts, to be stepped by hand.
void bind_congestion(nanobind::module_& module);

}  // namespace tb
