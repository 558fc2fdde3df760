// Frames as bytes: the headers of their format (formats/), the payload, and the emulation trailer.
//
// On a veth a frame is: its real bytes without FCS (as every capture shows it), its payload cut to `snap` bytes where
// that is asked for, and the trailer below, which is not part of the modelled length. docs/wire-format.md has the
// fields of each format and of the trailer. The payload's CRC32C is made by the sending card over the packet's
// identity and its bytes, carried unchanged by switches and checked by the receiving card.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "frame.hpp"
#include "telemetry.hpp"

namespace tb {

inline constexpr std::uint32_t kTrailerMagic = 0x544E5442U;  // "TNTB"
inline constexpr std::uint8_t kTrailerVersion = 2;
inline constexpr std::uint16_t kThinEtherType = 0x88B5;     // IEEE 802 local experimental 1
inline constexpr std::uint16_t kThinIntEtherType = 0x88B6;  // local experimental 2: telemetry, then the thin header
inline constexpr std::uint16_t kIpEtherType = 0x0800;
inline constexpr std::uint16_t kMacControlEtherType = 0x8808;
inline constexpr std::uint16_t kSueCompressedEtherType = 0xFE5C;  // this and the next: not assigned, assumed
inline constexpr std::uint16_t kUalinkEtherType = 0xFE0A;
inline constexpr std::uint16_t kPfcOpcode = 0x0101;     // IEEE 802.1Qbb
inline constexpr std::uint16_t kCreditOpcode = 0xFFFE;  // not assigned: credits given back
inline constexpr std::uint16_t kRocePort = 4791;        // IANA, RoCEv2
inline constexpr std::uint16_t kUetPort = 4793;         // IANA, Ultra Ethernet transport
inline constexpr std::uint16_t kSuePort = 3333;         // as xdp2-dev/xdp2 has it; not assigned to it
inline constexpr std::uint16_t kThinPort = 34997;       // 0x88B5; not assigned
inline constexpr std::uint16_t kSocketPort = 34998;     // TCP and UDP; not assigned
inline constexpr std::size_t kTrailerBytes = 40;

/// What the emulation adds behind a frame; big-endian on the wire.
struct Trailer {
  std::uint32_t magic = kTrailerMagic;
  std::uint8_t version = kTrailerVersion;
  std::uint8_t flags = 0;           // bit 0: payload not all here, bit 1: damaged on the wire before
  std::uint16_t kept_bytes = 0;     // payload bytes that are here
  std::uint64_t first_bit_ps = 0;   // ideal arrival of the first bit at the far end
  std::uint64_t link_seq = 0;       // number of the frame on its direction of the link
  std::uint16_t frame_bytes = 0;    // modelled length, FCS included
  std::uint16_t payload_bytes = 0;  // modelled payload
  std::uint32_t byte_time_ps = 0;   // of the wire when the frame started on it
  std::uint32_t payload_crc = 0;    // CRC32C of identity and payload (bytes that are here)
  std::uint32_t check = 0;          // CRC32C of the 36 bytes before
};
static_assert(sizeof(Trailer) == kTrailerBytes);

enum class Decoded : std::uint8_t { kFrame, kForeign, kDamaged };

/// Bytes from Ethernet to FCS around a payload: of a first packet (of a PUT), of another, and of an acknowledgement.
/// The smallest frame of 64 bytes is in `ack` alone. UALink counts flits: nothing is around a payload.
struct FormatBytes {
  std::uint32_t first, other, ack;
};

/// The least that a NIC of this format can be configured with.
FormatBytes least_bytes(WireFormat format);

/// What a format can say at all.
struct FormatLimits {
  std::uint32_t most_payload, most_packets;  // bytes of a packet, packets of a message
  bool batches, bitmap, trimmed;             // several messages in a packet; packets out of order; packets cut short
};
FormatLimits limits_of(WireFormat format);

/// The least `frame_bytes` of a frame with this opcode, operation, flags, credit and payload, without telemetry.
std::uint32_t least_frame_bytes(const Frame& frame);

/// Whether the format can say what the frame says, and its length holds its headers and payload. Such a frame encodes,
/// and decodes to itself.
bool carries(const Frame& frame);

/// Bytes before the payload of a frame on a veth; `stack` is its telemetry, or null.
std::size_t header_bytes(const Frame& frame, const IntStack* stack = nullptr);

/// Bytes of a frame on a veth, trailer included, for payloads cut to `snap_bytes`.
std::size_t encoded_bytes(const Frame& frame, std::uint32_t snap_bytes);

/// Write the headers, the payload and an unfinished trailer; returns the size. `out` has room for encoded_bytes();
/// `stack` is the frame's telemetry, or null.
std::size_t encode(const Frame& frame, std::uint32_t snap_bytes, std::span<unsigned char> out,
                   const IntStack* stack = nullptr);

/// Bring an encoded frame, `size` bytes at the start of `out`, in line with fields that a switch has changed: its mark,
/// its telemetry, its length where it was trimmed. The payload stays the one that is there. Returns the new size.
std::size_t rewrite(const Frame& frame, std::span<unsigned char> out, std::size_t size,
                    const IntStack* stack = nullptr);

/// Finish the trailer of an encoded frame for its next wire.
void stamp(std::span<unsigned char> bytes, const Frame& frame, std::uint64_t first_bit_ps, std::uint64_t link_seq);

/// Read a frame, its telemetry (into `stack`; hops = 0 where it has none, see `has_telemetry`) and its trailer. Frames
/// without trailer are foreign; frames that contradict themselves are damaged.
Decoded decode(std::span<const unsigned char> bytes, Frame& frame, Trailer& trailer, IntStack& stack);

/// Whether an encoded frame carries in-band telemetry.
bool has_telemetry(std::span<const unsigned char> bytes);

/// Whether the payload is the one that the sending card wrote for this packet.
bool payload_intact(std::span<const unsigned char> bytes, const Frame& frame, const Trailer& trailer);

}  // namespace tb
