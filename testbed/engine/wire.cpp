#include "wire.hpp"

#include <libdeflate.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "crc32c.hpp"
#include "rng.hpp"

namespace tb {

namespace {

constexpr std::size_t kEthernet = 14, kThin = 8, kIp = 20, kUdp = 8, kBth = 12, kReth = 16, kAeth = 4, kIcrc = 4;
constexpr std::size_t kControl = 20;  // opcode, enable vector, 8 words
constexpr std::size_t kMinOnVeth = kMinFrameBytes - kFcsBytes;
constexpr std::size_t kBthFlags = kEthernet + kIp + kUdp + 1;
constexpr unsigned kTrailerDamaged = 2;
constexpr std::size_t kPatternBytes = 1U << 16;
constexpr std::size_t kLongestPayload = 1U << 14;

// BTH opcodes of reliable connections, InfiniBand specification volume 1, table 35.
constexpr std::uint8_t kWriteFirst = 0x06, kWriteMiddle = 0x07, kWriteLast = 0x08, kWriteOnly = 0x0A,
                       kAcknowledge = 0x11;
constexpr std::uint8_t kBthTrimmed = 1;  // in the reserved bits beside FECN and BECN: a switch has cut the payload
constexpr std::uint8_t kSyndromeNakSequence = 0x60;

void put(unsigned char* at, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = bytes; i-- > 0; value >>= 8) at[i] = static_cast<unsigned char>(value);
}

std::uint64_t get(const unsigned char* at, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value = (value << 8) | at[i];
  return value;
}

const unsigned char* pattern() {
  static const auto table = [] {
    std::array<unsigned char, kPatternBytes + kLongestPayload> bytes{};
    for (std::size_t i = 0; i < bytes.size(); i += 8) put(&bytes[i], mix64(i + 1), 8);
    return bytes;
  }();
  return table.data();
}

std::uint64_t identity(const Frame& frame) {
  return (std::uint64_t{frame.src} << 48) | (std::uint64_t{frame.dst} << 32) | frame.psn;
}

std::uint32_t payload_crc(const Frame& frame, const unsigned char* payload, std::size_t size) {
  unsigned char who[8];
  put(who, identity(frame), 8);
  return crc32c(crc32c(0, who, sizeof who), payload, size);
}

bool is_data(const Frame& frame) { return frame.opcode == Opcode::kData || frame.opcode == Opcode::kTrimmed; }

std::size_t header_bytes(const Frame& frame, const IntStack* stack) {
  if (frame.format == WireFormat::kMacControl) return kEthernet + kControl;
  if (frame.format == WireFormat::kThin) {
    return kEthernet + (stack == nullptr ? 0 : stack->bytes()) + kThin + (is_data(frame) ? 0U : 8U);
  }
  const bool first = (frame.flags & kFlagFirst) != 0;
  const std::size_t more = !is_data(frame) ? kAeth : (first ? kReth : 0);
  return kEthernet + kIp + kUdp + kBth + more;
}

std::uint32_t on_veth(const Frame& frame, std::uint32_t snap_bytes) {
  return std::min(frame.payload_bytes, snap_bytes);
}

void put_ethernet(const Frame& frame, unsigned char* out, std::uint16_t type) {
  put(out, 0x02544E000000ULL | frame.dst, 6);
  put(out + 6, 0x02544E000000ULL | frame.src, 6);
  put(out + 12, type, 2);
}

void put_thin(const Frame& frame, unsigned char* out) {
  const unsigned flags = ((frame.flags & kFlagFirst) != 0 ? 0x20U : 0U) |
                         ((frame.flags & kFlagLast) != 0 ? 0x10U : 0U) |
                         ((frame.flags & kFlagMarked) != 0 ? 0x08U : 0U);
  put(out, (static_cast<unsigned>(frame.opcode) << 6) | flags | (frame.traffic_class() & 7U), 1);
  put(out + 1, frame.psn, 3);
  if (is_data(frame)) {
    put(out + 4, frame.msn, 2);
    put(out + 6, (frame.flags & kFlagLast) != 0 ? frame.payload_bytes : frame.index, 2);
  } else {
    put(out + 4, frame.credit, 2);
    put(out + 6, frame.index, 2);
    put(out + 8, frame.ack_bits, 8);
  }
}

void put_stack(const IntStack& stack, unsigned char* out) {
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

void put_control(const Frame& frame, unsigned char* out) {
  put(out, 0x0180C2000001ULL, 6);
  put(out + 6, 0x02544E00FFFFULL, 6);
  put(out + 12, kMacControlEtherType, 2);
  put(out + 14, frame.opcode == Opcode::kPause ? kPfcOpcode : kCreditOpcode, 2);
  put(out + 16, frame.credit, 2);
  for (std::uint32_t c = 0; c < kClasses; ++c) put(out + 18 + std::size_t{2} * c, control_word(frame, c), 2);
}

void put_ip_udp(const Frame& frame, unsigned char* out) {
  const std::size_t udp_bytes = frame.frame_bytes - kFcsBytes - kEthernet - kIp;
  std::memset(out, 0, kIp + kUdp);
  out[0] = 0x45;
  const unsigned ecn = (frame.flags & kFlagMarked) != 0 ? 3U : 2U;
  out[1] = static_cast<unsigned char>((frame.dscp << 2) | ecn);
  put(out + 2, kIp + udp_bytes, 2);
  put(out + 6, 0x4000, 2);  // do not fragment
  out[8] = 64;
  out[9] = 17;
  put(out + 12, 0x0A000001U | (std::uint32_t{frame.src} << 8), 4);
  put(out + 16, 0x0A000001U | (std::uint32_t{frame.dst} << 8), 4);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < kIp; i += 2) sum += static_cast<std::uint32_t>(get(out + i, 2));
  while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
  put(out + 10, ~sum & 0xFFFFU, 2);
  put(out + 20, frame.entropy, 2);
  put(out + 22, kRocePort, 2);
  put(out + 24, udp_bytes, 2);
}

std::uint8_t bth_opcode(const Frame& frame) {
  if (!is_data(frame)) return kAcknowledge;
  const bool last = (frame.flags & kFlagLast) != 0;
  if ((frame.flags & kFlagFirst) != 0) return last ? kWriteOnly : kWriteFirst;
  return last ? kWriteLast : kWriteMiddle;
}

void put_bth(const Frame& frame, unsigned char* out) {
  const bool data = is_data(frame);
  const bool ask = data && (frame.flags & kFlagLast) != 0;
  // An ACK names the last packet received, a NAK the one expected (InfiniBand volume 1, 9.7.5.1.2).
  const std::uint32_t psn = frame.opcode == Opcode::kAck ? (frame.psn - 1) & kPsnMask : frame.psn;
  put(out, bth_opcode(frame), 1);
  put(out + 1, data ? (-frame.payload_bytes & 3U) << 4 : 0U, 1);
  put(out + 2, 0xFFFF, 2);
  put(out + 4, 0x10U + frame.src, 4);  // one queue pair for each peer
  if (frame.opcode == Opcode::kTrimmed) out[4] = kBthTrimmed;
  put(out + 8, (ask ? 0x80000000U : 0U) | psn, 4);
  if (!data) {
    const unsigned syndrome = frame.opcode == Opcode::kNack ? kSyndromeNakSequence : 0x1FU;
    put(out + 12, (std::uint32_t{syndrome} << 24) | frame.msn, 4);
  } else if ((frame.flags & kFlagFirst) != 0) {
    put(out + 12, 0x100000000ULL, 8);  // every message is written to the same window of the peer's memory
    put(out + 20, 0x10U + frame.src, 4);
    put(out + 24, frame.message_bytes, 4);
  }
}

// RoCEv2 invariant CRC: the fields that switches may change count as ones (RoCEv2 annex A17.3.3). `size` is what the
// CRC covers behind the Ethernet header.
void put_icrc(unsigned char* ip, std::size_t size) {
  unsigned char masked[8 + kIp + kUdp + kBth];
  std::memset(masked, 0xFF, 8);
  std::memcpy(masked + 8, ip, kIp + kUdp + kBth);
  for (const std::size_t field : {8U + 1U, 8U + 8U, 8U + 10U, 8U + 11U, 8U + 26U, 8U + 27U, 8U + 32U})
    masked[field] = 0xFF;
  std::uint32_t crc = libdeflate_crc32(0, masked, sizeof masked);
  crc = libdeflate_crc32(crc, ip + kIp + kUdp + kBth, size - (kIp + kUdp + kBth));
  for (std::size_t i = 0; i < kIcrc; ++i) ip[size + i] = static_cast<unsigned char>(crc >> (8 * i));
}

bool get_roce(std::span<const unsigned char> bytes, Frame& frame) {
  if (bytes.size() < kEthernet + kIp + kUdp + kBth) return false;
  const unsigned char* ip = bytes.data() + kEthernet;
  const unsigned char* bth = ip + kIp + kUdp;
  if (ip[0] != 0x45 || ip[9] != 17 || get(ip + 22, 2) != kRocePort) return false;
  frame.format = WireFormat::kRoceV2;
  frame.dscp = ip[1] >> 2;
  if ((ip[1] & 3U) == 3U) frame.flags |= kFlagMarked;
  frame.entropy = static_cast<std::uint16_t>(get(ip + 20, 2));
  frame.psn = static_cast<std::uint32_t>(get(bth + 9, 3));
  switch (bth[0]) {
    case kWriteFirst:
      frame.flags |= kFlagFirst;
      break;
    case kWriteOnly:
      frame.flags |= kFlagFirst | kFlagLast;
      break;
    case kWriteMiddle:
      break;
    case kWriteLast:
      frame.flags |= kFlagLast;
      break;
    case kAcknowledge: {
      const bool nak = (bth[kBth] & 0x60U) == kSyndromeNakSequence;
      frame.opcode = nak ? Opcode::kNack : Opcode::kAck;
      if (!nak) frame.psn = (frame.psn + 1) & kPsnMask;
      frame.msn = static_cast<std::uint16_t>(get(bth + kBth + 2, 2));
      return true;
    }
    default:
      return false;
  }
  if ((bth[4] & kBthTrimmed) != 0) frame.opcode = Opcode::kTrimmed;
  if ((frame.flags & kFlagFirst) != 0) frame.message_bytes = static_cast<std::uint32_t>(get(bth + kBth + 12, 4));
  return true;
}

bool get_stack(std::span<const unsigned char> bytes, IntStack& stack) {
  const unsigned char* at = bytes.data() + kEthernet;
  stack.hops = at[1];
  if (at[0] != 1 || stack.hops > kIntMaxHops || bytes.size() < kEthernet + stack.bytes() + kThin) return false;
  for (std::uint32_t i = 0; i < stack.hops; ++i) {
    const unsigned char* from = at + kIntShimBytes + std::size_t{i} * kIntHopBytes;
    IntHop& hop = stack.hop[i];
    hop.node = static_cast<std::uint32_t>(get(from, 4));
    hop.ingress = static_cast<std::uint16_t>(get(from + 4, 2));
    hop.egress = static_cast<std::uint16_t>(get(from + 6, 2));
    hop.latency_ns = static_cast<std::uint32_t>(get(from + 8, 4));
    hop.queue_occupancy = static_cast<std::uint32_t>(get(from + 12, 4));
  }
  return true;
}

bool get_control(std::span<const unsigned char> bytes, Frame& frame) {
  const unsigned char* at = bytes.data() + kEthernet;
  const auto opcode = get(at, 2);
  frame.format = WireFormat::kMacControl;
  frame.opcode = opcode == kPfcOpcode ? Opcode::kPause : Opcode::kCredit;
  frame.credit = static_cast<std::uint16_t>(get(at + 2, 2));
  frame.src = frame.dst = 0xFFFF;
  for (std::uint32_t c = 0; c < kClasses; ++c) {
    set_control_word(frame, c, static_cast<std::uint16_t>(get(at + 4 + std::size_t{2} * c, 2)));
  }
  return opcode == kPfcOpcode || opcode == kCreditOpcode;
}

bool get_thin(const unsigned char* at, Frame& frame) {
  frame.format = WireFormat::kThin;
  frame.opcode = static_cast<Opcode>(at[0] >> 6);
  frame.flags =
      static_cast<std::uint8_t>(((at[0] & 0x20U) != 0 ? kFlagFirst : 0) | ((at[0] & 0x10U) != 0 ? kFlagLast : 0) |
                                ((at[0] & 0x08U) != 0 ? kFlagMarked : 0));
  frame.dscp = static_cast<std::uint8_t>((at[0] & 7U) << 3);
  frame.psn = static_cast<std::uint32_t>(get(at + 1, 3));
  if (is_data(frame)) {
    frame.msn = static_cast<std::uint16_t>(get(at + 4, 2));
    if ((frame.flags & kFlagLast) == 0) frame.index = static_cast<std::uint16_t>(get(at + 6, 2));
    return true;
  }
  frame.credit = static_cast<std::uint16_t>(get(at + 4, 2));
  frame.index = static_cast<std::uint16_t>(get(at + 6, 2));
  frame.ack_bits = get(at + 8, 8);
  return true;
}

// Headers of the frame; returns their length.
std::size_t put_headers(const Frame& frame, const IntStack* stack, unsigned char* at) {
  if (frame.format == WireFormat::kMacControl) {
    put_control(frame, at);
  } else if (frame.format == WireFormat::kThin) {
    put_ethernet(frame, at, stack == nullptr ? kThinEtherType : kThinIntEtherType);
    if (stack != nullptr) put_stack(*stack, at + kEthernet);
    put_thin(frame, at + kEthernet + (stack == nullptr ? 0 : stack->bytes()));
  } else {
    put_ethernet(frame, at, 0x0800);
    put_ip_udp(frame, at + kEthernet);
    put_bth(frame, at + kEthernet + kIp + kUdp);
  }
  return header_bytes(frame, stack);
}

// The trailer, `kept` payload bytes being here; `stamp` finishes it.
void put_trailer(const Frame& frame, std::uint32_t kept, std::uint32_t crc, unsigned char* trailer) {
  put(trailer, kTrailerMagic, 4);
  put(trailer + 4, kTrailerVersion, 1);
  put(trailer + 5, kept < frame.payload_bytes ? 1 : 0, 1);
  put(trailer + 6, kept, 2);
  put(trailer + 24, frame.frame_bytes, 4);
  put(trailer + 28, frame.payload_bytes, 4);
  put(trailer + 32, crc, 4);
}

}  // namespace

