// Stopping and being stopped: PFC, credits, watchdog, losslessness and deadlocks of `SwitchEntity`.
#include <algorithm>
#include <string>

#include "switch_model.hpp"

namespace tb {

namespace {

// A credit frame goes out once this part of a class's credits has come free, or all that the neighbour may lack.
constexpr std::uint32_t kCreditParts = 8;
// It counts all that has ever come free, and is repeated in case it was lost: after so long, then after twice that, ...
constexpr ps_t kCreditRepeatPs = 10'000'000;
// A group that has not released a cell for so long, though its pause was repeated, stands still for good.
constexpr ps_t kStuckPs = 10'000'000'000;

std::string port_and_class(std::uint32_t port, std::uint32_t c) {
  return "port " + std::to_string(port) + " class " + std::to_string(c);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------- being told

void SwitchEntity::control_arrives(std::uint32_t port, Frame* frame, ps_t now_ps) {
  Egress& out = egress_[port];
  if (!count_control(out, *frame) || forwarding_.restarting()) return group_.drop_frame(frame);
  const bool pause = frame->opcode == Opcode::kPause;
  const std::uint32_t changed = out.gate.receive(*frame, now_ps);
  gate_changed(out);
  for (std::uint32_t c = 0; c < kClasses; ++c) {
    if ((changed >> c & 1U) != 0 && pause) {
      group_.telemetry.add_pause(now_ps, id(), port, c, SampleKind::kPauseReceived, out.gate.stopped(c, now_ps));
    }
    if (pause && config_.watchdog_detection_ps != 0 && (frame->credit >> c & 1U) != 0) watch(port, c, now_ps);
  }
  if (out.waiting_classes != 0) wake(port, std::max(ports_[port].busy_until_ps, now_ps));
  group_.drop_frame(frame);
}

// PFC watchdog, as in SONiC: a queue that has been stopped for the detection time is emptied, and what comes for it is
// dropped until it has been free for the restoration time. Looked at with each pause frame.
void SwitchEntity::watch(std::uint32_t port, std::uint32_t c, ps_t now_ps) {
  Egress& out = egress_[port];
  Queue& queue = out.queues[c];
  const bool storm_before = now_ps < out.queues[c].storm_until_ps;
  if (!out.gate.stopped(c, now_ps)) {
    out.queues[c].storm_until_ps = std::min(out.queues[c].storm_until_ps, now_ps + config_.watchdog_restoration_ps);
    return;
  }
  const bool long_enough = now_ps - out.gate.since_ps(c) >= config_.watchdog_detection_ps;
  if (!storm_before && (!long_enough || queue.frames.empty())) return;
  out.queues[c].storm_until_ps = out.gate.until_ps(c) + config_.watchdog_restoration_ps;
  if (!storm_before) ++egress_[port].counts[c].storms;
  while (!queue.frames.empty()) {
    Frame* frame = queue.frames.pop();
    buffer_.release(frame->ingress, port, c, cells(*frame));
    queue.bytes -= frame->frame_bytes;
    out.bytes -= frame->frame_bytes;
    ++egress_[port].counts[c].storm_discards;
    discard(port, frame, now_ps);
  }
  out.waiting_classes = static_cast<std::uint8_t>(out.waiting_classes & ~(1U << c));
  out.queues[c].deficit_bytes = 0;
  if (buffer_.any_stopped()) resume_neighbours(now_ps);
}

// ---------------------------------------------------------------------------------------------------- telling

void SwitchEntity::stop_neighbour(std::uint32_t port, std::uint32_t c, ps_t now_ps) {
  Teller& teller = tellers_[port];
  teller.stopped |= 1U << c;
  teller.changed ^= 1U << c;
  teller.since_ps[c] = now_ps;
  teller.stuck[c] = 0;
  teller.released[c] = buffer_.released(port, c) + 1;  // not stuck before the first repetition
  teller.pause_due_ps = std::min(teller.pause_due_ps, now_ps + config_.pfc_generation_ps);
  wake(port, std::max(ports_[port].busy_until_ps, due(port)));
  group_.telemetry.add_pause(now_ps, id(), port, c, SampleKind::kPauseSent, true);
}

void SwitchEntity::resume_neighbours(ps_t now_ps) {
  for (std::uint32_t place = buffer_.next_resumed(); place != SharedBuffer::kNone; place = buffer_.next_resumed()) {
    const std::uint32_t port = place / kClasses, c = place % kClasses;
    Teller& teller = tellers_[port];
    teller.stopped &= ~(1U << c);
    teller.changed ^= 1U << c;
    teller.told_ps[c] += now_ps - teller.since_ps[c];
    teller.pause_due_ps = std::min(teller.pause_due_ps, now_ps + config_.pfc_generation_ps);
    wake(port, std::max(ports_[port].busy_until_ps, due(port)));
    group_.telemetry.add_pause(now_ps, id(), port, c, SampleKind::kPauseSent, false);
  }
}

// The buffer is empty, so every group may resume; nobody is told.
void SwitchEntity::forget_flow_control(ps_t now_ps) {
  if (buffer_.any_stopped()) resume_neighbours(now_ps);
  for (std::uint32_t port = 0; port < port_count_; ++port) {
    Egress& out = egress_[port];
    const std::uint32_t opened = out.gate.open(now_ps);
    for (std::uint32_t c = 0; c < kClasses; ++c) {
      if ((opened >> c & 1U) == 0) continue;
      group_.telemetry.add_pause(now_ps, id(), port, c, SampleKind::kPauseReceived, false);
    }
    gate_changed(out);
    if (!flow_control_) continue;
    tellers_[port].changed = 0;
    tellers_[port].pause_due_ps = kNever;
    due(port);
    slots_.set(departure_slot(port), kNever);
  }
}

void SwitchEntity::give_credit(std::uint32_t port, std::uint32_t c, std::uint64_t cells, ps_t now_ps) {
  if (!ports_[port].grants_credits) return;
  Teller& teller = tellers_[port];
  teller.freed_cells[c] = static_cast<std::uint16_t>(teller.freed_cells[c] + cells);
  const auto untold = static_cast<std::uint16_t>(teller.freed_cells[c] - teller.told_cells[c]);
  if (untold * std::uint64_t{kCreditParts} < config_.credit_bytes / config_.cell_bytes) return;
  teller.freed |= 1U << c;
  teller.repeat_ps = kCreditRepeatPs;
  const ps_t ready_ps = now_ps + config_.pfc_generation_ps;
  if (teller.credit_due_ps <= ready_ps) return;
  teller.credit_due_ps = ready_ps;
  wake(port, std::max(ports_[port].busy_until_ps, due(port)));
}

// Send the control frame that is due; false if none is.
bool SwitchEntity::tell(std::uint32_t port, ps_t now_ps) {
  Teller& teller = tellers_[port];
  if (teller.pause_due_ps <= now_ps) {
    if ((teller.stopped | teller.changed) != 0) {
      tell_pause(port, now_ps);
      return true;
    }
    teller.pause_due_ps = kNever;  // it was taken back before it could be told
    due(port);
  }
  if (teller.credit_due_ps > now_ps) return false;
  tell_credit(port, now_ps);
  return true;
}

void SwitchEntity::tell_pause(std::uint32_t port, ps_t now_ps) {
  Teller& teller = tellers_[port];
  const std::uint32_t repeated = teller.stopped & ~teller.changed;
  Frame* frame = group_.take_frame();
  make_control(*frame, Opcode::kPause, teller.stopped | teller.changed);
  for (std::uint32_t c = 0; c < kClasses; ++c) {
    if ((frame->credit >> c & 1U) == 0) continue;
    ++teller.frames[c];
    if ((teller.stopped >> c & 1U) != 0) set_control_word(*frame, c, config_.pause_quanta);
    if ((repeated >> c & 1U) != 0) suspect(port, c, now_ps);
  }
  const ps_t quantum_ps = ps_t{kQuantumBytes} * ports_[port].byte_time_ps;
  teller.changed = 0;
  teller.pause_due_ps = teller.stopped == 0 ? kNever : now_ps + config_.pause_quanta / 2 * quantum_ps;
  due(port);
  ++teller.pause_frames;
  ++egress_[port].out_frames;
  egress_[port].out_bytes += frame->frame_bytes;
  transmit(port, frame, now_ps);
}

void SwitchEntity::tell_credit(std::uint32_t port, ps_t now_ps) {
  Teller& teller = tellers_[port];
  Frame* frame = group_.take_frame();
  make_control(*frame, Opcode::kCredit, teller.freed);
  for (std::uint32_t c = 0; c < kClasses; ++c) {
    if ((teller.freed >> c & 1U) == 0) continue;
    set_control_word(*frame, c, teller.freed_cells[c]);
    teller.told_cells[c] = teller.freed_cells[c];
  }
  teller.credit_due_ps = now_ps + teller.repeat_ps;
  teller.repeat_ps = std::min(2 * teller.repeat_ps, kNever / 4);
  due(port);
  ++teller.credit_frames;
  ++egress_[port].out_frames;
  egress_[port].out_bytes += frame->frame_bytes;
  transmit(port, frame, now_ps);
}

// ---------------------------------------------------------------------------------------------------- what must not be

void SwitchEntity::lossless_drop(std::uint32_t egress, const Frame& frame, ps_t now_ps) const {
  const std::uint64_t missing = buffer_.missing_cells() * config_.cell_bytes;
  const std::uint64_t given = frame.ingress < config_.headroom_bytes.size() ? config_.headroom_bytes[frame.ingress] : 0;
  throw LosslessDropError(name() + " dropped a frame of lossless class " + std::to_string(frame.queue) +
                          " that came by port " + std::to_string(frame.ingress) + " for port " +
                          std::to_string(egress) + " at " + std::to_string(now_ps) + " ps: its headroom of " +
                          std::to_string(given) + " bytes lacks " + std::to_string(missing) + " bytes for it");
}

struct SwitchEntity::Link {
  SwitchEntity* at;
  std::uint32_t port;  // ingress
  std::uint32_t traffic_class;
  friend bool operator==(const Link&, const Link&) = default;
};

std::vector<std::uint32_t> SwitchEntity::holders(std::uint32_t port, std::uint32_t c) {
  std::vector<std::uint32_t> found;
  for (std::uint32_t egress = 0; egress < port_count_; ++egress) {
    Ring<Frame*>& frames = egress_[egress].queues[c].frames;
    bool holds = false;
    for (std::size_t i = 0; i < frames.size() && !holds; ++i) holds = frames.at(i)->ingress == port;
    if (holds) found.push_back(egress);
  }
  return found;
}

// Whether nothing that the first group waits for can ever move: each frame of each group among `groups`, which grows
// by those that they wait for, is behind a stopped port, whose neighbour is such a group itself.
bool SwitchEntity::standing(std::vector<Link>& groups, ps_t now_ps) {
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const Link of = groups[i];
    const std::vector<std::uint32_t> egresses = of.at->holders(of.port, of.traffic_class);
    if (egresses.empty() || of.at->config_.watchdog_detection_ps != 0) return false;
    for (const std::uint32_t egress : egresses) {
      if (!of.at->egress_[egress].gate.stopped(of.traffic_class, now_ps)) return false;
      const Port& way = of.at->ports_[egress];
      auto* next = dynamic_cast<SwitchEntity*>(of.at->group_.entity(way.peer_entity));
      if (next == nullptr || !next->stuck(way.peer_port, of.traffic_class)) return false;
      if (next->tellers_[way.peer_port].stuck[of.traffic_class] == 0) return false;  // not for long
      const Link link{next, way.peer_port, of.traffic_class};
      if (std::find(groups.begin(), groups.end(), link) == groups.end()) groups.push_back(link);
    }
  }
  return true;
}

// Extend a chain of standing groups, each of which waits for the next, until it closes.
bool SwitchEntity::circle(std::vector<Link>& chain) {
  const Link last = chain.back();
  for (const std::uint32_t egress : last.at->holders(last.port, last.traffic_class)) {
    const Port& way = last.at->ports_[egress];
    const Link link{dynamic_cast<SwitchEntity*>(group_.entity(way.peer_entity)), way.peer_port, last.traffic_class};
    if (link == chain.front()) return true;
    if (std::find(chain.begin(), chain.end(), link) != chain.end()) continue;  // a circle without the first
    chain.push_back(link);
    if (circle(chain)) return true;
    chain.pop_back();
  }
  return false;
}

// A pause is repeated: has the group released anything since the last time, and if not, for whom does it wait?
void SwitchEntity::suspect(std::uint32_t port, std::uint32_t c, ps_t now_ps) {
  Teller& teller = tellers_[port];
  if (!stuck(port, c)) {
    teller.released[c] = buffer_.released(port, c);
    teller.stuck[c] = 0;
    return;
  }
  ++teller.stuck[c];
  if (config_.watchdog_detection_ps != 0) return;  // which is there to end it
  std::vector<Link> groups{{this, port, c}};
  std::vector<Link> chain = groups;
  if (standing(groups, now_ps) && circle(chain)) {
    std::string text = "PFC deadlock at " + std::to_string(now_ps) + " ps: ";
    for (const Link& link : chain) {
      text += link.at->name() + " " + port_and_class(link.port, link.traffic_class) + " waits for ";
    }
    throw DeadlockError(text + chain.front().at->name() + " " + port_and_class(port, c));
  }
  const ps_t repetition_ps = ps_t{config_.pause_quanta / 2U} * kQuantumBytes * ports_[port].byte_time_ps;
  if (teller.stuck[c] * repetition_ps < kStuckPs) return;
  for (const std::uint32_t egress : holders(port, c)) {  // what is not stopped is starved
    if (!egress_[egress].gate.stopped(c, now_ps)) continue;
    throw DeadlockError(name() + " " + port_and_class(port, c) + " has not released a frame since " +
                        std::to_string(teller.since_ps[c]) + " ps, now " + std::to_string(now_ps) +
                        " ps, and waits for port " + std::to_string(egress) +
                        ", which is stopped; the twin names the circle");
  }
}

}  // namespace tb
