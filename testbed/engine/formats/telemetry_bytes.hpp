// In-band telemetry as bytes behind an Ethernet header; docs/wire-format.md has the fields.
#pragma once
#include "codec.hpp"

namespace tb {

inline void put_stack(const IntStack& stack, unsigned char* out) {
  put(out, 1, 1);  // version
  put(out + 1, stack.hops, 1);
  put(out + 2, kIntMaxHops - stack.hops, 1);
  put(out + 3, kIntHopBytes / 4, 1);
  for (std::uint32_t i = 0; i < stack.hops; ++i) {
    const IntHop& hop = stack.hop[i];
    unsigned char* at = out + kIntShimBytes + std::size_t{i} * kIntHopBytes;
    put(at, hop.node, 4);
    put(at + 4, hop.ingress, 2);
    put(at + 6, hop.egress, 2);
    put(at + 8, hop.latency_ns, 4);
    put(at + 12, hop.queue_occupancy, 4);
  }
}

/// Read the telemetry of a frame; false where there is none that `put_stack` would write.
inline bool get_stack(std::span<const unsigned char> bytes, IntStack& stack) {
  if (bytes.size() < kEthernet + kIntShimBytes) return false;
  const unsigned char* at = bytes.data() + kEthernet;
  const std::uint32_t hops = at[1];
  if (at[0] != 1 || hops > kIntMaxHops || at[2] != kIntMaxHops - hops || at[3] != kIntHopBytes / 4) return false;
  stack.hops = hops;
  if (bytes.size() < kEthernet + stack.bytes()) return false;
  for (std::uint32_t i = 0; i < hops; ++i) {
    const unsigned char* from = at + kIntShimBytes + std::size_t{i} * kIntHopBytes;
    IntHop& hop = stack.hop[i];
    hop.node = get32(from);
    hop.ingress = get16(from + 4);
    hop.egress = get16(from + 6);
    hop.latency_ns = get32(from + 8);
    hop.queue_occupancy = get32(from + 12);
  }
  return true;
}

}  // namespace tb
