// CRC32C (Castagnoli, RFC 3720 appendix B.4), by the SSE4.2 instruction where the processor has it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tb {

/// The CRC32C of `size` bytes, continued from `crc` (0 to begin).
std::uint32_t crc32c(std::uint32_t crc, const void* data, std::size_t size);

/// The same by tables alone; used where the instruction is missing, and in tests.
std::uint32_t crc32c_portable(std::uint32_t crc, const void* data, std::size_t size);

}  // namespace tb