bool has_telemetry(std::span<const unsigned char> bytes) { return get(bytes.data() + 12, 2) == kThinIntEtherType; }

std::size_t encoded_bytes(const Frame& frame, std::uint32_t snap_bytes) {
  const std::size_t whole = frame.frame_bytes - kFcsBytes;
  const std::size_t cut = frame.payload_bytes - on_veth(frame, snap_bytes);
  return std::max(kMinOnVeth, whole - cut) + kTrailerBytes;
}

std::size_t encode(const Frame& frame, std::uint32_t snap_bytes, std::span<unsigned char> out, const IntStack* stack) {
  const std::size_t size = encoded_bytes(frame, snap_bytes);
  const std::uint32_t kept = on_veth(frame, snap_bytes);
  unsigned char* at = out.data();
  const std::size_t header = put_headers(frame, stack, at);
  std::memcpy(at + header, pattern() + (mix64(identity(frame)) & (kPatternBytes - 8)), kept);
  std::memset(at + header + kept, 0, size - kTrailerBytes - header - kept);
  if (frame.format == WireFormat::kRoceV2) put_icrc(at + kEthernet, size - kTrailerBytes - kEthernet - kIcrc);
  const bool control = frame.format == WireFormat::kMacControl;
  const std::uint32_t crc = control ? crc32c(0, at, header) : payload_crc(frame, at + header, kept);
  put_trailer(frame, kept, crc, at + size - kTrailerBytes);
  return size;
}

