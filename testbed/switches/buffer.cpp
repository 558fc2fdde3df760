#include "buffer.hpp"

#include <algorithm>
#include <stdexcept>

namespace tb {

SharedBuffer::SharedBuffer(BufferConfig config, std::uint32_t ports)
    : config_(std::move(config)),
      keeps_groups_(config_.lossless_classes != 0 || config_.ingress_alpha_log2 != kNoThreshold ||
                    config_.pg_reserved_cells != 0 || config_.credits),
      queues_(std::size_t{ports} * kClasses, 0),
      groups_(keeps_groups_ ? std::size_t{ports} * kClasses : 0),
      credited_(ports, false) {
  config_.headroom_cells.resize(ports, 0);
}

bool SharedBuffer::enter_group(Group& from, std::uint32_t ingress, std::uint32_t c, std::uint64_t cells) {
  const bool is_lossless = lossless(c);
  const std::uint64_t shared_after = beyond(from.cells + cells, config_.pg_reserved_cells);
  const std::uint64_t shared_more = shared_after - beyond(from.cells, config_.pg_reserved_cells);
  const std::uint64_t free = left(config_.shared_cells, shared_taken_);
  const std::int32_t alpha_log2 = is_lossless ? config_.lossless_alpha_log2 : config_.ingress_alpha_log2;
  const bool within = credited_[ingress] || alpha_log2 == kNoThreshold || shared_after <= threshold(free, alpha_log2);
  if (from.headroom == 0 && (shared_more == 0 || (within && shared_more <= free))) {
    from.cells += cells;
    shared_taken_ += shared_more;
    from.watermark = std::max(from.watermark, from.cells);
    return true;
  }
  if (!is_lossless) return false;
  const std::uint64_t own = left(config_.headroom_cells[ingress], from.headroom);
  const std::uint64_t pool = left(config_.headroom_pool_cells, headroom_used_);
  if (cells > std::min(own, pool)) {
    missing_cells_ = cells - std::min(own, pool);
    return false;
  }
  from.headroom += cells;
  headroom_used_ += cells;
  from.headroom_watermark = std::max(from.headroom_watermark, from.headroom);
  headroom_watermark_ = std::max(headroom_watermark_, headroom_used_);
  if (!from.stopped) {
    from.stopped = true;
    stopped_.push_back(ingress * kClasses + c);
  }
  return true;
}

bool SharedBuffer::may_resume(const Group& of) const {
  if (of.headroom != 0) return false;
  const std::uint64_t shared = beyond(of.cells, config_.pg_reserved_cells);
  if (shared == 0) return true;
  const std::uint64_t free = left(config_.shared_cells, shared_taken_);
  return shared + config_.xon_offset_cells <= threshold(free, config_.lossless_alpha_log2);
}

std::uint32_t SharedBuffer::next_resumed() {
  for (std::size_t i = 0; i < stopped_.size(); ++i) {
    const std::uint32_t place = stopped_[i];
    if (!may_resume(groups_[place])) continue;
    groups_[place].stopped = false;
    stopped_.erase(stopped_.begin() + static_cast<std::ptrdiff_t>(i));
    return place;
  }
  return kNone;
}

}  // namespace tb
