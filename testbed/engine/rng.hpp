// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC'11).
// A number depends only on (seed, entity, purpose, counter), so that no schedule of calls can change it.
#pragma once
#include <array>
#include <cstdint>

namespace tb {

using PhiloxBlock = std::array<std::uint32_t, 4>;

/// One Philox4x32-10 block: 128 random bits for a 128-bit counter under a 64-bit key.
inline PhiloxBlock philox4x32(PhiloxBlock counter, std::uint64_t key) {
  auto k0 = static_cast<std::uint32_t>(key);
  auto k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ k0, static_cast<std::uint32_t>(p1),
               static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return counter;
}

/// A stream of random numbers for one purpose of one entity.
class RandomStream {
 public:
  RandomStream() = default;
  RandomStream(std::uint64_t seed, std::uint32_t entity, std::uint32_t purpose)
      : seed_(seed), entity_(entity), purpose_(purpose) {}

  /// 64 random bits number `counter` of this stream.
  [[nodiscard]] std::uint64_t at(std::uint64_t counter) const {
    const PhiloxBlock block = philox4x32(
        {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), entity_, purpose_}, seed_);
    return (std::uint64_t{block[1]} << 32) | block[0];
  }
  /// The next 64 random bits.
  std::uint64_t next() { return at(counter_++); }

 private:
  std::uint64_t seed_ = 0;
  std::uint64_t counter_ = 0;
  std::uint32_t entity_ = 0;
  std::uint32_t purpose_ = 0;
};

/// `random` (32 bits used) mapped to 0 .. bound-1 by multiplication (Lemire); bias < bound / 2^32.
inline std::uint32_t bounded(std::uint64_t random, std::uint32_t bound) {
  return static_cast<std::uint32_t>(((random & 0xFFFFFFFFU) * bound) >> 32);
}

/// A 64-bit mixing function (splitmix64 finaliser), used as flow hash and payload pattern.
inline std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

}  // namespace tb