std::size_t rewrite(const Frame& frame, std::span<unsigned char> out, std::size_t size, const IntStack* stack) {
  unsigned char* at = out.data();
  const unsigned char* trailer = at + size - kTrailerBytes;
  const auto had = static_cast<std::uint32_t>(get(trailer + 6, 2));
  const auto crc = static_cast<std::uint32_t>(get(trailer + 32, 4));
  IntStack before;
  const bool telemetry = has_telemetry(out) && get_stack({at, size}, before);
  const std::size_t old_header = header_bytes(frame, telemetry ? &before : nullptr);
  const std::uint32_t kept = std::min(had, frame.payload_bytes);
  std::memmove(at + header_bytes(frame, stack), at + old_header, kept);
  const unsigned char bth_flags = at[kBthFlags];  // a switch that cuts a packet leaves its pad count as it was
  const std::size_t header = put_headers(frame, stack, at);
  if (frame.format == WireFormat::kRoceV2 && frame.opcode == Opcode::kTrimmed) at[kBthFlags] = bth_flags;
  const std::size_t cut = frame.payload_bytes - kept;
  const std::size_t whole = std::max(kMinOnVeth, frame.frame_bytes - kFcsBytes - cut) + kTrailerBytes;
  std::memset(at + header + kept, 0, whole - kTrailerBytes - header - kept);
  if (frame.format == WireFormat::kRoceV2) put_icrc(at + kEthernet, whole - kTrailerBytes - kEthernet - kIcrc);
  put_trailer(frame, kept, kept == had ? crc : payload_crc(frame, at + header, kept), at + whole - kTrailerBytes);
  return whole;
}

