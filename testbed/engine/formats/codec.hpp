// What a wire format is to wire.cpp, and what several formats share. A format is one file here; docs/wire-format.md has
// the fields of each.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "../frame.hpp"
#include "../telemetry.hpp"
#include "../wire.hpp"

namespace tb {

/// How the frames of one format are written and read. Spans start at the destination address and end before the
/// trailer; a `get` finds addresses, modelled length and payload bytes in the frame already, and takes nothing that
/// `put` would write otherwise, checksums over the payload apart.
struct Codec {
  FormatBytes least;
  std::uint32_t opcodes;           // bit for each Opcode that it can say
  bool bitmap = true;              // an acknowledgement can name packets that came out of order
  std::uint32_t most_payload = 0;  // bytes in a packet
  std::uint16_t most_index = 0xFFFF;
  bool batches = false;            // can tell several messages in a packet
  std::uint8_t payload_align = 1;  // bytes that a payload is padded to
  std::uint8_t tail_bytes = 0;     // behind payload and padding, before the FCS
  std::uint8_t unmodelled = 0;     // bytes before the frame on a veth that its modelled length does not count
  std::uint16_t flit_bytes = 0;    // a frame fills flits of this size; on a veth they are not filled up
  std::size_t (*header_bytes)(const Frame& frame, const IntStack* stack) = nullptr;
  void (*put)(const Frame& frame, const IntStack* stack, unsigned char* at) = nullptr;
  bool (*get)(std::span<const unsigned char> bytes, Frame& frame, IntStack& stack) = nullptr;
  /// Checksums over the payload, once it is there; null where a format has none. `size` ends before the trailer.
  void (*seal)(const Frame& frame, unsigned char* at, std::size_t size) = nullptr;
};

extern const Codec kThinCodec, kThinUdpCodec, kRoceCodec, kMacControlCodec, kTcpCodec, kUdpCodec, kUetCodec, kSueCodec,
    kSueCompressedCodec, kUalinkCodec;

inline constexpr std::size_t kEthernet = 14, kIp = 20, kUdp = 8;
inline constexpr std::uint8_t kTcpProtocol = 6, kUdpProtocol = 17;
inline constexpr std::size_t kMinOnVeth = kMinFrameBytes - kFcsBytes;

constexpr std::uint32_t bit_of(Opcode opcode) { return 1U << static_cast<unsigned>(opcode); }
inline constexpr std::uint32_t kDataAndAnswers =
    bit_of(Opcode::kData) | bit_of(Opcode::kAck) | bit_of(Opcode::kNack) | bit_of(Opcode::kTrimmed);

/// Big-endian numbers; sizes are constants wherever it matters, and then a load or store and a swap.
template <typename T>
inline void store(unsigned char* at, T value) {
  if constexpr (std::endian::native == std::endian::little) {
    if constexpr (sizeof(T) == 2) value = __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) value = __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) value = __builtin_bswap64(value);
  }
  std::memcpy(at, &value, sizeof value);
}

template <typename T>
inline T load(const unsigned char* at) {
  T value{};
  std::memcpy(&value, at, sizeof value);
  if constexpr (std::endian::native == std::endian::little) {
    if constexpr (sizeof(T) == 2) value = __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) value = __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) value = __builtin_bswap64(value);
  }
  return value;
}

inline std::uint16_t get16(const unsigned char* at) { return load<std::uint16_t>(at); }
inline std::uint32_t get32(const unsigned char* at) { return load<std::uint32_t>(at); }

__attribute__((always_inline)) inline void put(unsigned char* at, std::uint64_t value, std::size_t bytes) {
  if (bytes == 8) return store<std::uint64_t>(at, value);
  if (bytes >= 4) {
    store<std::uint32_t>(at + bytes - 4, static_cast<std::uint32_t>(value));
    bytes -= 4;
    value >>= 32;
  }
  if (bytes >= 2) {
    store<std::uint16_t>(at + bytes - 2, static_cast<std::uint16_t>(value));
    bytes -= 2;
    value >>= 16;
  }
  if (bytes == 1) *at = static_cast<unsigned char>(value);
}

__attribute__((always_inline)) inline std::uint64_t get(const unsigned char* at, std::size_t bytes) {
  if (bytes == 8) return load<std::uint64_t>(at);
  std::uint64_t value = 0;
  if (bytes >= 4) {
    value = get32(at);
    at += 4;
    bytes -= 4;
  }
  if (bytes >= 2) {
    value = value << 16 | get16(at);
    at += 2;
    bytes -= 2;
  }
  return bytes == 1 ? value << 8 | *at : value;
}

inline bool is_data(const Frame& frame) { return frame.opcode == Opcode::kData || frame.opcode == Opcode::kTrimmed; }
inline bool has_flag(const Frame& frame, std::uint8_t flag) { return (frame.flags & flag) != 0; }
inline bool whole_message(const Frame& frame) {
  return (frame.flags & (kFlagFirst | kFlagLast)) == (kFlagFirst | kFlagLast);
}
inline void set_flag(Frame& frame, std::uint8_t flag, bool on) {
  if (on) frame.flags |= flag;
}

/// Class of a format without code point, both ways.
inline std::uint8_t dscp_of_class(unsigned traffic_class) {
  return static_cast<std::uint8_t>((traffic_class & 7U) << 3);
}

inline void put_ethernet(const Frame& frame, unsigned char* out, std::uint16_t type) {
  put(out, 0x02544E000000ULL | frame.dst, 6);
  put(out + 6, 0x02544E000000ULL | frame.src, 6);
  put(out + 12, type, 2);
}

/// A message of a batch tells its operation, how many come behind it, and its bytes (0 in a packet that was cut).
inline constexpr std::size_t kBatchEntry = 4;
void put_batch(const Frame& frame, unsigned char* out);
/// The operation and the number of messages are those of the first entry; `at` has room for that.
bool get_batch(std::span<const unsigned char> at, Frame& frame);

/// One's complement sum of big-endian words, continued from `sum`, of at most 2^32 bytes.
std::uint64_t add_words(std::uint64_t sum, const unsigned char* at, std::size_t size);
/// The checksum of a sum (RFC 1071).
std::uint16_t checksum_of(std::uint64_t sum);

/// IPv4 header of a datagram with so many bytes behind it.
void put_ip(const Frame& frame, unsigned char* ip, std::uint8_t protocol, std::size_t bytes, std::uint16_t id = 0);
/// Read one; `bytes` becomes what is behind it, which is the caller's to check. False for any field that `put_ip` would
/// write otherwise. The frame has its addresses.
bool get_ip(const unsigned char* ip, Frame& frame, std::size_t& bytes, std::uint16_t& id);
/// IPv4 and UDP headers around so many bytes, without UDP checksum, which what comes from sockets alone has.
void put_ip_udp(const Frame& frame, unsigned char* ip, std::uint16_t port, std::size_t bytes, std::uint16_t id = 0);
bool get_ip_udp(const unsigned char* ip, Frame& frame, std::size_t& bytes, std::uint16_t& id);
/// TCP or UDP checksum over what is here from the transport header to `end`, at `field`; 0 is written as `for_zero`.
void seal_transport(unsigned char* ip, const unsigned char* end, std::size_t field, std::uint16_t for_zero);

}  // namespace tb
