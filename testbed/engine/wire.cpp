#include "wire.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "crc32c.hpp"
#include "formats/codec.hpp"
#include "formats/telemetry_bytes.hpp"
#include "rng.hpp"

namespace tb {

namespace {

constexpr unsigned kTrailerCut = 1, kTrailerDamaged = 2;
constexpr std::size_t kPatternBytes = 1U << 16;
constexpr std::size_t kLongestPayload = 1U << 14;
constexpr std::uint32_t kLongestFrame = 1U << 15;
constexpr std::size_t kBthFlags = kEthernet + kIp + kUdp + 1;

// By WireFormat.
constexpr std::array<const Codec*, 10> kCodecs = {&kThinCodec,          &kRoceCodec,  &kMacControlCodec, &kThinUdpCodec,
                                                  &kTcpCodec,           &kUdpCodec,   &kUetCodec,        &kSueCodec,
                                                  &kSueCompressedCodec, &kUalinkCodec};

const Codec& codec_of(WireFormat format) { return *kCodecs[static_cast<std::size_t>(format)]; }

// The format of bytes that hold an Ethernet, an IPv4 and a UDP header; false where it is none of ours.
bool find_format(const unsigned char* at, WireFormat& format) {
  switch (get16(at + 12)) {
    case kThinEtherType:
    case kThinIntEtherType:
      format = WireFormat::kThin;
      return true;
    case kMacControlEtherType:
      format = WireFormat::kMacControl;
      return true;
    case kSueCompressedEtherType:
      format = WireFormat::kSueCompressed;
      return true;
    case kUalinkEtherType:
      format = WireFormat::kUalink;
      return true;
    case kIpEtherType:
      break;
    default:
      return false;
  }
  if (at[kEthernet + 9] == kTcpProtocol) {
    format = WireFormat::kTcp;
    return true;
  }
  if (at[kEthernet + 9] != kUdpProtocol) return false;
  switch (get16(at + kEthernet + kIp + 2)) {
    case kRocePort:
      format = WireFormat::kRoceV2;
      return true;
    case kThinPort:
      format = WireFormat::kThinUdp;
      return true;
    case kSocketPort:
      format = WireFormat::kUdp;
      return true;
    case kUetPort:
      format = WireFormat::kUet;
      return true;
    case kSuePort:
      format = WireFormat::kSue;
      return true;
    default:
      return false;
  }
}

// What stands around the payload in the modelled frame, telemetry included.
std::uint32_t least_frame(const Codec& codec, const Frame& frame, const IntStack* stack) {
  if (codec.flit_bytes != 0) {
    const std::uint32_t flits = (std::max(frame.payload_bytes, 1U) + codec.flit_bytes - 1) / codec.flit_bytes;
    return flits * codec.flit_bytes - kWireOverheadBytes;
  }
  const std::uint32_t padding = frame.opcode == Opcode::kData ? -frame.payload_bytes & (codec.payload_align - 1U) : 0U;
  const auto header = static_cast<std::uint32_t>(codec.header_bytes(frame, stack)) - codec.unmodelled;
  return std::max(kMinFrameBytes, header + frame.payload_bytes + padding + codec.tail_bytes + kFcsBytes);
}

bool carries_data(const Codec& codec, const Frame& frame) {
  if (frame.payload_bytes > codec.most_payload || frame.op > Op::kGetResponse) return false;
  if (frame.op == Op::kGetRequest) {
    return frame.opcode == Opcode::kData && frame.payload_bytes == 0 && frame.credit == 0 && whole_message(frame);
  }
  const bool cut = frame.opcode == Opcode::kTrimmed;
  if (frame.payload_bytes == 0 && !cut) return false;
  if (!has_flag(frame, kFlagLast) && frame.index > codec.most_index) return false;
  if (frame.credit == 0) return true;
  return codec.batches && whole_message(frame) && frame.credit <= 0x2000U &&
         (cut || frame.payload_bytes % frame.credit == 0);
}

bool carries(const Codec& codec, const Frame& frame, const IntStack* stack) {
  if ((codec.opcodes & bit_of(frame.opcode)) == 0) return false;
  if (frame.format == WireFormat::kMacControl) return frame.frame_bytes == kMinFrameBytes && frame.payload_bytes == 0;
  if (frame.psn > kPsnMask) return false;
  if (is_data(frame)) {
    if (!carries_data(codec, frame)) return false;
  } else if (frame.payload_bytes != 0 || (frame.flags & (kFlagFirst | kFlagLast)) != 0 ||
             (frame.op != Op::kPut && frame.op != Op::kGetResponse) || frame.message_bytes > kPsnMask ||
             (frame.opcode == Opcode::kNotReady && frame.credit > 31)) {
    return false;
  }
  if (codec.flit_bytes != 0 && (frame.frame_bytes + kWireOverheadBytes) % codec.flit_bytes != 0) return false;
  return frame.frame_bytes <= kLongestFrame && frame.frame_bytes >= least_frame(codec, frame, stack);
}

// Bytes before the trailer where so many of the payload are left out.
std::size_t inner_bytes(const Codec& codec, const Frame& frame, const IntStack* stack, std::size_t cut) {
  const std::size_t whole = codec.flit_bytes != 0 ? codec.header_bytes(frame, stack) + frame.payload_bytes
                                                  : std::size_t{frame.frame_bytes} - kFcsBytes + codec.unmodelled;
  return std::max(kMinOnVeth, whole - cut);
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

std::uint32_t on_veth(const Frame& frame, std::uint32_t snap_bytes) {
  return std::min(frame.payload_bytes, snap_bytes);
}

// The trailer, `kept` payload bytes being here; `stamp` finishes it.
void put_trailer(const Frame& frame, std::uint32_t kept, std::uint32_t crc, unsigned char* trailer) {
  const std::uint64_t cut = kept < frame.payload_bytes ? kTrailerCut : 0;
  // In words of 8 bytes, as the check reads them.
  put(trailer, std::uint64_t{kTrailerMagic} << 32 | std::uint64_t{kTrailerVersion} << 24 | cut << 16 | kept, 8);
  put(trailer + 24, frame.frame_bytes << 16 | frame.payload_bytes, 4);
  put(trailer + 32, crc, 4);
}

bool get_trailer(const unsigned char* at, Trailer& trailer) {
  if (at[4] != kTrailerVersion || get32(at + 36) != crc32c(0, at, kTrailerBytes - 4)) return false;
  trailer.flags = at[5];
  trailer.kept_bytes = get16(at + 6);
  trailer.first_bit_ps = get(at + 8, 8);
  trailer.link_seq = get(at + 16, 8);
  trailer.frame_bytes = get16(at + 24);
  trailer.payload_bytes = get16(at + 26);
  trailer.byte_time_ps = get32(at + 28);
  trailer.payload_crc = get32(at + 32);
  return (trailer.flags & ~(kTrailerCut | kTrailerDamaged)) == 0 && trailer.kept_bytes <= trailer.payload_bytes &&
         ((trailer.flags & kTrailerCut) != 0) == (trailer.kept_bytes < trailer.payload_bytes) &&
         trailer.payload_bytes <= kLongestPayload && trailer.frame_bytes >= kMinFrameBytes &&
         trailer.frame_bytes <= kLongestFrame;
}

// Headers of a frame whose modelled lengths are known.
bool get_headers(std::span<const unsigned char> inner, const Trailer& trailer, Frame& frame, IntStack& stack) {
  const unsigned char* at = inner.data();
  if (!find_format(at, frame.format)) return false;
  const Codec& codec = codec_of(frame.format);
  frame.dst = get16(at + 4);
  frame.src = get16(at + 10);
  const bool control = frame.format == WireFormat::kMacControl;
  if (!control && (get32(at) != 0x02544E00U || get32(at + 6) != 0x02544E00U)) return false;
  if (!codec.get(inner, frame, stack)) return false;
  const IntStack* telemetry = get16(at + 12) == kThinIntEtherType ? &stack : nullptr;
  if (!carries(codec, frame, telemetry)) return false;
  if (control && crc32c(0, at, codec.header_bytes(frame, nullptr)) != trailer.payload_crc) return false;
  return inner.size() == inner_bytes(codec, frame, telemetry, trailer.payload_bytes - trailer.kept_bytes);
}

}  // namespace

FormatBytes least_bytes(WireFormat format) { return codec_of(format).least; }

FormatLimits limits_of(WireFormat format) {
  const Codec& codec = codec_of(format);
  const bool trimmed = (codec.opcodes & bit_of(Opcode::kTrimmed)) != 0;
  return {codec.most_payload, codec.most_index + 1U, codec.batches, codec.bitmap, trimmed};
}

std::uint32_t least_frame_bytes(const Frame& frame) { return least_frame(codec_of(frame.format), frame, nullptr); }

bool carries(const Frame& frame) { return carries(codec_of(frame.format), frame, nullptr); }

std::size_t header_bytes(const Frame& frame, const IntStack* stack) {
  return codec_of(frame.format).header_bytes(frame, stack);
}

bool has_telemetry(std::span<const unsigned char> bytes) { return get16(bytes.data() + 12) == kThinIntEtherType; }

std::size_t encoded_bytes(const Frame& frame, std::uint32_t snap_bytes) {
  const std::size_t cut = frame.payload_bytes - on_veth(frame, snap_bytes);
  return inner_bytes(codec_of(frame.format), frame, nullptr, cut) + kTrailerBytes;
}

std::size_t encode(const Frame& frame, std::uint32_t snap_bytes, std::span<unsigned char> out, const IntStack* stack) {
  const Codec& codec = codec_of(frame.format);
  const std::uint32_t kept = on_veth(frame, snap_bytes);
  unsigned char* at = out.data();
  const std::size_t header = codec.header_bytes(frame, stack);
  const std::size_t inner = inner_bytes(codec, frame, stack, frame.payload_bytes - kept);
  codec.put(frame, stack, at);
  std::memcpy(at + header, pattern() + (mix64(identity(frame)) & (kPatternBytes - 8)), kept);
  std::memset(at + header + kept, 0, inner - header - kept);
  if (codec.seal != nullptr) codec.seal(frame, at, inner);
  const bool control = frame.format == WireFormat::kMacControl;
  const std::uint32_t crc = control ? crc32c(0, at, header) : payload_crc(frame, at + header, kept);
  put_trailer(frame, kept, crc, at + inner);
  return inner + kTrailerBytes;
}

std::size_t rewrite(const Frame& frame, std::span<unsigned char> out, std::size_t size, const IntStack* stack) {
  const Codec& codec = codec_of(frame.format);
  unsigned char* at = out.data();
  const unsigned char* trailer = at + size - kTrailerBytes;
  const std::uint32_t had = get16(trailer + 6);
  const std::uint32_t crc = get32(trailer + 32);
  IntStack before;
  const bool telemetry = has_telemetry(out) && get_stack({at, size}, before);
  const std::size_t old_header = codec.header_bytes(frame, telemetry ? &before : nullptr);
  const std::size_t header = codec.header_bytes(frame, stack);
  const std::uint32_t kept = std::min(had, frame.payload_bytes);
  std::memmove(at + header, at + old_header, kept);
  const unsigned char bth_flags = at[kBthFlags];  // a switch that cuts a packet leaves its pad count as it was
  codec.put(frame, stack, at);
  if (frame.format == WireFormat::kRoceV2 && frame.opcode == Opcode::kTrimmed) at[kBthFlags] = bth_flags;
  const std::size_t inner = inner_bytes(codec, frame, stack, frame.payload_bytes - kept);
  std::memset(at + header + kept, 0, inner - header - kept);
  if (codec.seal != nullptr) codec.seal(frame, at, inner);
  put_trailer(frame, kept, kept == had ? crc : payload_crc(frame, at + header, kept), at + inner);
  return inner + kTrailerBytes;
}

void stamp(std::span<unsigned char> bytes, const Frame& frame, std::uint64_t first_bit_ps, std::uint64_t link_seq) {
  unsigned char* trailer = bytes.data() + bytes.size() - kTrailerBytes;
  const std::uint64_t damaged = has_flag(frame, kFlagCorrupt) ? kTrailerDamaged : 0U;
  put(trailer, (get(trailer, 8) & ~(std::uint64_t{kTrailerDamaged} << 16)) | damaged << 16, 8);
  put(trailer + 8, first_bit_ps, 8);
  put(trailer + 16, link_seq, 8);
  put(trailer + 28, wire_byte_ps(frame), 4);
  put(trailer + 36, crc32c(0, trailer, kTrailerBytes - 4), 4);
}

Decoded decode(std::span<const unsigned char> bytes, Frame& frame, Trailer& trailer, IntStack& stack) {
  if (bytes.size() < kMinOnVeth + kTrailerBytes) return Decoded::kForeign;
  const unsigned char* at = bytes.data() + bytes.size() - kTrailerBytes;
  if (get32(at) != kTrailerMagic) return Decoded::kForeign;
  if (!get_trailer(at, trailer)) return Decoded::kDamaged;
  frame.frame_bytes = trailer.frame_bytes;
  frame.payload_bytes = trailer.payload_bytes;
  if (!get_headers(bytes.first(bytes.size() - kTrailerBytes), trailer, frame, stack)) return Decoded::kDamaged;
  if ((trailer.flags & kTrailerDamaged) != 0) frame.flags |= kFlagCorrupt;
  return Decoded::kFrame;
}

bool payload_intact(std::span<const unsigned char> bytes, const Frame& frame, const Trailer& trailer) {
  if (frame.format == WireFormat::kMacControl) return true;  // `decode` has looked at all that it carries
  IntStack stack;
  const bool telemetry = has_telemetry(bytes) && get_stack(bytes, stack);
  const std::size_t header = codec_of(frame.format).header_bytes(frame, telemetry ? &stack : nullptr);
  const std::size_t kept = trailer.kept_bytes;
  if (header + kept + kTrailerBytes > bytes.size()) return false;
  return payload_crc(frame, bytes.data() + header, kept) == trailer.payload_crc;
}

}  // namespace tb