void stamp(std::span<unsigned char> bytes, const Frame& frame, std::uint64_t first_bit_ps, std::uint64_t link_seq) {
  unsigned char* trailer = bytes.data() + bytes.size() - kTrailerBytes;
  const unsigned damaged = (frame.flags & kFlagCorrupt) != 0 ? kTrailerDamaged : 0U;
  trailer[5] = static_cast<unsigned char>((trailer[5] & ~kTrailerDamaged) | damaged);
  put(trailer + 8, first_bit_ps, 8);
  put(trailer + 16, link_seq, 8);
  put(trailer + 36, crc32c(0, trailer, kTrailerBytes - 4), 4);
}

Decoded decode(std::span<const unsigned char> bytes, Frame& frame, Trailer& trailer, IntStack& stack) {
  if (bytes.size() < kMinOnVeth + kTrailerBytes) return Decoded::kForeign;
  const unsigned char* at = bytes.data() + bytes.size() - kTrailerBytes;
  if (get(at, 4) != kTrailerMagic) return Decoded::kForeign;
  if (at[4] != kTrailerVersion || get(at + 36, 4) != crc32c(0, at, kTrailerBytes - 4)) return Decoded::kDamaged;
  trailer.flags = at[5];
  trailer.kept_bytes = static_cast<std::uint16_t>(get(at + 6, 2));
  trailer.first_bit_ps = get(at + 8, 8);
  trailer.link_seq = get(at + 16, 8);
  trailer.frame_bytes = static_cast<std::uint32_t>(get(at + 24, 4));
  trailer.payload_bytes = static_cast<std::uint32_t>(get(at + 28, 4));
  trailer.payload_crc = static_cast<std::uint32_t>(get(at + 32, 4));
  const auto type = static_cast<std::uint16_t>(get(bytes.data() + 12, 2));
  frame.dst = static_cast<std::uint16_t>(get(bytes.data() + 4, 2));
  frame.src = static_cast<std::uint16_t>(get(bytes.data() + 10, 2));
  frame.frame_bytes = trailer.frame_bytes;
  frame.payload_bytes = trailer.payload_bytes;
  const auto inner = bytes.first(bytes.size() - kTrailerBytes);
  bool known = false;
  if (type == kThinEtherType) {
    known = get_thin(inner.data() + kEthernet, frame);
  } else if (type == kThinIntEtherType) {
    known = get_stack(inner, stack) && get_thin(inner.data() + kEthernet + stack.bytes(), frame);
  } else if (type == kMacControlEtherType) {
    known = get_control(inner, frame) && crc32c(0, inner.data(), kEthernet + kControl) == trailer.payload_crc;
  } else {
    known = type == 0x0800 && get_roce(inner, frame);
  }
  if ((trailer.flags & kTrailerDamaged) != 0) frame.flags |= kFlagCorrupt;
  return known ? Decoded::kFrame : Decoded::kDamaged;
}

bool payload_intact(std::span<const unsigned char> bytes, const Frame& frame, const Trailer& trailer) {
  if (frame.format == WireFormat::kMacControl) return true;  // `decode` has looked at all that it carries
  IntStack stack;
  const bool telemetry = has_telemetry(bytes) && get_stack(bytes, stack);
  const std::size_t header = header_bytes(frame, telemetry ? &stack : nullptr);
  const std::size_t kept = trailer.kept_bytes;
  if (header + kept + kTrailerBytes > bytes.size()) return false;
  return payload_crc(frame, bytes.data() + header, kept) == trailer.payload_crc;
}

}  // namespace tb
