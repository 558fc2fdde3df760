#include "voq_model.hpp"

#include <algorithm>
#include <bit>
#include <string>

namespace tb {

VoqSwitchModel::VoqSwitchModel(VoqSwitchConfig given) : config(std::move(given)) {
  check_forwarding(config);
  require(config.buffer_bytes > 0 && config.voq_limit_bytes > 0, "the buffer and each queue hold at least one byte");
  require(config.credit_bytes > 0, "a credit is at least one byte");
  require(config.egress_buffer_bytes >= config.credit_bytes, "the egress buffer holds at least one credit");
  require(config.credit_speedup_permille > 0, "credits come at some rate");
}

std::unique_ptr<Entity> VoqSwitchModel::make(const NodeContext& context) const {
  return std::make_unique<VoqSwitchEntity>(context, config);
}

VoqSwitchEntity::VoqSwitchEntity(const NodeContext& context, const VoqSwitchConfig& config)
    : ModelEntity(context.group, context.id, context.name, context.ports, 4 * context.ports),
      config_(config),
      port_count_(context.ports),
      forwarding_(config, context),
      marker_(config.ecn, context),
      voqs_(std::size_t{context.ports} * context.ports * kClasses),
      egress_(context.ports) {}

void VoqSwitchEntity::start() {
  forwarding_.check_ports(ports_, name());
  for (std::uint32_t port = 0; port < port_count_; ++port) {
    egress_[port].gate.set_credits(ports_[port].peer_credits, ports_[port].peer_cell_bytes);
  }
  await_change();
}

void VoqSwitchEntity::update(TableUpdate update) {
  forwarding_.add(std::move(update), ports_, name());
  await_change();
}

void VoqSwitchEntity::send_out(PacketOut out) {
  forwarding_.add(std::move(out), ports_, name());
  await_change();
}

// It waits in the queues from the port to itself, which nothing else uses.
void VoqSwitchEntity::send_packet_outs(ps_t now_ps) {
  std::uint32_t egress = 0;
  while (Frame* frame = forwarding_.take_packet_out(now_ps, egress)) {
    frame->ingress = static_cast<std::uint16_t>(egress);
    if ((frame->flags & kFlagTraced) != 0) trace_arrival(egress, *frame, now_ps);
    enqueue(egress, frame, now_ps);
  }
}

// Most switches have no change, and no slot for it.
void VoqSwitchEntity::await_change() {
  const ps_t next_ps = forwarding_.next_change_ps();
  if (next_ps == kNever) return;
  slots_.reserve(change_slot() + 1);
  slots_.set(change_slot(), next_ps);
}

void VoqSwitchEntity::lose_all(Ring<Frame*>& frames, ps_t now_ps) {
  while (!frames.empty()) forwarding_.lose(frames.pop(), now_ps);
}

// What it holds is lost, and what it has been told of pauses; a frame on its way out goes on.
void VoqSwitchEntity::restart(ps_t now_ps) {
  for (Voq& voq : voqs_) {
    lose_all(voq.frames, now_ps);
    voq.bytes = voq.asked_bytes = 0;
    voq.balance_bytes = 0;
  }
  used_bytes_ = 0;
  for (std::uint32_t port = 0; port < port_count_; ++port) {
    Egress& out = egress_[port];
    lose_all(out.fabric, now_ps);
    out.credits.clear();
    out.asking_classes = out.ready_classes = 0;
    out.taken_bytes = out.bytes = 0;
    out.next_credit_ps = 0;
    const std::uint32_t opened = out.gate.open(now_ps);
    for (std::uint32_t c = 0; c < kClasses; ++c) {
      lose_all(out.classes[c].ready, now_ps);
      out.classes[c].asking.clear();
      out.classes[c].bytes = 0;
      if (out.classes[c].watermark != 0 && now_ps < group_.telemetry.until_ps()) sample(port, c, now_ps);
      if ((opened >> c & 1U) == 0) continue;
      group_.telemetry.add_pause(now_ps, id(), port, c, SampleKind::kPauseReceived, false);
    }
    for (const std::uint32_t slot :
         {credit_slot(port), fabric_slot(port), scheduler_slot(port), departure_slot(port)}) {
      slots_.set(slot, kNever);
    }
  }
}

void VoqSwitchEntity::handle(std::uint32_t slot, ps_t now_ps) {
  if (slot < port_count_) return arrive(slot, take_arrival(slot), now_ps);
  if (slot == control_slot()) {
    const Control control = take_control();
    return control_arrives(control.port, control.frame, now_ps);
  }
  const std::uint32_t own = slot - credit_slot(0);
  const std::uint32_t egress = own % port_count_;
  switch (own / port_count_) {
    case 0:
      return credit_arrives(egress, now_ps);
    case 1:
      return out_of_fabric(egress, now_ps);
    case 2:
      return hand_out_credit(egress, now_ps);
    case 3:
      return depart(egress, now_ps);
    default:
      if (forwarding_.change(now_ps)) restart(now_ps);
      send_packet_outs(now_ps);
      slots_.set(slot, forwarding_.next_change_ps());
  }
}

std::uint32_t VoqSwitchEntity::choose_port(std::uint32_t ingress, const Frame& frame, ps_t now_ps) {
  return forwarding_.choose(ingress, frame, now_ps, [this, now_ps](std::uint32_t number) {
    const Port& port = ports_[number];
    const ps_t busy_ps = port.busy_until_ps > now_ps ? port.busy_until_ps - now_ps : 0;
    return egress_[number].bytes + egress_[number].taken_bytes + busy_ps / port.byte_time_ps;
  });
}

// ------------------------------------------------------------------------------------------------------ ingress

void VoqSwitchEntity::arrive(std::uint32_t ingress, Frame* frame, ps_t now_ps) {
  Egress& from = egress_[ingress];
  ++from.in_frames;
  from.in_bytes += frame->frame_bytes;
  frame->ingress = static_cast<std::uint16_t>(ingress);
  frame->queue = static_cast<std::uint8_t>(forwarding_.classify(*frame));
  const bool corrupt = (frame->flags & kFlagCorrupt) != 0;
  from.fcs_errors += corrupt ? 1 : 0;
  std::uint32_t egress = forwarding_.find(ingress, *frame);
  if (egress >= Forwarding::kRefused) {
    return forwarding_.refuse(static_cast<std::uint16_t>(egress), *this, ingress, frame, now_ps);
  }
  if (corrupt) return group_.drop_frame(frame);
  if (egress == Forwarding::kSeveralPorts) egress = choose_port(ingress, *frame, now_ps);
  if (egress == ingress) return forwarding_.refuse_return(frame);
  if ((frame->flags & kFlagTraced) != 0) trace_arrival(egress, *frame, now_ps);
  enqueue(egress, frame, now_ps);
}

void VoqSwitchEntity::enqueue(std::uint32_t egress, Frame* frame, ps_t now_ps) {
  Egress& out = egress_[egress];
  const std::uint32_t c = frame->queue;
  ClassQueue& of_class = out.classes[c];
  const std::uint32_t number = voq_of(egress, c, frame->ingress);
  Voq& voq = voqs_[number];
  const std::uint64_t bytes = frame->frame_bytes;
  if (voq.bytes + bytes > config_.voq_limit_bytes || used_bytes_ + bytes > config_.buffer_bytes) {
    count_discard(out, *frame);
    count_discard(of_class, *frame);
    if ((frame->flags & kFlagTraced) != 0) group_.telemetry.close(*frame, now_ps, HopOutcome::kDropped);
    group_.drop_frame(frame);
    return;
  }
  if (config_.ecn_at_enqueue) mark(egress, voq, frame);
  // Nothing leaves sooner, so this is when it is ready for the port; what it takes beyond is waiting.
  if ((frame->flags & kFlagTraced) != 0) group_.telemetry.open(*frame).arrived_ps = now_ps + least_ps();
  voq.frames.push(frame);
  voq.bytes += bytes;
  of_class.bytes += bytes;
  of_class.watermark = std::max(of_class.watermark, of_class.bytes);
  out.bytes += bytes;
  out.bytes_watermark = std::max(out.bytes_watermark, out.bytes);
  used_bytes_ += bytes;
  used_watermark_ = std::max(used_watermark_, used_bytes_);
  if (voq.asked_bytes == 0) {
    of_class.asking.push(number);
    out.asking_classes |= 1U << c;
    wake_scheduler(egress, now_ps);
  }
  voq.asked_bytes += bytes;
  if (now_ps < group_.telemetry.until_ps()) sample(egress, c, now_ps);
}

// ------------------------------------------------------------------------------------------------------ credits

// A class that its port may not send gets no credit: it would fill the egress buffer before the others.
void VoqSwitchEntity::hand_out_credit(std::uint32_t egress, ps_t now_ps) {
  Egress& out = egress_[egress];
  const std::uint32_t slot = scheduler_slot(egress);
  ps_t soonest_ps = kNever;
  std::uint32_t c = kClasses;
  for (std::uint32_t asking = out.asking_classes; asking != 0 && c == kClasses;) {
    const auto highest = static_cast<std::uint32_t>(std::bit_width(asking)) - 1U;
    asking &= ~(1U << highest);
    const ps_t opens_ps = out.gate.free() ? 0 : out.gate.opens_ps(highest, kMinFrameBytes);
    if (opens_ps <= now_ps) c = highest;
    soonest_ps = std::min(soonest_ps, opens_ps);
  }
  if (c == kClasses) {
    slots_.set(slot, soonest_ps);
    return;
  }
  Ring<std::uint32_t>& asking = out.classes[c].asking;
  Voq& voq = voqs_[asking.front()];
  const auto bytes = static_cast<std::uint32_t>(std::min<std::uint64_t>(config_.credit_bytes, voq.asked_bytes));
  if (out.taken_bytes + bytes > config_.egress_buffer_bytes) {
    slots_.set(slot, kNever);  // the next departure makes room
    return;
  }
  const std::uint32_t number = asking.pop();
  voq.asked_bytes -= bytes;
  if (voq.asked_bytes != 0) asking.push(number);
  if (asking.empty()) out.asking_classes &= ~(1U << c);
  out.taken_bytes += bytes;
  out.taken_watermark = std::max(out.taken_watermark, out.taken_bytes);
  if (out.credits.empty()) slots_.set(credit_slot(egress), now_ps + config_.credit_latency_ps);
  out.credits.push({now_ps + config_.credit_latency_ps, number, bytes});
  out.next_credit_ps = now_ps + ps_t{bytes} * ports_[egress].byte_time_ps * 1000 / config_.credit_speedup_permille;
  slots_.set(slot, out.asking_classes != 0 ? out.next_credit_ps : kNever);
}

void VoqSwitchEntity::credit_arrives(std::uint32_t egress, ps_t now_ps) {
  Egress& out = egress_[egress];
  const Credit credit = out.credits.pop();
  slots_.set(credit_slot(egress), out.credits.empty() ? kNever : out.credits.front().time_ps);
  Voq& voq = voqs_[credit.voq];
  out.taken_bytes -= credit.bytes;  // frames take its place, now or when they overdrew
  voq.balance_bytes += credit.bytes;
  if (out.asking_classes != 0) wake_scheduler(egress, now_ps);  // what pays for an overdraft leaves room behind
  if (voq.balance_bytes <= 0) return;
  while (voq.balance_bytes > 0) into_fabric(egress, voq, now_ps);  // its bytes are never less than its balance
  const std::uint32_t c = credit.voq / port_count_ % kClasses;
  if (now_ps < group_.telemetry.until_ps()) sample(egress, c, now_ps);
}

void VoqSwitchEntity::into_fabric(std::uint32_t egress, Voq& voq, ps_t now_ps) {
  Egress& out = egress_[egress];
  Frame* frame = voq.frames.pop();
  const std::uint64_t bytes = frame->frame_bytes;
  if (!config_.ecn_at_enqueue) mark(egress, voq, frame);
  voq.bytes -= bytes;
  voq.balance_bytes -= static_cast<std::int64_t>(bytes);
  out.classes[frame->queue].bytes -= bytes;
  out.bytes -= bytes;
  used_bytes_ -= bytes;
  out.taken_bytes += bytes;
  out.taken_watermark = std::max(out.taken_watermark, out.taken_bytes);
  frame->time_ps = now_ps + config_.fabric_latency_ps;
  if (out.fabric.empty()) slots_.set(fabric_slot(egress), frame->time_ps);
  out.fabric.push(frame);
}

void VoqSwitchEntity::mark(std::uint32_t egress, const Voq& voq, Frame* frame) {
  if (!marker_.on() || !marker_.mark(group_, egress, frame->queue, voq.bytes, frame)) return;
  ++egress_[egress].classes[frame->queue].marked;
}

// ------------------------------------------------------------------------------------------------------- egress

void VoqSwitchEntity::out_of_fabric(std::uint32_t egress, ps_t now_ps) {
  Egress& out = egress_[egress];
  Frame* frame = out.fabric.pop();
  slots_.set(fabric_slot(egress), out.fabric.empty() ? kNever : out.fabric.front()->time_ps);
  out.classes[frame->queue].ready.push(frame);
  out.ready_classes |= 1U << frame->queue;
  wake(departure_slot(egress), std::max(now_ps, ports_[egress].busy_until_ps));
}

void VoqSwitchEntity::depart(std::uint32_t egress, ps_t now_ps) {
  Egress& out = egress_[egress];
  const std::uint32_t slot = departure_slot(egress);
  ps_t soonest_ps = kNever;
  for (std::uint32_t ready = out.ready_classes; ready != 0;) {
    const auto c = static_cast<std::uint32_t>(std::bit_width(ready)) - 1U;
    ready &= ~(1U << c);
    Ring<Frame*>& queue = out.classes[c].ready;
    const ps_t opens_ps = out.gate.free() ? 0 : out.gate.opens_ps(c, queue.front()->frame_bytes);
    if (opens_ps > now_ps) {
      soonest_ps = std::min(soonest_ps, opens_ps);
      continue;
    }
    Frame* frame = queue.pop();
    if (queue.empty()) out.ready_classes &= ~(1U << c);
    out.taken_bytes -= frame->frame_bytes;
    start(egress, frame, now_ps);
    slots_.set(slot, out.ready_classes != 0 ? ports_[egress].busy_until_ps : kNever);
    if (out.asking_classes != 0) wake_scheduler(egress, now_ps);
    return;
  }
  slots_.set(slot, soonest_ps);
}

void VoqSwitchEntity::start(std::uint32_t egress, Frame* frame, ps_t now_ps) {
  Egress& out = egress_[egress];
  count_sent(out, *frame);
  count_sent(out.classes[frame->queue], *frame);
  out.gate.sent(frame->queue, frame->frame_bytes);
  if ((frame->flags & kFlagTraced) != 0) {
    group_.telemetry.leaves(*frame, out.gate.stopped_ps(frame->queue, now_ps), now_ps);
  }
  transmit(egress, frame, now_ps);
}

void VoqSwitchEntity::control_arrives(std::uint32_t port, Frame* frame, ps_t now_ps) {
  Egress& out = egress_[port];
  if (!count_control(out, *frame) || forwarding_.restarting()) return group_.drop_frame(frame);
  const bool pause = frame->opcode == Opcode::kPause;
  const std::uint32_t changed = out.gate.receive(*frame, now_ps);
  for (std::uint32_t c = 0; c < kClasses && pause; ++c) {
    if ((changed >> c & 1U) == 0) continue;
    group_.telemetry.add_pause(now_ps, id(), port, c, SampleKind::kPauseReceived, out.gate.stopped(c, now_ps));
  }
  if (out.ready_classes != 0) wake(departure_slot(port), std::max(now_ps, ports_[port].busy_until_ps));
  if (out.asking_classes != 0) wake_scheduler(port, now_ps);
  group_.drop_frame(frame);
}

// ---------------------------------------------------------------------------------------------- what others see

void VoqSwitchEntity::sample(std::uint32_t egress, std::uint32_t c, ps_t now_ps) {
  const Egress& out = egress_[egress];
  group_.telemetry.add_depths(now_ps, id(), egress, c, out.classes[c].bytes, out.bytes, used_bytes_);
}

void VoqSwitchEntity::trace_arrival(std::uint32_t egress, const Frame& frame, ps_t now_ps) {
  Egress& out = egress_[egress];
  const ps_t stopped_ps = out.gate.stopped_ps(frame.queue, now_ps);
  Ahead ahead(group_.telemetry.ready(frame, id(), egress, frame.queue, stopped_ps, now_ps));
  const auto add_all = [&ahead, &frame](Ring<Frame*>& frames) {
    for (std::size_t i = 0; i < frames.size(); ++i) {
      if (frames.at(i)->queue >= frame.queue) ahead.add(*frames.at(i));
    }
  };
  add_all(out.fabric);
  for (std::uint32_t c = frame.queue; c < kClasses; ++c) {
    add_all(out.classes[c].ready);
    for (std::uint32_t ingress = 0; ingress < port_count_; ++ingress) add_all(voqs_[voq_of(egress, c, ingress)].frames);
  }
}

Counters VoqSwitchEntity::counters() const {
  Counters all{{"buffer_watermark_bytes", used_watermark_}};
  forwarding_.list(all);
  note(all, "buffer_used_bytes", used_bytes_);
  const ps_t now_ps = group_.now_ps();
  for (std::uint32_t number = 0; number < port_count_; ++number) {
    if (ports_[number].wire == kNoWire) continue;
    const Egress& out = egress_[number];
    const std::string prefix = "port" + std::to_string(number) + ".";
    list_port(all, prefix, out, ports_[number], 0);
    note(all, prefix + "egress_buffer_watermark_bytes", out.taken_watermark);
    for (std::uint32_t c = 0; c < kClasses; ++c) {
      const std::string of = prefix + "c" + std::to_string(c) + ".";
      list_class(all, of, out.classes[c], out.classes[c], out.classes[c].bytes, out.classes[c].watermark);
      note(all, of + "pfc_rx", out.gate.stops(c).frames);
      note(all, of + "pause_rx_ps", out.gate.stopped_ps(c, now_ps));
    }
  }
  return all;
}

}  // namespace tb
