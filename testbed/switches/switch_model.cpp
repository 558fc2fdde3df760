#include "switch_model.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>

namespace tb {

SwitchModel::SwitchModel(SwitchConfig given) : config(std::move(given)) {
  if (config.cell_bytes == 0) throw std::invalid_argument("a buffer cell holds at least one byte");
  if (config.buffer_bytes < config.cell_bytes) throw std::invalid_argument("the buffer holds at least one cell");
  if (config.alpha_log2 < -16 || config.alpha_log2 > 16) throw std::invalid_argument("alpha_log2 is in -16 .. 16");
  for (const std::uint32_t group : config.route) {
    if (group != kNoRoute && group >= config.groups.size()) throw std::invalid_argument("a route names no group");
  }
  for (const auto& group : config.groups) {
    if (group.empty()) throw std::invalid_argument("a group has at least one port");
  }
}

std::unique_ptr<Entity> SwitchModel::make(const NodeContext& context) const {
  return std::make_unique<SwitchEntity>(context, config);
}

SwitchEntity::SwitchEntity(const NodeContext& context, const SwitchConfig& config)
    : ModelEntity(context.group, context.id, context.name, context.ports, 2 * context.ports),
      config_(config),
      port_count_(context.ports),
      egress_(context.ports),
      stored_(context.ports),
      reserved_cells_(config.reserved_bytes / config.cell_bytes),
      shared_cells_(config.buffer_bytes / config.cell_bytes) {}

void SwitchEntity::start() {
  for (const auto& group : config_.groups) {
    for (const std::uint32_t number : group) {
      if (number < port_count_ && ports_[number].wire != kNoWire) continue;
      throw std::invalid_argument("a group of " + name() + " names port " + std::to_string(number) +
                                  ", which has no link");
    }
  }
}

void SwitchEntity::handle(std::uint32_t slot, ps_t now_ps) {
  const std::uint32_t number = slot % port_count_;
  if (slot < port_count_) {
    arrive(number, take_arrival(number), now_ps);
  } else if (slot < 2 * port_count_) {
    Ring<Frame*>& lane = stored_[number];
    Frame* frame = lane.pop();
    slots_.set(slot, lane.empty() ? kNever : lane.front()->time_ps);
    forward(choose_port(*frame), frame, now_ps, now_ps);
  } else {
    depart(number, now_ps);
  }
}

std::uint32_t SwitchEntity::choose_port(const Frame& frame) const {
  const auto& group = config_.groups[config_.route[frame.dst]];
  if (group.size() == 1) return group[0];
  const std::uint64_t flow = (std::uint64_t{frame.src} << 48) | (std::uint64_t{frame.dst} << 32) |
                             (std::uint64_t{frame.entropy} << 16) | static_cast<std::uint64_t>(frame.format);
  return group[bounded(mix64(flow ^ config_.hash_seed), static_cast<std::uint32_t>(group.size()))];
}

void SwitchEntity::arrive(std::uint32_t ingress, Frame* frame, ps_t now_ps) {
  Egress& from = egress_[ingress];
  ++from.in_frames;
  from.in_bytes += frame->frame_bytes;
  if (frame->dst >= config_.route.size() || config_.route[frame->dst] == kNoRoute) {
    ++no_route_;
    group_.drop_frame(frame);
    return;
  }
  const std::uint32_t egress = choose_port(*frame);
  if (egress == ingress) {  // rules never send a frame back, and the clock relies on it (`turnaround_ps`)
    ++no_route_;
    group_.drop_frame(frame);
    return;
  }
  if (!config_.cut_through) {
    forward(egress, frame, now_ps, now_ps);
    return;
  }
  const ps_t in_byte_ps = ports_[ingress].byte_time_ps;
  const ps_t whole_ps = now_ps + ps_t{frame->frame_bytes + kPreambleBytes} * in_byte_ps;
  if (ports_[egress].byte_time_ps >= in_byte_ps) {
    forward(egress, frame, now_ps, whole_ps);
    return;
  }
  // The egress is faster: it would run dry, so the frame is stored first.
  Ring<Frame*>& lane = stored_[ingress];
  frame->time_ps = whole_ps;
  if (lane.empty()) slots_.set(port_count_ + ingress, whole_ps);
  lane.push(frame);
}

void SwitchEntity::forward(std::uint32_t egress, Frame* frame, ps_t now_ps, ps_t eligible_ps) {
  Egress& out = egress_[egress];
  const Port& port = ports_[egress];
  if (out.waiting_classes == 0 && port.busy_until_ps <= now_ps) {
    start(egress, frame, now_ps);
    return;
  }
  const std::uint32_t traffic_class = frame->traffic_class % kClasses;
  Queue& queue = out.queues[traffic_class];
  if (!admit(queue, *frame)) {
    ++out.discards;
    out.discard_bytes += frame->frame_bytes;
    group_.drop_frame(frame);
    return;
  }
  frame->time_ps = eligible_ps;
  queue.frames.push(frame);
  out.bytes += frame->frame_bytes;
  out.bytes_watermark = std::max(out.bytes_watermark, out.bytes);
  out.waiting_classes |= 1U << traffic_class;
  const std::uint32_t slot = 2 * port_count_ + egress;
  slots_.set(slot, std::min(slots_.get(slot), std::max(port.busy_until_ps, eligible_ps)));
  trace(egress, now_ps);
}

void SwitchEntity::depart(std::uint32_t egress, ps_t now_ps) {
  Egress& out = egress_[egress];
  // Strict priority: the highest class whose head is eligible; if none is, the earliest of them.
  Queue* chosen = nullptr;
  ps_t soonest = kNever;
  for (std::uint32_t waiting = out.waiting_classes; waiting != 0;) {
    const auto traffic_class = static_cast<std::uint32_t>(std::bit_width(waiting)) - 1U;
    waiting &= ~(1U << traffic_class);
    Queue& queue = out.queues[traffic_class];
    soonest = std::min(soonest, queue.frames.front()->time_ps);
    if (queue.frames.front()->time_ps <= now_ps) {
      chosen = &queue;
      break;
    }
  }
  if (chosen == nullptr) {
    slots_.set(2 * port_count_ + egress, soonest);
    return;
  }
  Frame* frame = chosen->frames.pop();
  release(*chosen, *frame);
  out.bytes -= frame->frame_bytes;
  if (chosen->frames.empty()) out.waiting_classes &= ~(1U << (frame->traffic_class % kClasses));
  start(egress, frame, now_ps);
  slots_.set(2 * port_count_ + egress, out.waiting_classes == 0 ? kNever : ports_[egress].busy_until_ps);
  trace(egress, now_ps);
}

void SwitchEntity::start(std::uint32_t egress, Frame* frame, ps_t now_ps) {
  ++egress_[egress].out_frames;
  egress_[egress].out_bytes += frame->frame_bytes;
  transmit(egress, frame, now_ps);
}

bool SwitchEntity::admit(Queue& queue, const Frame& frame) {
  const std::uint64_t after = queue.cells + cells(frame);
  const std::uint64_t shared_after = shared_part(after);
  const std::uint64_t shared_more = shared_after - shared_part(queue.cells);
  const std::uint64_t free = shared_cells_ - shared_used_;
  if (shared_more > 0) {
    const std::uint64_t threshold = config_.alpha_log2 >= 0 ? free << config_.alpha_log2 : free >> -config_.alpha_log2;
    if (shared_more > free || shared_after > threshold) return false;
  }
  queue.cells = after;
  shared_used_ += shared_more;
  shared_watermark_ = std::max(shared_watermark_, shared_used_);
  return true;
}

void SwitchEntity::release(Queue& queue, const Frame& frame) {
  const std::uint64_t after = queue.cells - cells(frame);
  shared_used_ -= shared_part(queue.cells) - shared_part(after);
  queue.cells = after;
}

void SwitchEntity::trace(std::uint32_t egress, ps_t now_ps) {
  if (now_ps < group_.trace_until_ps()) group_.trace_queue({now_ps, id(), egress, egress_[egress].bytes});
}

Counters SwitchEntity::counters() const {
  Counters all{{"buffer_watermark_bytes", shared_watermark_ * config_.cell_bytes}, {"no_route_discards", no_route_}};
  for (std::uint32_t number = 0; number < port_count_; ++number) {
    if (ports_[number].wire == kNoWire) continue;
    const Egress& out = egress_[number];
    const std::string prefix = "port" + std::to_string(number) + ".";
    all[prefix + "in_frames"] = out.in_frames;
    all[prefix + "in_octets"] = out.in_bytes;
    all[prefix + "out_frames"] = out.out_frames;
    all[prefix + "out_octets"] = out.out_bytes;
    all[prefix + "out_discards"] = out.discards;
    all[prefix + "out_discard_octets"] = out.discard_bytes;
    all[prefix + "queue_watermark_bytes"] = out.bytes_watermark;
  }
  return all;
}

}  // namespace tb
