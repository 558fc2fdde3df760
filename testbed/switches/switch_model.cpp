#include "switch_model.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <stdexcept>

#include "../engine/wire.hpp"

namespace tb {

namespace {

constexpr std::uint32_t kPurposeSampling = 0x20000;  // and the port

constexpr std::uint64_t kLeastCreditBytes = 16'384;  // an eighth may be on its way back; a large frame must still fit

void check_buffer(const SwitchConfig& config) {
  require(config.cell_bytes != 0, "a buffer cell holds at least one byte");
  require(config.buffer_bytes >= config.cell_bytes, "the buffer holds at least one cell");
  for (const std::int32_t alpha : {config.alpha_log2, config.ingress_alpha_log2, config.lossless_alpha_log2}) {
    const bool none = alpha == kNoThreshold && alpha != config.alpha_log2;
    require(none || (alpha >= -16 && alpha <= 16), "alpha_log2 is in -16 .. 16");
  }
  require(config.lossless_classes < 256, "lossless_classes has one bit for each of 8 classes");
  require(config.lossless_classes == 0 || config.pause_quanta > 1, "a pause lasts at least two quanta");
}

void check_classes(const SwitchConfig& config) {
  const auto by_class = [](std::size_t size) { return size == 0 || size == kClasses; };
  require(by_class(config.dwrr_quantum_bytes.size()) && by_class(config.shaper_ps_per_kib.size()),
          "a list by class has 8 items");
  require(config.shaper_burst_bytes.size() == config.shaper_ps_per_kib.size(), "each shaper has a burst");
  require(config.trim_bytes == 0 || config.trim_bytes >= kMinFrameBytes, "a trimmed frame has at least 64 bytes");
  require(config.trim_class < kClasses, "a class is 0 to 7");
  require(config.credit_bytes == 0 || config.credit_bytes >= kLeastCreditBytes,
          "the credits of a class cover at least 16384 bytes");
  require(config.credit_bytes / config.cell_bytes < 0x8000, "the credits of a class are at most 32767 cells");
}

BufferConfig buffer_of(const SwitchConfig& config) {
  const auto in_cells = [&](std::uint64_t bytes) { return bytes / config.cell_bytes; };
  BufferConfig buffer;
  buffer.shared_cells = in_cells(config.buffer_bytes);
  buffer.reserved_cells = in_cells(config.reserved_bytes);
  buffer.alpha_log2 = config.alpha_log2;
  buffer.pg_reserved_cells = in_cells(config.pg_reserved_bytes);
  buffer.ingress_alpha_log2 = config.ingress_alpha_log2;
  buffer.lossless_alpha_log2 = config.lossless_alpha_log2;
  buffer.lossless_classes = config.lossless_classes;
  buffer.credits = config.credit_bytes != 0;
  buffer.xon_offset_cells = in_cells(config.xon_offset_bytes);
  for (const std::uint64_t bytes : config.headroom_bytes) buffer.headroom_cells.push_back(in_cells(bytes));
  const std::uint64_t classes = static_cast<std::uint64_t>(std::popcount(config.lossless_classes));
  const std::uint64_t all =
      std::accumulate(buffer.headroom_cells.begin(), buffer.headroom_cells.end(), std::uint64_t{0}) * classes;
  buffer.headroom_pool_cells = config.headroom_pool_bytes == 0 ? all : in_cells(config.headroom_pool_bytes);
  return buffer;
}

}  // namespace

SwitchModel::SwitchModel(SwitchConfig given) : config(std::move(given)) {
  check_buffer(config);
  check_classes(config);
  check_forwarding(config);
}

std::unique_ptr<Entity> SwitchModel::make(const NodeContext& context) const {
  return std::make_unique<SwitchEntity>(context, config);
}

SwitchEntity::SwitchEntity(const NodeContext& context, const SwitchConfig& config)
    : ModelEntity(context.group, context.id, context.name, context.ports, 2 * context.ports),
      config_(config),
      port_count_(context.ports),
      buffer_(buffer_of(config), context.ports),
      forwarding_(config, context),
      marker_(config.ecn, context),
      egress_(context.ports),
      stored_(context.ports),
      flow_control_(config.lossless_classes != 0 || config.credit_bytes != 0) {
  for (std::uint32_t i = 0; i < kClasses; ++i) {
    if (!config.dwrr_quantum_bytes.empty() && config.dwrr_quantum_bytes[i] != 0) strict_classes_ &= ~(1U << i);
    if (!config.shaper_ps_per_kib.empty() && config.shaper_ps_per_kib[i] != 0) shaped_ = true;
  }
  if (flow_control_) tellers_.resize(port_count_);
  for (std::uint32_t port = 0; port < port_count_; ++port) {
    if (config.sflow_interval == 0) continue;
    sampling_.emplace_back(context.seed, context.id, kPurposeSampling + port);
    sample_in_.push_back(1 + bounded(sampling_.back().next(), 2 * config.sflow_interval - 1));
  }
}

void SwitchEntity::start() {
  forwarding_.check_ports(ports_, name());
  for (std::uint32_t port = 0; port < port_count_; ++port) {
    egress_[port].gate.set_credits(ports_[port].peer_credits, ports_[port].peer_cell_bytes);
    gate_changed(egress_[port]);
    if (ports_[port].grants_credits) buffer_.grant_credits(port);
  }
  await_change();
}

void SwitchEntity::update(TableUpdate update) {
  forwarding_.add(std::move(update), ports_, name());
  await_change();
}

void SwitchEntity::send_out(PacketOut out) {
  forwarding_.add(std::move(out), ports_, name());
  await_change();
}

// It joins the queue of its class at the port, as any frame; no neighbour has sent it, and none is owed credit for it.
void SwitchEntity::send_packet_outs(ps_t now_ps) {
  std::uint32_t egress = 0;
  while (Frame* frame = forwarding_.take_packet_out(now_ps, egress)) {
    frame->ingress = kFromCpu;
    frame->flags |= kFlagCredited;
    if (config_.int_enabled && frame->telemetry != kNoTelemetry) note_arrival(*frame, now_ps);
    forward(egress, frame, now_ps, now_ps);
  }
}

// Most switches have no change, and no slot for it.
void SwitchEntity::await_change() {
  const ps_t next_ps = forwarding_.next_change_ps();
  if (next_ps == kNever) return;
  slots_.reserve(change_slot() + 1);
  slots_.set(change_slot(), next_ps);
}

// What it holds is lost, and what it has told and been told of pauses; a frame on its way out goes on.
void SwitchEntity::restart(ps_t now_ps) {
  for (std::uint32_t egress = 0; egress < port_count_; ++egress) {
    Egress& out = egress_[egress];
    for (std::uint32_t c = 0; c < kClasses; ++c) {
      Queue& queue = out.queues[c];
      const bool held = !queue.frames.empty();
      while (!queue.frames.empty()) {
        Frame* frame = queue.frames.pop();
        buffer_.release(frame->ingress, egress, c, cells(*frame));
        queue.bytes -= frame->frame_bytes;
        out.bytes -= frame->frame_bytes;
        forwarding_.lose(frame, now_ps);
      }
      queue.deficit_bytes = queue.shaped_until_ps = queue.storm_until_ps = 0;
      queue.shaped_rest = 0;
      if (held && now_ps < group_.telemetry.until_ps()) sample(egress, c, now_ps);
    }
    out.waiting_classes = 0;
    out.granted = false;
    out.turn = 0;
    while (!stored_[egress].empty()) forwarding_.lose(stored_[egress].pop().frame, now_ps);
    slots_.set(stored_slot(egress), kNever);
    slots_.set(departure_slot(egress), kNever);
  }
  forget_flow_control(now_ps);
}

void SwitchEntity::handle(std::uint32_t slot, ps_t now_ps) {
  if (slot < port_count_) {
    arrive(slot, take_arrival(slot), now_ps);
  } else if (slot >= departure_slot(0)) {
    if (slot != change_slot()) return depart(slot - departure_slot(0), now_ps);
    if (forwarding_.change(now_ps)) restart(now_ps);
    send_packet_outs(now_ps);
    slots_.set(slot, forwarding_.next_change_ps());
  } else if (slot == control_slot()) {
    const Control control = take_control();
    control_arrives(control.port, control.frame, now_ps);
  } else {
    Ring<Stored>& lane = stored_[slot - stored_slot(0)];
    const auto [frame, egress] = lane.pop();
    slots_.set(slot, lane.empty() ? kNever : lane.front().frame->time_ps);
    if ((frame->flags & kFlagCorrupt) != 0) {
      discard(egress, frame, now_ps);
    } else {
      forward(egress, frame, now_ps, now_ps);
    }
  }
}

std::uint32_t SwitchEntity::choose_port(std::uint32_t ingress, const Frame& frame, ps_t now_ps) {
  return forwarding_.choose(ingress, frame, now_ps, [this, now_ps](std::uint32_t number) {
    const Port& port = ports_[number];
    const ps_t busy_ps = port.busy_until_ps > now_ps ? port.busy_until_ps - now_ps : 0;
    return egress_[number].bytes + busy_ps / port.byte_time_ps;
  });
}

void SwitchEntity::arrive(std::uint32_t ingress, Frame* frame, ps_t now_ps) {
  Egress& from = egress_[ingress];
  ++from.in_frames;
  from.in_bytes += frame->frame_bytes;
  frame->ingress = static_cast<std::uint16_t>(ingress);
  frame->queue = static_cast<std::uint8_t>(forwarding_.classify(*frame));
  forwarding_.prefetch(*frame);
  buffer_.prefetch(ingress, frame->queue);
  if ((frame->flags & kFlagCorrupt) != 0) ++from.fcs_errors;
  sampled_ = config_.sflow_interval != 0 && --sample_in_[ingress] == 0 && sample_flow(ingress, *frame, now_ps);
  if (config_.int_enabled && frame->telemetry != kNoTelemetry) {
    const ps_t stored_ps = config_.cut_through ? 0 : ps_t{frame->frame_bytes + kPreambleBytes} * wire_byte_ps(*frame);
    note_arrival(*frame, now_ps - config_.pipeline_latency_ps - stored_ps);
    __builtin_prefetch(&group_.telemetry.int_stacks.at(telemetry_place(*frame)).hop[telemetry_hops(*frame)], 1);
  }
  lookup(ingress, frame, now_ps);
}

void SwitchEntity::lookup(std::uint32_t ingress, Frame* frame, ps_t now_ps) {
  std::uint32_t egress = forwarding_.find(ingress, *frame);
  const bool storing = !config_.cut_through;
  if (egress >= Forwarding::kRefused) {
    let_go(*frame, now_ps);
    forwarding_.refuse(static_cast<std::uint16_t>(egress), *this, ingress, frame, now_ps);
    return;
  }
  if (storing && (frame->flags & kFlagCorrupt) != 0) {
    let_go(*frame, now_ps);
    group_.drop_frame(frame);
    return;
  }
  if (egress == Forwarding::kSeveralPorts) egress = choose_port(ingress, *frame, now_ps);
  if (sampled_ && egress != ingress) sampled_leaves(egress);
  if (egress == ingress) {
    let_go(*frame, now_ps);
    forwarding_.refuse_return(frame);
    return;
  }
  if (storing) {
    forward(egress, frame, now_ps, now_ps);
    return;
  }
  const ps_t in_byte_ps = wire_byte_ps(*frame);
  const ps_t whole_ps = now_ps + ps_t{frame->frame_bytes + kPreambleBytes} * in_byte_ps;
  if (ports_[egress].byte_time_ps >= in_byte_ps) {
    forward(egress, frame, now_ps, whole_ps);
    return;
  }
  // The egress is faster: it would run dry, so the frame is stored first.
  Ring<Stored>& lane = stored_[ingress];
  frame->time_ps = whole_ps;
  // One that its wire has held up may overlap others, which may be whole before it.
  const auto later = [whole_ps](const Stored& other) { return other.frame->time_ps > whole_ps; };
  if (lane.insert({frame, egress}, later)) slots_.set(stored_slot(ingress), whole_ps);
}

void SwitchEntity::forward(std::uint32_t egress, Frame* frame, ps_t now_ps, ps_t eligible_ps) {
  Egress& out = egress_[egress];
  const Port& port = ports_[egress];
  const bool idle = out.waiting_classes == 0 && port.busy_until_ps <= now_ps && out.control_due_ps > now_ps;
  if (idle && now_ps >= out.queues[frame->queue].storm_until_ps) {
    if (!out.gated || opens_ps(out, *frame) <= now_ps) {
      if ((frame->flags & kFlagTraced) != 0) trace_arrival(egress, *frame, now_ps);
      if (frame->telemetry != kNoTelemetry) note_occupancy(*frame, 0);
      let_go(*frame, now_ps);
      start(egress, frame, now_ps);
      return;
    }
  }
  enqueue(egress, frame, now_ps, eligible_ps);
}

void SwitchEntity::enqueue(std::uint32_t egress, Frame* frame, ps_t now_ps, ps_t eligible_ps) {
  Egress& out = egress_[egress];
  if ((frame->flags & kFlagTraced) != 0) trace_arrival(egress, *frame, now_ps);
  // What waits is whole before it leaves, so a damaged frame is found out; only cut-through passes it on.
  if ((frame->flags & kFlagCorrupt) != 0 || !keep(egress, frame, now_ps)) {
    discard(egress, frame, now_ps);
    return;
  }
  const std::uint32_t c = frame->queue;
  Queue& queue = out.queues[c];
  if (marker_.on() && config_.ecn_at_enqueue) mark(egress, c, queue.bytes, frame);
  if (frame->telemetry != kNoTelemetry) note_occupancy(*frame, queue.bytes);
  frame->time_ps = eligible_ps;
  queue.frames.push(frame);
  queue.bytes += frame->frame_bytes;
  queue.watermark = std::max(queue.watermark, queue.bytes);
  out.bytes += frame->frame_bytes;
  out.bytes_watermark = std::max(out.bytes_watermark, out.bytes);
  out.waiting_classes = static_cast<std::uint8_t>(out.waiting_classes | (1U << c));
  wake(egress, std::max(ports_[egress].busy_until_ps, eligible_ps));
  if (now_ps < group_.telemetry.until_ps()) sample(egress, c, now_ps);
}

void SwitchEntity::wake(std::uint32_t egress, ps_t at_ps) {
  const std::uint32_t slot = departure_slot(egress);
  slots_.set(slot, std::min(slots_.get(slot), at_ps));
}

// Whether the buffer takes the frame, cut if need be.
bool SwitchEntity::keep(std::uint32_t egress, Frame* frame, ps_t now_ps) {
  const std::uint32_t c = frame->queue;
  if (now_ps < egress_[egress].queues[c].storm_until_ps) {
    ++egress_[egress].counts[c].storm_discards;
    return false;
  }
  const Admission admission = buffer_.admit(frame->ingress, egress, c, cells(*frame));
  switch (admission) {
    case Admission::kAccepted:
      return true;
    case Admission::kStop:
      stop_neighbour(frame->ingress, c, now_ps);
      return true;
    case Admission::kNoHeadroom:
      if (config_.assert_lossless) lossless_drop(egress, *frame, now_ps);
      ++egress_[frame->ingress].counts[c].pg_discards;
      return false;
    default:
      if (config_.trim_bytes != 0 && trim(egress, frame, now_ps)) return true;
      if (admission == Admission::kGroupRefused) ++egress_[frame->ingress].counts[c].pg_discards;
      return false;
  }
}

// Cut a data frame to its headers and what else fits, and send it on in a better class.
bool SwitchEntity::trim(std::uint32_t egress, Frame* frame, ps_t now_ps) {
  const std::uint32_t header = frame->frame_bytes - frame->payload_bytes;
  const std::uint32_t kept = std::max(config_.trim_bytes, header);
  if (frame->opcode != Opcode::kData || frame->frame_bytes <= kept || !limits_of(frame->format).trimmed) return false;
  const Frame whole = *frame;
  frame->frame_bytes = kept;
  frame->payload_bytes = std::min(frame->payload_bytes, kept - header);
  frame->opcode = Opcode::kTrimmed;
  frame->queue = static_cast<std::uint8_t>(config_.trim_class);
  frame->dscp = static_cast<std::uint8_t>(config_.trim_class << 3);
  const Admission admitted = buffer_.admit(frame->ingress, egress, frame->queue, cells(*frame));
  if (admitted == Admission::kStop) stop_neighbour(frame->ingress, frame->queue, now_ps);
  if (admitted == Admission::kAccepted || admitted == Admission::kStop) {
    ++egress_[egress].counts[whole.queue].trimmed;
    let_go(whole, now_ps);
    frame->flags |= kFlagCredited;
    if ((frame->flags & kFlagTraced) != 0) {
      HopSample& stop = group_.telemetry.open(*frame);
      stop.paused_ps = egress_[egress].gate.stopped_ps(frame->queue, now_ps);
      stop.traffic_class = frame->queue;
    }
    group_.changed(frame);
    return true;
  }
  *frame = whole;
  return false;
}

void SwitchEntity::discard(std::uint32_t egress, Frame* frame, ps_t now_ps) {
  count_discard(egress_[egress], *frame);
  count_discard(egress_[egress].counts[frame->queue], *frame);
  if ((frame->flags & kFlagTraced) != 0) group_.telemetry.close(*frame, now_ps, HopOutcome::kDropped);
  let_go(*frame, now_ps);
  group_.drop_frame(frame);
}

// A frame that the buffer does not hold (any more) is gone: the neighbour may send another in its place.
void SwitchEntity::let_go(const Frame& frame, ps_t now_ps) {
  if (config_.credit_bytes == 0 || (frame.flags & kFlagCredited) != 0) return;
  give_credit(frame.ingress, frame.queue, cells(frame), now_ps);
}

void SwitchEntity::depart(std::uint32_t egress, ps_t now_ps) {
  const std::uint32_t slot = departure_slot(egress);
  Egress& out = egress_[egress];
  const Port& port = ports_[egress];
  if (port.busy_until_ps > now_ps) {  // a frame has cut through since
    slots_.set(slot, port.busy_until_ps);
    return;
  }
  if (out.control_due_ps <= now_ps && tell(egress, now_ps)) {
    const ps_t next_ps = out.waiting_classes == 0 ? out.control_due_ps : now_ps;
    slots_.set(slot, std::max(port.busy_until_ps, next_ps));
    return;
  }
  const Choice choice = choose(egress, now_ps);
  if (choice.traffic_class == kClasses) {
    slots_.set(slot, std::min(choice.soonest_ps, out.control_due_ps));
    return;
  }
  const std::uint32_t c = choice.traffic_class;
  Queue& queue = out.queues[c];
  Frame* frame = queue.frames.pop();
  if (marker_.on() && !config_.ecn_at_enqueue) mark(egress, c, queue.bytes, frame);
  buffer_.release(frame->ingress, egress, c, cells(*frame));
  queue.bytes -= frame->frame_bytes;
  out.bytes -= frame->frame_bytes;
  if (queue.frames.empty()) {
    out.waiting_classes = static_cast<std::uint8_t>(out.waiting_classes & ~(1U << c));
    out.queues[c].deficit_bytes = 0;
  }
  let_go(*frame, now_ps);
  start(egress, frame, now_ps);
  const ps_t next_ps = out.waiting_classes == 0 ? out.control_due_ps : now_ps;
  slots_.set(slot, std::min(kNever, std::max(port.busy_until_ps, next_ps)));
  if (buffer_.any_stopped()) resume_neighbours(now_ps);
  if (now_ps < group_.telemetry.until_ps()) sample(egress, c, now_ps);
}

void SwitchEntity::start(std::uint32_t egress, Frame* frame, ps_t now_ps) {
  if (config_.int_enabled && frame->telemetry != kNoTelemetry) push_telemetry(egress, frame, now_ps);
  Egress& out = egress_[egress];
  count_sent(out, *frame);
  count_sent(out.queues[frame->queue], *frame);
  frame->flags &= static_cast<std::uint8_t>(~kFlagCredited);
  if (out.gated) out.gate.sent(frame->queue, frame->frame_bytes);
  if (shaped_) account_shaper(out, frame->queue, frame->frame_bytes, now_ps);
  if ((frame->flags & kFlagTraced) != 0) {
    group_.telemetry.leaves(*frame, out.gate.stopped_ps(frame->queue, now_ps), now_ps);
  }
  transmit(egress, frame, now_ps);
}

Counters SwitchEntity::counters() const {
  Counters all{{"buffer_watermark_bytes", buffer_.shared_watermark() * config_.cell_bytes}};
  forwarding_.list(all);
  note(all, "buffer_used_bytes", buffer_.used_cells() * config_.cell_bytes);
  if (buffer_.keeps_groups()) {
    all["headroom_pool_watermark_bytes"] = buffer_.headroom_pool_watermark() * config_.cell_bytes;
  }
  const ps_t now_ps = group_.now_ps();
  for (std::uint32_t number = 0; number < port_count_; ++number) {
    const Port& port = ports_[number];
    if (port.wire == kNoWire) continue;
    const Egress& out = egress_[number];
    const std::string prefix = "port" + std::to_string(number) + ".";
    const Teller teller = flow_control_ ? tellers_[number] : Teller{};
    list_port(all, prefix, out, port, teller.pause_frames + teller.credit_frames);
    note(all, prefix + "pause_frames_tx", teller.pause_frames);
    note(all, prefix + "credit_frames_tx", teller.credit_frames);
    for (std::uint32_t c = 0; c < kClasses; ++c) {
      const ClassCounts& counts = out.counts[c];
      const std::string of = prefix + "c" + std::to_string(c) + ".";
      list_class(all, of, out.queues[c], counts, out.queues[c].bytes, out.queues[c].watermark);
      note(all, of + "trimmed", counts.trimmed);
      note(all, of + "watchdog_storms", counts.storms);
      note(all, of + "watchdog_discards", counts.storm_discards);
      note(all, of + "pfc_rx", out.gate.stops(c).frames);
      note(all, of + "pause_rx_ps", out.gate.stopped_ps(c, now_ps));
      if (!buffer_.keeps_groups()) continue;
      note(all, of + "pg_discards", counts.pg_discards);
      note(all, of + "pg_watermark_bytes", buffer_.group_watermark(number, c) * config_.cell_bytes);
      note(all, of + "headroom_watermark_bytes", buffer_.headroom_watermark(number, c) * config_.cell_bytes);
      if (!flow_control_) continue;
      note(all, of + "pfc_tx", teller.frames[c]);
      const bool open = (teller.stopped >> c & 1U) != 0;
      note(all, of + "pause_tx_ps", teller.told_ps[c] + (open ? now_ps - teller.since_ps[c] : 0));
    }
  }
  return all;
}

}  // namespace tb
