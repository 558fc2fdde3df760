#include "crc32c.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace tb {

namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78U;  // reflected

using ByteTable = std::array<std::uint32_t, 256>;

constexpr ByteTable make_byte_table() {
  ByteTable table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? kPolynomial : 0U);
    table[i] = crc;
  }
  return table;
}

constexpr ByteTable kByteTable = make_byte_table();

std::uint32_t by_table(std::uint32_t crc, const unsigned char* data, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) crc = (crc >> 8) ^ kByteTable[(crc ^ data[i]) & 0xFFU];
  return crc;
}

#if defined(__x86_64__)

// Three independent lanes of this many bytes hide the latency of the instruction (3 cycles, 1 per cycle).
constexpr std::size_t kLane = 1360;

using ShiftTable = std::array<ByteTable, 4>;

// What `kLane` zero bytes behind it make of each byte of a CRC.
ShiftTable make_shift_table() {
  ShiftTable table{};
  for (std::uint32_t byte = 0; byte < 4; ++byte) {
    for (std::uint32_t value = 0; value < 256; ++value) {
      std::uint32_t crc = value << (8 * byte);
      for (std::size_t i = 0; i < kLane; ++i) crc = (crc >> 8) ^ kByteTable[crc & 0xFFU];
      table[byte][value] = crc;
    }
  }
  return table;
}

std::uint32_t shift_lane(std::uint32_t crc) {
  static const ShiftTable table = make_shift_table();
  return table[0][crc & 0xFFU] ^ table[1][(crc >> 8) & 0xFFU] ^ table[2][(crc >> 16) & 0xFFU] ^ table[3][crc >> 24];
}

std::uint64_t load64(const unsigned char* data) {
  std::uint64_t value = 0;
  std::memcpy(&value, data, sizeof value);
  return value;
}

__attribute__((target("sse4.2"))) std::uint32_t by_instruction(std::uint32_t crc, const unsigned char* data,
                                                               std::size_t size) {
  while (size >= 3 * kLane) {
    std::uint64_t a = crc;
    std::uint64_t b = 0;
    std::uint64_t c = 0;
    for (std::size_t i = 0; i < kLane; i += 8) {
      a = _mm_crc32_u64(a, load64(data + i));
      b = _mm_crc32_u64(b, load64(data + kLane + i));
      c = _mm_crc32_u64(c, load64(data + 2 * kLane + i));
    }
    crc = shift_lane(static_cast<std::uint32_t>(a)) ^ static_cast<std::uint32_t>(b);
    crc = shift_lane(crc) ^ static_cast<std::uint32_t>(c);
    data += 3 * kLane;
    size -= 3 * kLane;
  }
  std::uint64_t wide = crc;
  for (; size >= 8; size -= 8, data += 8) wide = _mm_crc32_u64(wide, load64(data));
  return by_table(static_cast<std::uint32_t>(wide), data, size);
}

#endif

}  // namespace

std::uint32_t crc32c_portable(std::uint32_t crc, const void* data, std::size_t size) {
  return ~by_table(~crc, static_cast<const unsigned char*>(data), size);
}

std::uint32_t crc32c(std::uint32_t crc, const void* data, std::size_t size) {
#if defined(__x86_64__)
  static const bool fast = __builtin_cpu_supports("sse4.2") != 0;
  if (fast) return ~by_instruction(~crc, static_cast<const unsigned char*>(data), size);
#endif
  return crc32c_portable(crc, data, size);
}

}  // namespace tb
