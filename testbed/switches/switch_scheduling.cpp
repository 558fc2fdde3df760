// Which class sends next, and which frames are marked: `SwitchEntity`.
#include <algorithm>
#include <bit>

#include "switch_model.hpp"

namespace tb {

// When class `c` may send a frame, as far as pauses, credits and its shaper are concerned.
ps_t SwitchEntity::opens_ps(const Egress& out, const Frame& frame) const {
  const std::uint32_t c = frame.queue;
  const bool grows = config_.int_enabled && frame.telemetry != kNoTelemetry;
  const ps_t gate_ps = out.gate.free() ? 0 : out.gate.opens_ps(c, frame.frame_bytes + (grows ? kIntHopBytes : 0));
  if (!shaped_ || config_.shaper_ps_per_kib[c] == 0) return gate_ps;
  const ps_t burst_ps = config_.shaper_burst_bytes[c] * config_.shaper_ps_per_kib[c] / 1024;
  const ps_t until_ps = out.queues[c].shaped_until_ps;
  return std::max(gate_ps, until_ps > burst_ps ? until_ps - burst_ps : 0);
}

// A token bucket as the time at which it would be full again (GCRA, ITU-T I.371): a frame moves it on by its own time
// at the shaped rate, and may go while it is at most a burst ahead.
void SwitchEntity::account_shaper(Egress& out, std::uint32_t c, std::uint32_t frame_bytes, ps_t now_ps) {
  const std::uint64_t per_kib = config_.shaper_ps_per_kib[c];
  if (per_kib == 0) return;
  if (out.queues[c].shaped_until_ps < now_ps) {
    out.queues[c].shaped_until_ps = now_ps;
    out.queues[c].shaped_rest = 0;
  }
  const std::uint64_t time = frame_bytes * per_kib + out.queues[c].shaped_rest;  // [ps / 1024]
  out.queues[c].shaped_until_ps += time / 1024;
  out.queues[c].shaped_rest = static_cast<std::uint16_t>(time % 1024);
}

SwitchEntity::Choice SwitchEntity::choose(std::uint32_t egress, ps_t now_ps) {
  Egress& out = egress_[egress];
  std::uint32_t ready = 0;
  ps_t soonest_ps = kNever;
  for (std::uint32_t waiting = out.waiting_classes; waiting != 0;) {
    const auto c = static_cast<std::uint32_t>(std::bit_width(waiting)) - 1U;
    waiting &= ~(1U << c);
    const Frame& head = *out.queues[c].frames.front();
    const ps_t ready_ps = !out.gated ? head.time_ps : std::max(head.time_ps, opens_ps(out, head));
    if (ready_ps > now_ps) {
      soonest_ps = std::min(soonest_ps, ready_ps);
      continue;
    }
    if ((strict_classes_ >> c & 1U) != 0) return {c, now_ps};
    ready |= 1U << c;
  }
  if (ready == 0) return {kClasses, soonest_ps};
  return {deficit_round_robin(out, ready), now_ps};
}

// Shreedhar and Varghese, "Efficient Fair Queueing Using Deficit Round-Robin", 1995. A class that may not send is
// passed over and keeps what it has; a strict class that is ready has gone first, whichever its number.
std::uint32_t SwitchEntity::deficit_round_robin(Egress& out, std::uint32_t ready) {
  while (true) {
    const std::uint32_t c = out.turn;
    if ((ready >> c & 1U) != 0) {
      const std::uint64_t head_bytes = out.queues[c].frames.front()->frame_bytes;
      if (!out.granted) out.queues[c].deficit_bytes += config_.dwrr_quantum_bytes[c];
      out.granted = true;
      if (out.queues[c].deficit_bytes >= head_bytes) {
        out.queues[c].deficit_bytes -= head_bytes;
        return c;
      }
    }
    out.turn = (c + 1) % kClasses;
    out.granted = false;
  }
}

void SwitchEntity::mark(std::uint32_t egress, std::uint32_t c, std::uint64_t depth_bytes, Frame* frame) {
  if (marker_.mark(group_, egress, c, depth_bytes, frame)) ++egress_[egress].counts[c].marked;
}

}  // namespace tb
