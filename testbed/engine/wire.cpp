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
constexpr std::size_t kMinOnVeth = kMinFrameBytes - kFcsBytes;
constexpr std::size_t kPatternBytes = 1U << 16;
constexpr std::size_t kLongestPayload = 1U << 14;

// BTH opcodes of reliable connections, InfiniBand specification volume 1, table 35.
constexpr std::uint8_t kWriteFirst = 0x06, kWriteMiddle = 0x07, kWriteLast = 0x08, kWriteOnly = 0x0A,
                       kAcknowledge = 0x11;
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

std::size_t header_bytes(const Frame& frame) {
  if (frame.format == WireFormat::kThin) return kEthernet + kThin + (frame.opcode == Opcode::kData ? 0U : 8U);
  const bool first = (frame.flags & kFlagFirst) != 0;
  const std::size_t more = frame.opcode != Opcode::kData ? kAeth : (first ? kReth : 0);
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
  put(out, (static_cast<unsigned>(frame.opcode) << 6) | flags | (frame.traffic_class & 7U), 1);
  put(out + 1, frame.psn, 3);
  if (frame.opcode == Opcode::kData) {
    put(out + 4, frame.msn, 2);
    put(out + 6, (frame.flags & kFlagLast) != 0 ? frame.payload_bytes : frame.index, 2);
  } else {
    put(out + 4, frame.credit, 2);
    put(out + 6, 0, 2);
    put(out + 8, frame.ack_bits, 8);
  }
}

void put_ip_udp(const Frame& frame, unsigned char* out) {
  const std::size_t udp_bytes = frame.frame_bytes - kFcsBytes - kEthernet - kIp;
  std::memset(out, 0, kIp + kUdp);
  out[0] = 0x45;
  const unsigned ecn = (frame.flags & kFlagMarked) != 0 ? 3U : 2U;
  out[1] = static_cast<unsigned char>((frame.traffic_class << 5) | ecn);  // class selector code point
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
  if (frame.opcode != Opcode::kData) return kAcknowledge;
  const bool last = (frame.flags & kFlagLast) != 0;
  if ((frame.flags & kFlagFirst) != 0) return last ? kWriteOnly : kWriteFirst;
  return last ? kWriteLast : kWriteMiddle;
}

void put_bth(const Frame& frame, unsigned char* out) {
  const bool data = frame.opcode == Opcode::kData;
  const bool ask = data && (frame.flags & kFlagLast) != 0;
  // An ACK names the last packet received, a NAK the one expected (InfiniBand volume 1, 9.7.5.1.2).
  const std::uint32_t psn = frame.opcode == Opcode::kAck ? (frame.psn - 1) & kPsnMask : frame.psn;
  put(out, bth_opcode(frame), 1);
  put(out + 1, data ? (-frame.payload_bytes & 3U) << 4 : 0U, 1);
  put(out + 2, 0xFFFF, 2);
  put(out + 4, 0x10U + frame.src, 4);  // one queue pair for each peer
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
  frame.traffic_class = ip[1] >> 5;
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
  if ((frame.flags & kFlagFirst) != 0) frame.message_bytes = static_cast<std::uint32_t>(get(bth + kBth + 12, 4));
  return true;
}

bool get_thin(std::span<const unsigned char> bytes, Frame& frame) {
  const unsigned char* at = bytes.data() + kEthernet;
  frame.format = WireFormat::kThin;
  frame.opcode = static_cast<Opcode>(at[0] >> 6);
  frame.flags =
      static_cast<std::uint8_t>(((at[0] & 0x20U) != 0 ? kFlagFirst : 0) | ((at[0] & 0x10U) != 0 ? kFlagLast : 0) |
                                ((at[0] & 0x08U) != 0 ? kFlagMarked : 0));
  frame.traffic_class = at[0] & 7U;
  frame.psn = static_cast<std::uint32_t>(get(at + 1, 3));
  if (frame.opcode == Opcode::kData) {
    frame.msn = static_cast<std::uint16_t>(get(at + 4, 2));
    if ((frame.flags & kFlagLast) == 0) frame.index = static_cast<std::uint16_t>(get(at + 6, 2));
    return true;
  }
  frame.credit = static_cast<std::uint16_t>(get(at + 4, 2));
  frame.ack_bits = get(at + 8, 8);
  return frame.opcode == Opcode::kAck || frame.opcode == Opcode::kNack;
}

}  // namespace

std::size_t encoded_bytes(const Frame& frame, std::uint32_t snap_bytes) {
  const std::size_t whole = frame.frame_bytes - kFcsBytes;
  const std::size_t cut = frame.payload_bytes - on_veth(frame, snap_bytes);
  return std::max(kMinOnVeth, whole - cut) + kTrailerBytes;
}

std::size_t encode(const Frame& frame, std::uint32_t snap_bytes, std::span<unsigned char> out) {
  const std::size_t size = encoded_bytes(frame, snap_bytes);
  const std::size_t header = header_bytes(frame);
  const std::uint32_t kept = on_veth(frame, snap_bytes);
  unsigned char* at = out.data();
  if (frame.format == WireFormat::kThin) {
    put_ethernet(frame, at, kThinEtherType);
    put_thin(frame, at + kEthernet);
  } else {
    put_ethernet(frame, at, 0x0800);
    put_ip_udp(frame, at + kEthernet);
    put_bth(frame, at + kEthernet + kIp + kUdp);
  }
  std::memcpy(at + header, pattern() + (mix64(identity(frame)) & (kPatternBytes - 8)), kept);
  std::memset(at + header + kept, 0, size - kTrailerBytes - header - kept);
  if (frame.format == WireFormat::kRoceV2) put_icrc(at + kEthernet, size - kTrailerBytes - kEthernet - kIcrc);
  unsigned char* trailer = at + size - kTrailerBytes;
  put(trailer, kTrailerMagic, 4);
  put(trailer + 4, kTrailerVersion, 1);
  put(trailer + 5, kept < frame.payload_bytes ? 1 : 0, 1);
  put(trailer + 6, kept, 2);
  put(trailer + 24, frame.frame_bytes, 4);
  put(trailer + 28, frame.payload_bytes, 4);
  put(trailer + 32, payload_crc(frame, at + header, kept), 4);
  return size;
}

void stamp(std::span<unsigned char> bytes, std::uint64_t first_bit_ps, std::uint64_t link_seq) {
  unsigned char* trailer = bytes.data() + bytes.size() - kTrailerBytes;
  put(trailer + 8, first_bit_ps, 8);
  put(trailer + 16, link_seq, 8);
  put(trailer + 36, crc32c(0, trailer, kTrailerBytes - 4), 4);
}

Decoded decode(std::span<const unsigned char> bytes, Frame& frame, Trailer& trailer) {
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
  const bool known = type == kThinEtherType ? get_thin(inner, frame) : type == 0x0800 && get_roce(inner, frame);
  return known ? Decoded::kFrame : Decoded::kDamaged;
}

bool payload_intact(std::span<const unsigned char> bytes, const Frame& frame, const Trailer& trailer) {
  const std::size_t header = header_bytes(frame);
  const std::size_t kept = trailer.kept_bytes;
  if (header + kept + kTrailerBytes > bytes.size()) return false;
  return payload_crc(frame, bytes.data() + header, kept) == trailer.payload_crc;
}

}  // namespace tb
