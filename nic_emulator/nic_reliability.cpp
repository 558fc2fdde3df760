// Receiving, acknowledgements and retransmission of `NicEntity`.
#include <string>

#include "nic_model.hpp"

namespace tb {

void NicEntity::control_arrives(Frame* frame, ps_t now_ps) {
  if ((frame->flags & kFlagCorrupt) != 0) {
    ++received_.fcs_errors;
  } else {
    const std::uint32_t c = config_.data_class;
    received_.pause_frames += frame->opcode == Opcode::kPause ? 1 : 0;
    const std::uint32_t changed = gate_.receive(*frame, ports_[0].byte_time_ps, now_ps);
    if ((changed >> c & 1U) != 0 && frame->opcode == Opcode::kPause) {
      group_.telemetry.add_pause(now_ps, id(), 0, c, SampleKind::kPauseReceived, gate_.stopped(c, now_ps));
    }
    if (!ack_queue_.empty() || !data_queue_.empty()) slots_.set(kDepart, std::max(now_ps, ports_[0].busy_until_ps));
  }
  group_.drop_frame(frame);
}

void NicEntity::arrive(Frame* frame, ps_t now_ps) {
  if (frame->telemetry != kNoTelemetry) group_.telemetry.add(*frame, now_ps);
  if ((frame->flags & kFlagCorrupt) != 0) {
    ++received_.fcs_errors;
  } else if (frame->opcode == Opcode::kTrimmed) {
    ++received_.trimmed;
    receive_trimmed(rx_stream(frame->src), *frame, now_ps);
  } else if (frame->opcode == Opcode::kData) {
    ++received_.packets;
    RxStream& stream = rx_stream(frame->src);
    if (config_.reliability == Reliability::kSelective) {
      receive_selective(stream, *frame, now_ps);
    } else {
      receive_go_back_n(stream, *frame, now_ps);
    }
  } else {
    ++(frame->opcode == Opcode::kAck ? received_.acks : received_.naks);
    acknowledged(*frame, now_ps);
  }
  group_.drop_frame(frame);
}

// A switch has cut the payload off: the packet is lost, and the sender learns it at once.
void NicEntity::receive_trimmed(RxStream& stream, const Frame& frame, ps_t now_ps) {
  const std::uint64_t psn = extend_psn(stream.expected_psn, frame.psn);
  if (psn < stream.expected_psn || stream.has(psn)) return;
  if (config_.reliability == Reliability::kSelective) {
    acknowledge(stream, Opcode::kNack, now_ps, static_cast<std::uint16_t>(psn - stream.expected_psn + 1));
  } else if (psn == stream.expected_psn && !stream.nak_sent) {  // a cut packet may have overtaken others
    stream.nak_sent = true;
    acknowledge(stream, Opcode::kNack, now_ps);
  }
}

void NicEntity::receive_selective(RxStream& stream, const Frame& frame, ps_t now_ps) {
  const std::uint64_t psn = extend_psn(stream.expected_psn, frame.psn);
  const bool outside = psn < stream.expected_psn || psn > stream.expected_psn + 64;
  const bool gap = stream.arrived != 0;
  if (outside || !stream.note(psn)) {
    ++received_.duplicates;
    acknowledge(stream, Opcode::kAck, now_ps);
    return;
  }
  ++stream.packets_since_ack;
  place(stream, frame, psn, receive_.pass(now_ps, frame.payload_bytes));
  if (stream.arrived != 0) {
    ++received_.out_of_order;
    acknowledge(stream, Opcode::kNack, now_ps);
  } else if (gap || (frame.flags & kFlagLast) != 0 || stream.packets_since_ack >= config_.ack_every_pkts) {
    acknowledge(stream, Opcode::kAck, now_ps);  // also when the last hole is filled: nobody else would tell
  }
}

void NicEntity::place(RxStream& stream, const Frame& frame, std::uint64_t psn, ps_t memory_ps) {
  const std::uint64_t msn = extend_msn(stream.msn, frame.msn);
  stream.msn = std::max(stream.msn, msn);
  const bool last = (frame.flags & kFlagLast) != 0;
  const std::uint32_t marks = (frame.flags & kFlagMarked) != 0 ? 1 : 0;
  if (last && (frame.flags & kFlagFirst) != 0) {
    deliver(stream, msn, frame.payload_bytes, marks, memory_ps);
    return;
  }
  auto& partial = stream.partial;
  auto entry = std::find_if(partial.begin(), partial.end(), [msn](const RxMessage& m) { return m.msn == msn; });
  if (entry == partial.end()) {
    entry = partial.insert(partial.end(), RxMessage{});
    entry->msn = msn;
  }
  ++entry->received;
  entry->marks += marks;
  entry->bytes += frame.payload_bytes;
  if (last) {
    entry->has_last = true;
    entry->last_psn = psn;
  } else {
    entry->has_first = true;
    entry->first_psn = psn - frame.index;
  }
  if (entry->has_first && entry->has_last && entry->received == entry->last_psn - entry->first_psn + 1) {
    deliver(stream, msn, entry->bytes, entry->marks, memory_ps);
    *entry = partial.back();
    partial.pop_back();
  }
}

void NicEntity::receive_go_back_n(RxStream& stream, const Frame& frame, ps_t now_ps) {
  const std::uint64_t psn = extend_psn(stream.expected_psn, frame.psn);
  if (psn != stream.expected_psn) {
    if (psn < stream.expected_psn) {
      ++received_.duplicates;
      acknowledge(stream, Opcode::kAck, now_ps);
      return;
    }
    ++received_.out_of_order;
    if (!stream.nak_sent) acknowledge(stream, Opcode::kNack, now_ps);
    stream.nak_sent = true;
    return;
  }
  ++stream.expected_psn;
  stream.nak_sent = false;
  ++stream.packets_since_ack;
  const ps_t memory_ps = receive_.pass(now_ps, frame.payload_bytes);
  if ((frame.flags & kFlagFirst) != 0) {
    stream.bytes = 0;
    stream.marks = 0;
  }
  stream.bytes += frame.payload_bytes;
  stream.marks += (frame.flags & kFlagMarked) != 0 ? 1 : 0;
  const bool last = (frame.flags & kFlagLast) != 0;
  if (last) deliver(stream, stream.msn++, stream.bytes, stream.marks, memory_ps);
  if (last || stream.packets_since_ack >= config_.ack_every_pkts) acknowledge(stream, Opcode::kAck, now_ps);
}

void NicEntity::deliver(const RxStream& stream, std::uint64_t msn, std::uint64_t bytes, std::uint32_t marks,
                        ps_t memory_ps) {
  ++received_.messages;
  group_.message_completed();
  const ps_t completed_ps = notify_.pass(memory_ps, bytes);
  group_.rx_records.push_back(
      {msn, memory_ps, completed_ps, stream.peer, id(), marks, static_cast<std::uint32_t>(bytes)});
  if (!load_.reply && load_.arrivals != Arrivals::kPingPong) return;
  replies_.push({completed_ps, stream.peer, static_cast<std::uint32_t>(bytes)});
  next_post(generate_ps_);
}

void NicEntity::acknowledge(RxStream& stream, Opcode opcode, ps_t now_ps, std::uint16_t cut) {
  stream.packets_since_ack = 0;
  ++(opcode == Opcode::kAck ? sent_.acks : sent_.naks);
  Frame* frame = group_.take_frame();
  frame->opcode = opcode;
  frame->format = config_.format;
  frame->frame_bytes = config_.ack_bytes;
  frame->psn = static_cast<std::uint32_t>(stream.expected_psn) & kPsnMask;
  frame->src = static_cast<std::uint16_t>(id());
  frame->dst = static_cast<std::uint16_t>(stream.peer);
  frame->dscp = config_.ack_dscp;
  if (config_.reliability == Reliability::kSelective) {
    frame->ack_bits = stream.arrived;
    frame->credit = static_cast<std::uint16_t>(config_.window_pkts);
    frame->index = cut;
  }
  if (config_.format == WireFormat::kRoceV2) {
    frame->entropy = flow_entropy(id(), stream.peer);
    frame->msn = static_cast<std::uint16_t>(stream.msn);
  }
  frame->time_ps = now_ps + config_.ack_latency_ps;
  if (ack_lane_.empty()) slots_.set(kAckReady, frame->time_ps);
  ack_lane_.push(frame);
}

void NicEntity::acknowledged(const Frame& frame, ps_t now_ps) {
  TxStream& stream = tx_stream(frame.src);
  const std::uint64_t psn = extend_psn(stream.una_psn, frame.psn);
  if (psn < stream.una_psn || psn > stream.high_psn) return;  // older than what is known
  const bool progress = psn > stream.una_psn;
  stream.cut = psn - stream.una_psn < 64 ? stream.cut >> (psn - stream.una_psn) : 0;
  stream.una_psn = psn;
  stream.next_psn = std::max(stream.next_psn, psn);
  if (progress && !stream.outstanding()) settled();
  if (progress) {
    stream.retries = 0;
    stream.deadline_ps = now_ps + config_.rto_ps;
    retire(stream, now_ps);
  }
  if (config_.reliability == Reliability::kSelective) {
    stream.sacked = frame.ack_bits;
    stream.window_pkts = frame.credit;
    if (frame.index != 0) queue_cut(stream, psn + frame.index - 1);
    if (frame.ack_bits != 0) {
      const auto highest = 63U - static_cast<unsigned>(__builtin_clzll(frame.ack_bits));
      const std::uint64_t below = psn + 1 + highest;
      if (below > psn + config_.reorder_window_pkts) queue_holes(stream, below - config_.reorder_window_pkts);
    }
  } else if (frame.opcode == Opcode::kNack) {
    rewind(stream, psn);
  }
  offer(stream, now_ps);
}

void NicEntity::retire(TxStream& stream, ps_t now_ps) {
  while (!stream.messages.empty()) {
    const TxMessage& oldest = stream.messages.front();
    if (oldest.first_psn + oldest.packets > stream.una_psn) break;
    const bool measured = oldest.record != kNoRecord;
    if (measured) {
      group_.tx_records[oldest.record].acked = 1;
      --measured_outstanding_;
    }
    stream.messages.pop();
    if (stream.sending > 0) --stream.sending;
    if (load_.arrivals == Arrivals::kClosed) {
      if (now_ps >= load_.measure_until_ps) generation_over_ = true;
      if (now_ps < std::max(load_.measure_until_ps, load_.post_until_ps)) {
        post(now_ps, workload_.next_destination(), static_cast<std::uint32_t>(load_.message_bytes));
      }
    }
  }
  check_done();
}

void NicEntity::queue_holes(TxStream& stream, std::uint64_t below_psn) {
  for (std::uint64_t psn = std::max(stream.una_psn, stream.repaired_psn); psn < below_psn; ++psn) {
    const std::uint64_t bit = psn - stream.una_psn < 64 ? std::uint64_t{1} << (psn - stream.una_psn) : 0;
    if (!stream.arrived(psn) && (stream.cut & bit) == 0) stream.holes.push(psn);
    stream.cut &= ~bit;
  }
  stream.repaired_psn = std::max(stream.repaired_psn, below_psn);
}

// A switch has cut this packet: send it again, once for each cut.
void NicEntity::queue_cut(TxStream& stream, std::uint64_t psn) {
  if (stream.arrived(psn) || psn >= stream.high_psn) return;
  for (std::size_t i = 0; i < stream.holes.size(); ++i) {
    if (stream.holes.at(i) == psn) return;
  }
  stream.holes.push(psn);
  if (psn >= stream.repaired_psn && psn - stream.una_psn < 64) stream.cut |= std::uint64_t{1} << (psn - stream.una_psn);
}

void NicEntity::rewind(TxStream& stream, std::uint64_t psn) {
  if (psn < stream.next_psn) stream.next_psn = psn;
}

void NicEntity::arm(TxStream& stream, ps_t now_ps) {
  stream.timed = true;
  stream.deadline_ps = now_ps + config_.rto_ps;
  deadlines_.emplace(stream.deadline_ps, static_cast<std::uint32_t>(&stream - tx_.data()));
  slots_.set(kTimer, deadlines_.top().first);
}

// A stream has nothing outstanding any more. When that holds for all, no timer is due.
void NicEntity::settled() {
  if (--outstanding_streams_ != 0) return;
  while (!deadlines_.empty()) {
    tx_[deadlines_.top().second].timed = false;
    deadlines_.pop();
  }
  slots_.set(kTimer, kNever);
}

void NicEntity::timer(ps_t now_ps) {
  TxStream& stream = tx_[deadlines_.top().second];
  deadlines_.pop();
  stream.timed = false;
  if (stream.outstanding()) {
    if (stream.deadline_ps <= now_ps) {
      ++sent_.timeouts;
      if (++stream.retries > config_.retry_limit) {
        throw StreamError("stream " + name() + " -> endpoint " + std::to_string(stream.peer) + " gave up after " +
                          std::to_string(config_.retry_limit) + " retries at " + std::to_string(now_ps) + " ps");
      }
      if (config_.reliability == Reliability::kSelective) {
        stream.holes.clear();
        stream.cut = 0;
        stream.repaired_psn = stream.una_psn;
        queue_holes(stream, stream.high_psn);
      } else {
        rewind(stream, stream.una_psn);
      }
      stream.deadline_ps = now_ps + (config_.rto_ps << std::min(stream.retries, 6U));
    }
    stream.timed = true;
    deadlines_.emplace(stream.deadline_ps, static_cast<std::uint32_t>(&stream - tx_.data()));
  }
  slots_.set(kTimer, deadlines_.empty() ? kNever : deadlines_.top().first);
  offer(stream, now_ps);
}

RxStream& NicEntity::rx_stream(std::uint32_t peer) {
  if (peer >= rx_by_peer_.size()) rx_by_peer_.resize(peer + std::size_t{1}, 0);
  if (rx_by_peer_[peer] == 0) {
    rx_.emplace_back().peer = peer;
    rx_by_peer_[peer] = static_cast<std::uint32_t>(rx_.size());
  }
  return rx_[rx_by_peer_[peer] - 1];
}

}  // namespace tb
