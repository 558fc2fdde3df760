// Acknowledgements, retransmission and timers of `NicEntity`.
#include <string>

#include "nic_model.hpp"

namespace tb {

namespace {

constexpr std::uint32_t kCnpFrameBytes = 78;  // 14 + 20 + 8 + 12 + 16 + 4 + 4 (RoCEv2 annex A17.9.3)
constexpr std::uint8_t kCnpDscp = 48;         // SONiC's map to class 6

}  // namespace

void NicEntity::answer(RxStream& stream, const Frame& cause, Opcode opcode, ps_t now_ps, std::uint16_t cut) {
  Frame* frame = group_.take_frame();
  frame->opcode = opcode;
  frame->format = config_.format;
  frame->frame_bytes = config_.ack_bytes;
  frame->src = static_cast<std::uint16_t>(number_of(stream.card));
  frame->dst = static_cast<std::uint16_t>(stream.peer);
  frame->dscp = config_.ack_dscp;
  frame->queue = config_.ack_class;
  const bool own_flow = config_.format == WireFormat::kRoceV2;
  if (has_ip(config_.format)) frame->entropy = own_flow ? flow_entropy(frame->src, stream.peer) : cause.entropy;
  if (opcode == Opcode::kCnp) {
    ++sent_.cnps;
    frame->frame_bytes = kCnpFrameBytes;
    frame->dscp = kCnpDscp;
  } else {
    stream.packets_since_ack = 0;
    ++(opcode == Opcode::kAck ? sent_.acks : opcode == Opcode::kNack ? sent_.naks : sent_.not_ready);
    frame->psn = static_cast<std::uint32_t>(stream.expected_psn) & kPsnMask;
    if (stream.response) frame->op = Op::kGetResponse;
    if (config_.format == WireFormat::kRoceV2) {
      frame->msn = static_cast<std::uint16_t>(stream.msn);
    } else {
      frame->msn = static_cast<std::uint16_t>(cause.psn);
      frame->message_bytes = stream.marked_bytes;
    }
    if (reliability_.selective()) {
      frame->ack_bits = stream.arrived;
      frame->credit = static_cast<std::uint16_t>(config_.window_pkts);
      frame->index = cut;
    }
  }
  frame->time_ps = now_ps + config_.ack_latency_ps;
  if (ack_lane_.empty()) slots_.set(kAckReady, frame->time_ps);
  ack_lane_.push(frame);
}

void NicEntity::acknowledged(const Frame& frame, ps_t now_ps) {
  TxStream* known = known_stream(card_of(frame.dst), frame.src, frame.op);
  if (known == nullptr) return;  // of nothing that was sent
  TxStream& stream = *known;
  const std::uint64_t psn = extend_psn(stream.una_psn, frame.psn);
  if (psn < stream.una_psn || psn > stream.high_psn) return;  // older than what is known
  const std::uint64_t moved = psn - stream.una_psn;
  stream.una_psn = psn;
  stream.next_psn = std::max(stream.next_psn, psn);
  if (stream.congestion != nullptr) inform_congestion(stream, frame, now_ps);
  if (moved != 0) {
    if (!stream.outstanding()) settled();
    stream.retries = 0;
    stream.not_ready = 0;
    stream.probed = false;
    set_deadline(stream, now_ps + patience_ps());
    retire(stream, now_ps);
  }
  reliability_.acknowledged(stream, frame, moved);
  report_losses(stream, frame.index != 0 ? Loss::kTrimmed : Loss::kMissing, now_ps);
  if (frame.opcode == Opcode::kNotReady) not_ready(stream, now_ps);
  offer(stream, now_ps);
}

// What the congestion control of a stream learns from an acknowledgement.
void NicEntity::inform_congestion(TxStream& stream, const Frame& frame, ps_t now_ps) {
  Acknowledged ack;
  ack.now_ps = now_ps;
  if (config_.format != WireFormat::kRoceV2) {
    const std::uint64_t cause = extend_msn(stream.una_psn, frame.msn);
    const ps_t sent_ps = stream.flight->sent_ps(cause);
    ack.rtt_ps = sent_ps != 0 ? now_ps - sent_ps : 0;
    const std::uint32_t marked = (frame.message_bytes - stream.marks) & kMarkCounterMask;
    if (marked <= kMarkCounterMask / 2) {  // else an older acknowledgement has been overtaken
      ack.marked_bytes = marked;
      stream.marks = frame.message_bytes;
    }
  }
  ack.bytes = stream.flight->arrived_below(stream.una_psn);
  for (std::uint64_t bits = frame.ack_bits; bits != 0; bits &= bits - 1) {
    ack.bytes += stream.flight->arrived(stream.una_psn + 1 + static_cast<unsigned>(__builtin_ctzll(bits)));
  }
  ack.in_flight_bytes = stream.flight->bytes();
  if (ack.marked_bytes != 0 && config_.avoid_marked && config_.paths > 1) {
    const std::uint32_t first = flow_entropy(number_of(stream.card), stream.peer);
    const std::uint32_t path = (frame.entropy - first) & 0x3FFFU;
    if (path < config_.paths) stream.paths.marked(path);
  }
  stream.congestion->acknowledged(ack);
}

void NicEntity::report_losses(TxStream& stream, Loss how, ps_t now_ps) {
  if (stream.lost_bytes == 0) return;
  stream.congestion->lost(how, now_ps, stream.lost_bytes);
  stream.lost_bytes = 0;
}

void NicEntity::not_ready(TxStream& stream, ps_t now_ps) {
  ++received_.not_ready;
  if (++stream.not_ready > config_.rnr_retry_limit && config_.rnr_retry_limit < kRetryForever) {
    give_up(stream, "found no receive posted, " + std::to_string(config_.rnr_retry_limit) + " retries", now_ps);
  }
  reliability_.send_again(stream, stream.una_psn);
  stream.lost_bytes = 0;  // refused, not lost
  set_deadline(stream, now_ps + config_.rnr_timer_ps + config_.rto_ps);
  pace(stream, now_ps + config_.rnr_timer_ps);
}

void NicEntity::retire(TxStream& stream, ps_t now_ps) {
  while (!stream.messages.empty()) {
    const TxMessage oldest = stream.messages.front();
    if (oldest.first_psn + oldest.packets > stream.una_psn) break;
    stream.messages.pop();
    if (stream.sending > 0) --stream.sending;
    if (oldest.op == Op::kGetRequest || oldest.op == Op::kGetResponse) continue;  // complete with the response
    if (oldest.count == 1) {
      completed(stream.card, oldest.record, now_ps);
    } else {
      for (std::uint32_t i = 0; i < oldest.count; ++i) {
        completed(stream.card, shared_records_[oldest.record + i], now_ps);
      }
    }
  }
  check_done(now_ps);
}

// ------------------------------------------------------------------------------------------------------ timers

// The heap has one entry for each stream, which may be too early: it is looked at then. If it would be too late, as it
// is behind a time-out that has doubled, another takes its place.
void NicEntity::set_deadline(TxStream& stream, ps_t time_ps) {
  stream.deadline_ps = time_ps;
  if (stream.outstanding() && time_ps < stream.timed_ps) enter(stream);
}

void NicEntity::enter(TxStream& stream) {
  stream.timed_ps = stream.deadline_ps;
  deadlines_.emplace(stream.deadline_ps, place_of(stream));
  set_timer();
}

// A stream has nothing outstanding any more. When that holds for all, no time-out is due.
void NicEntity::settled() {
  if (--outstanding_streams_ != 0) return;
  while (!deadlines_.empty()) {
    tx_[deadlines_.top().second].timed_ps = kNever;
    deadlines_.pop();
  }
  set_timer();
}

void NicEntity::wake_at(const Wakeup& wakeup) {
  wakeups_.push(wakeup);
  set_timer();
}

void NicEntity::set_timer() {
  const ps_t deadline_ps = deadlines_.empty() ? kNever : deadlines_.top().first;
  slots_.set(kTimer, when_on(wakeups_.empty() ? deadline_ps : std::min(deadline_ps, wakeups_.top().time_ps)));
}

void NicEntity::timer(ps_t now_ps) {
  if (!wakeups_.empty() && wakeups_.top().time_ps <= now_ps) {
    wake(now_ps);
  } else {
    stream_timer(now_ps);
  }
}

void NicEntity::wake(ps_t now_ps) {
  const Wakeup due = wakeups_.top();
  wakeups_.pop();
  set_timer();
  if (due.why == Why::kDrained) {
    group_.source_done();
    return;
  }
  TxStream& stream = tx_[due.stream];
  if (due.why == Why::kBatch) {
    if (stream.batch.open() && stream.batch.number == due.batch) close_batch(stream);
  } else if (stream.pace_ps <= now_ps) {
    stream.paced = false;
  }
  offer(stream, now_ps);
}

void NicEntity::stream_timer(ps_t now_ps) {
  const Deadline due = deadlines_.top();
  deadlines_.pop();
  TxStream& stream = tx_[due.second];
  if (due.first == stream.timed_ps) {
    stream.timed_ps = kNever;
    if (stream.outstanding()) {
      if (stream.deadline_ps <= now_ps) time_out(stream, now_ps);
      enter(stream);
    }
  }
  set_timer();
  offer(stream, now_ps);
}

void NicEntity::time_out(TxStream& stream, ps_t now_ps) {
  if (config_.tlp_ps != 0 && !stream.probed) {  // the last packet again: its answer tells what is missing
    stream.probed = true;
    ++sent_.probes;
    reliability_.probe(stream);
    stream.lost_bytes = 0;
    stream.deadline_ps = now_ps + config_.rto_ps - config_.tlp_ps;
    return;
  }
  ++sent_.timeouts;
  if (++stream.retries > config_.retry_limit) {
    give_up(stream, "gave up after " + std::to_string(config_.retry_limit) + " retries", now_ps);
  }
  reliability_.timed_out(stream);
  report_losses(stream, Loss::kTimeout, now_ps);
  stream.deadline_ps = now_ps + (config_.rto_ps << std::min(stream.retries, 6U));
}

void NicEntity::give_up(const TxStream& stream, const std::string& why, ps_t now_ps) const {
  throw StreamError("stream " + name() + " -> card " + std::to_string(stream.peer) + " " + why + " at " +
                    std::to_string(now_ps) + " ps");
}

TxStream* NicEntity::known_stream(std::uint32_t card, std::uint32_t peer, Op kind) {
  const std::vector<std::uint32_t>& places = tx_places_[kind == Op::kGetResponse ? 1 : 0];
  const std::size_t key = std::size_t{peer} * config_.cards + card;
  return key < places.size() && places[key] != 0 ? &tx_[places[key] - 1] : nullptr;
}

}  // namespace tb
