// Distributions drawn through integer tables, so that every machine draws the same picosecond: no libm is involved.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "types.hpp"

namespace tb {

namespace detail {

inline constexpr int kLogBits = 12;
inline constexpr int kLogSegments = 1 << kLogBits;

// -ln(x) for x in (0.5, 1] by the series 2 atanh((1-x)/(1+x)); evaluated by the compiler only.
constexpr double negative_log(double x) {
  const double z = (1.0 - x) / (1.0 + x);
  double term = z;
  double sum = 0.0;
  for (int k = 1; k < 60; k += 2) {
    sum += term / k;
    term *= z * z;
  }
  return 2.0 * sum;
}

// Fixed-point (2^40) table of -ln(0.5 + i / (2 segments)).
constexpr std::array<std::uint64_t, kLogSegments + 1> make_log_table() {
  std::array<std::uint64_t, kLogSegments + 1> table{};
  for (int i = 0; i <= kLogSegments; ++i) {
    const double x = 0.5 + 0.5 * static_cast<double>(i) / kLogSegments;
    table[static_cast<std::size_t>(i)] = static_cast<std::uint64_t>(negative_log(x) * 1099511627776.0 + 0.5);
  }
  return table;
}

inline constexpr auto kLogTable = make_log_table();

}  // namespace detail

/// An exponential draw of mean `mean_ps` from 64 random bits; off by less than 1e-8 of the mean.
inline ps_t exponential_ps(std::uint64_t random, ps_t mean_ps) {
  // u = (random | 1) / 2^64 in (0, 1): octave k (leading zeros) and a mantissa in [0.5, 1).
  const std::uint64_t u = random | 1U;
  const int octave = std::countl_zero(u);
  const std::uint64_t mantissa = (u << octave) << 1;  // fraction bits below the leading one
  const auto segment = static_cast<std::size_t>(mantissa >> (64 - detail::kLogBits));
  const std::uint64_t rest = (mantissa << detail::kLogBits) >> 32;  // 32 bits inside the segment
  const std::uint64_t high = detail::kLogTable[segment];
  const std::uint64_t low = detail::kLogTable[segment + 1];
  const std::uint64_t within = high - (((high - low) * rest) >> 32);
  const std::uint64_t total = static_cast<std::uint64_t>(octave) * detail::kLogTable[0] + within;
  return static_cast<ps_t>((static_cast<wide_t>(total) * mean_ps) >> 40);
}

/// A distribution as a quantile table: value at cumulative probability p [2^-32], linear in between.
class QuantileTable {
 public:
  /// Point of the table: cumulative probability in units of 2^-32 (0 .. 2^32) and value [ps].
  using Point = std::pair<std::uint64_t, ps_t>;

  QuantileTable() = default;
  /// Throws std::invalid_argument unless points run from 0 to 2^32 and neither coordinate falls.
  explicit QuantileTable(std::vector<Point> points) : points_(std::move(points)) {
    if (points_.empty()) return;
    if (points_.size() < 2 || points_.front().first != 0 || points_.back().first != (std::uint64_t{1} << 32)) {
      throw std::invalid_argument("a quantile table runs from probability 0 to 1 (2^32) in two or more points");
    }
    for (std::size_t i = 1; i < points_.size(); ++i) {
      if (points_[i].first <= points_[i - 1].first || points_[i].second < points_[i - 1].second) {
        throw std::invalid_argument("a quantile table rises: probabilities strictly, values weakly");
      }
    }
  }
  [[nodiscard]] bool empty() const { return points_.empty(); }
  /// The value for 64 random bits [ps]; 0 for an empty table.
  [[nodiscard]] ps_t draw(std::uint64_t random) const {
    if (points_.empty()) return 0;
    const std::uint64_t p = random >> 32;
    std::size_t i = 1;
    while (points_[i].first <= p) ++i;
    const auto [p0, v0] = points_[i - 1];
    const auto [p1, v1] = points_[i];
    const auto rise = static_cast<wide_t>(v1 - v0) * (p - p0);
    return v0 + static_cast<ps_t>(rise / (p1 - p0));
  }

 private:
  std::vector<Point> points_;
};

}  // namespace tb
