#include "group.hpp"

#include <algorithm>
#include <stdexcept>

#include "wire.hpp"

namespace tb {

namespace {

// A link that has damaged a frame so often is taken for broken, and the frame for lost.
constexpr std::uint32_t kMostReplays = 1000;

}  // namespace

Entity::Entity(Group& group, std::uint32_t id, std::string name, std::uint32_t ports, std::uint32_t more_slots)
    : group_(group), ports_(ports), lanes_(ports), name_(std::move(name)), id_(id) {
  slots_.resize(ports + 1 + more_slots);
}

void Impairment::start(std::uint64_t seed, std::uint32_t wire) {
  random = RandomStream(seed, wire, kPurposeWire);
  random_reorder = RandomStream(seed, wire, kPurposeReorder);
  random_duplicate = RandomStream(seed, wire, kPurposeDuplicate);
  const auto earlier = [](const auto& a, const auto& b) { return a.from_ps < b.from_ps; };
  std::stable_sort(faults.begin(), faults.end(), earlier);
  std::stable_sort(slow.begin(), slow.end(), earlier);
  std::stable_sort(dark.begin(), dark.end(), earlier);
}

Group::Group(const Plan& plan, const std::vector<std::uint32_t>& members)
    : by_id_(plan.nodes.size(), nullptr), place_(plan.nodes.size(), 0) {
  std::vector<std::uint32_t> ids = members;
  if (ids.empty()) {
    for (std::uint32_t id = 0; id < plan.nodes.size(); ++id) ids.push_back(id);
  }
  for (const std::uint32_t id : ids) {
    const PlanNode& node = plan.nodes.at(id);
    place_[id] = static_cast<std::uint32_t>(entities_.size());
    entities_.push_back(node.model->make({*this, id, node.name, node.ports, plan.seed}));
    by_id_[id] = entities_.back().get();
  }
  order_.resize(static_cast<std::uint32_t>(entities_.size()));
  connect(plan);
}

void Group::connect(const Plan& plan) {
  lookahead_ps_.assign(entities_.size(), kNever);
  for (std::uint32_t number = 0; number < plan.links.size(); ++number) {
    const PlanLink& link = plan.links[number];
    for (const bool forward : {true, false}) {
      Port direction = plan.port_of(link, forward);
      direction.wire = 2 * number + (forward ? 0U : 1U);
      direction.peer = by_id_[direction.peer_entity];
      if (direction.peer != nullptr) {
        ps_t& least = lookahead_ps_[place_[direction.peer_entity]];
        least = std::min(least, direction.lookahead_ps());
      }
      Entity* owner = by_id_[forward ? link.a : link.b];
      if (owner == nullptr) continue;
      Port& port = owner->port(forward ? link.a_port : link.b_port);
      if (port.wire != kNoWire) throw std::invalid_argument("two links on one port of " + owner->name());
      port = direction;
      impair(port, forward ? link.forward : link.backward, plan.seed);
    }
  }
}

void Group::impair(Port& port, const Impairment& impairment, std::uint64_t seed) {
  if (impairment.is_sound()) return;
  impairments_.push_back(std::make_unique<Impairment>(impairment));
  port.impairment = impairments_.back().get();
  port.impairment->start(seed, port.wire);
}

ps_t Group::damage(Port& port, Frame& frame, ps_t start_ps) {
  Impairment& wire = *port.impairment;
  for (std::uint32_t replays = 0; wire.damages(frame.frame_bytes, start_ps); ++replays) {
    if (!wire.llr || replays == kMostReplays) {
      frame.flags |= kFlagCorrupt;
      break;
    }
    // The receiver asks for it once it is whole; what was sent meanwhile is discarded and comes again behind it.
    ++wire.replays;
    const Impairment::Pace pace = wire.pace(port.byte_time_ps, start_ps);
    start_ps += Port::wire_time_ps(frame, pace.byte_time_ps) + 2 * port.latency_ps + pace.extra_latency_ps +
                wire.llr_latency_ps;
  }
  return start_ps;
}

// MAC control is only ever damaged: what it says about a class must come in order, and counts once.
void Group::send_impaired(Entity& from, std::uint32_t port_number, Frame* frame, ps_t start_ps) {
  Port& port = from.port(port_number);
  Impairment& wire = *port.impairment;
  if (wire.is_dark(start_ps)) {
    port.busy_until_ps = start_ps + Port::wire_time_ps(*frame, port.byte_time_ps);
    drop_frame(frame);
    return;
  }
  const bool control = frame->format == WireFormat::kMacControl;
  Frame* copy = !control && wire.duplicates() ? copy_of(*frame) : nullptr;  // before it is damaged, or given away
  for (Frame* one : {frame, copy}) {
    if (one == nullptr) break;
    start_ps = damage(port, *one, start_ps);
    const auto [byte_time_ps, extra_ps] = wire.pace(port.byte_time_ps, start_ps);
    const ps_t wire_time_ps = Port::wire_time_ps(*one, byte_time_ps);
    const ps_t first_bit_ps = wire.in_line_ps(start_ps + port.latency_ps + extra_ps, wire_time_ps);
    put_on_wire(from, port_number, one, byte_time_ps, start_ps, first_bit_ps + (control ? 0 : wire.holds_up_ps()));
    start_ps = port.busy_until_ps;
  }
}

Frame* Group::take_frame(std::span<const unsigned char> bytes) {
  Frame* frame = pool_.take();
  Trailer trailer;
  IntStack stack;
  if (decode(bytes, *frame, trailer, stack) != Decoded::kFrame) {
    pool_.give(frame);
    throw std::invalid_argument("bytes that are no frame of a card");
  }
  if (has_telemetry(bytes)) keep_stack(frame, stack);
  if (io_ != nullptr) io_->adopt(frame, bytes);
  return frame;
}

Frame* Group::copy_of(const Frame& frame) {
  Frame* copy = pool_.take();
  *copy = frame;
  if (frame.telemetry != kNoTelemetry) {
    const std::uint32_t place = telemetry.int_stacks.take();
    telemetry.int_stacks.at(place) = telemetry.int_stacks.at(telemetry_place(frame));
    copy->telemetry = place + telemetry_hops(frame) * kTelemetryHop;
  }
  if (frame.buffer != kNoBuffer) io_->duplicate(copy);
  return copy;
}

void Group::lead_out(std::uint32_t entity) {
  for (const auto& member : entities_) {
    for (std::uint32_t number = 0; number < member->ports().size(); ++number) {
      Port& port = member->port(number);
      if (port.wire != kNoWire && port.peer_entity == entity) port.peer = nullptr;
    }
  }
}

void Group::start() {
  for (const auto& entity : entities_) {
    entity->start();
    refresh(*entity);
  }
}

void Group::run(ps_t limit_ps) {
  limit_ps_ = std::min(limit_ps, kNever);
  while (order_.min() < limit_ps_ && sources_done_ < stop_sources_) {
    const std::uint32_t place = order_.argmin();
    now_ps_ = order_.min();
    current_lookahead_ps_ = lookahead_ps_[place];
    horizon_ = std::min(limit_ps_, order_.min_except(place) + current_lookahead_ps_);
    entities_[place]->run();
    order_.set(place, entities_[place]->next_event_ps());
  }
}

}  // namespace tb
