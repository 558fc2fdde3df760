// Arrivals of `NicEntity`: placing packets, delivering messages, answering gets.
#include "nic_model.hpp"

namespace tb {

namespace {

// Messages that lost a packet for ever are forgotten when so many younger ones are under way.
constexpr std::size_t kMostPartial = 128;

std::uint16_t messages_in(const Frame& last) { return std::max<std::uint16_t>(last.credit, 1); }

}  // namespace

void NicEntity::control_arrives(Frame* frame, ps_t now_ps) {
  ++received_.frames;
  received_.octets += frame->frame_bytes;
  if (now_ps < on_ps_) return discard(frame, now_ps);
  if ((frame->flags & kFlagCorrupt) != 0) {
    ++received_.fcs_errors;
  } else {
    received_.pause_frames += frame->opcode == Opcode::kPause ? 1 : 0;
    const std::uint32_t changed = gate_.receive(*frame, now_ps);
    for (std::uint32_t i = 0; i < config_.virtual_channels; ++i) {
      const std::uint32_t c = config_.data_class + i;
      if ((changed >> c & 1U) != 0 && frame->opcode == Opcode::kPause) {
        group_.telemetry.add_pause(now_ps, id(), 0, c, SampleKind::kPauseReceived, gate_.stopped(c, now_ps));
      }
    }
    if (queued_ != 0) slots_.set(kDepart, std::max(now_ps, ports_[0].busy_until_ps));
  }
  group_.drop_frame(frame);
}

void NicEntity::arrive(Frame* frame, ps_t now_ps) {
  ++received_.frames;
  received_.octets += frame->frame_bytes;
  if (now_ps < on_ps_) [[unlikely]]
    return discard(frame, now_ps);
  if (frame->telemetry != kNoTelemetry) group_.telemetry.add(*frame, now_ps);
  if ((frame->flags & kFlagCorrupt) != 0) {
    ++received_.fcs_errors;
  } else if (frame->opcode == Opcode::kTrimmed) {
    ++received_.trimmed;
    receive_trimmed(rx_stream(*frame), *frame, now_ps);
  } else if (frame->opcode == Opcode::kData) {
    ++received_.packets;
    received_.marked += (frame->flags & kFlagMarked) != 0 ? 1 : 0;
    receive_data(rx_stream(*frame), *frame, now_ps);
  } else if (frame->opcode == Opcode::kCnp) {
    ++received_.cnps;
    const std::uint32_t card = card_of(frame->dst);
    for (const Op kind : {Op::kPut, Op::kGetResponse}) {
      TxStream* stream = known_stream(card, frame->src, kind);
      if (stream != nullptr && stream->congestion != nullptr) stream->congestion->notified(now_ps);
    }
  } else {
    ++(frame->opcode == Opcode::kAck ? received_.acks : received_.naks);
    acknowledged(*frame, now_ps);
  }
  group_.drop_frame(frame);
}

// A switch has cut the payload off: the packet is lost, and the sender learns it at once.
void NicEntity::receive_trimmed(RxStream& stream, const Frame& frame, ps_t now_ps) {
  std::uint16_t cut = 0;
  const std::uint64_t psn = extend_psn(stream.expected_psn, frame.psn);
  if (reliability_.receive_trimmed(stream, psn, cut) == Answer::kNack) {
    answer(stream, frame, Opcode::kNack, now_ps, cut);
  }
}

void NicEntity::receive_data(RxStream& stream, const Frame& frame, ps_t now_ps) {
  const std::uint64_t psn = extend_psn(stream.expected_psn, frame.psn);
  const bool marked = (frame.flags & kFlagMarked) != 0;
  if (marked && config_.cnp_interval_ps != 0) notify_congestion(stream, frame, now_ps);
  if (config_.receive_depth != 0 && !has_receive(stream, frame, psn, now_ps)) {
    answer(stream, frame, Opcode::kNotReady, now_ps);
    return;
  }
  const Receipt receipt = reliability_.receive(stream, frame, psn);
  if (receipt.out_of_order) ++received_.out_of_order;
  if (receipt.fresh) {
    if (marked) stream.marked_bytes = (stream.marked_bytes + frame.payload_bytes) & kMarkCounterMask;
    const ps_t memory_ps = receive_.pass(now_ps, frame.payload_bytes, stream.card);
    if (reliability_.in_order()) {
      place_in_order(stream, frame, memory_ps, now_ps);
    } else {
      place(stream, frame, psn, memory_ps, now_ps);
    }
  } else if (!receipt.out_of_order) {
    ++received_.duplicates;
  }
  if (receipt.answer != Answer::kNone) {
    answer(stream, frame, receipt.answer == Answer::kAck ? Opcode::kAck : Opcode::kNack, now_ps);
  }
}

// A send needs a receive that the receiver's software has posted (InfiniBand specification volume 1, 9.7.5.2.8).
bool NicEntity::has_receive(RxStream& stream, const Frame& frame, std::uint64_t psn, ps_t now_ps) {
  const bool begins = frame.op == Op::kSend && (frame.flags & kFlagFirst) != 0 && psn == stream.expected_psn;
  if (!begins) return true;
  while (!stream.reposts.empty() && stream.reposts.front() <= now_ps) {
    stream.reposts.pop();
    ++stream.posted;
  }
  if (stream.posted == 0) {
    stream.nak_sent = true;  // what follows is out of order, and the sender knows
    return false;
  }
  --stream.posted;
  return true;
}

void NicEntity::notify_congestion(RxStream& stream, const Frame& frame, ps_t now_ps) {
  if (now_ps < stream.cnp_ps) return;
  stream.cnp_ps = now_ps + config_.cnp_interval_ps;
  answer(stream, frame, Opcode::kCnp, now_ps);
}

void NicEntity::place_in_order(RxStream& stream, const Frame& frame, ps_t memory_ps, ps_t now_ps) {
  if ((frame.flags & kFlagFirst) != 0) {
    stream.bytes = 0;
    stream.marks = 0;
  }
  stream.bytes += frame.payload_bytes;
  stream.marks += (frame.flags & kFlagMarked) != 0 ? 1 : 0;
  if ((frame.flags & kFlagLast) == 0) return;
  const std::uint16_t count = messages_in(frame);
  const Arrived message{stream.msn, stream.bytes, memory_ps, stream.marks, frame.message_bytes, count, frame.op};
  stream.msn += count;
  deliver(stream, message, now_ps);
}

void NicEntity::place(RxStream& stream, const Frame& frame, std::uint64_t psn, ps_t memory_ps, ps_t now_ps) {
  std::uint64_t near = stream.msn;
  if (!reliability_.acknowledges() && psn > stream.newest_psn) {  // any number of messages may be missing
    near += (psn - stream.newest_psn) * (stream.msn + 1) / (stream.newest_psn + 1);
    stream.newest_psn = psn;
  }
  const std::uint64_t msn = extend_msn(near, frame.msn);
  stream.msn = std::max(stream.msn, msn);
  const bool last = (frame.flags & kFlagLast) != 0;
  const std::uint32_t marks = (frame.flags & kFlagMarked) != 0 ? 1 : 0;
  if (last && (frame.flags & kFlagFirst) != 0) {
    const std::uint16_t count = messages_in(frame);
    complete(stream, {msn, frame.payload_bytes, memory_ps, marks, frame.message_bytes, count, frame.op}, now_ps);
    return;
  }
  auto& partial = stream.partial;
  auto entry = std::find_if(partial.begin(), partial.end(), [msn](const RxMessage& m) { return m.msn == msn; });
  if (entry == partial.end()) {
    if (!reliability_.acknowledges() && partial.size() == kMostPartial) {
      partial.erase(partial.begin());
      ++received_.incomplete;
    }
    entry = partial.insert(partial.end(), RxMessage{});
    entry->msn = msn;
  }
  ++entry->received;
  entry->marks += marks;
  entry->bytes += frame.payload_bytes;
  if (last) {
    entry->has_last = true;
    entry->last_psn = psn;
    entry->op = frame.op;
  } else {
    entry->has_first = true;
    entry->first_psn = psn - frame.index;
  }
  if (entry->has_first && entry->has_last && entry->received == entry->last_psn - entry->first_psn + 1) {
    const Arrived message{msn, entry->bytes, memory_ps, entry->marks, 0, 1, entry->op};
    partial.erase(entry);
    complete(stream, message, now_ps);
  }
}

// A message is whole. Where the order counts it waits for those before it.
void NicEntity::complete(RxStream& stream, const Arrived& message, ps_t now_ps) {
  if (!config_.ordered) {
    deliver(stream, message, now_ps);
    return;
  }
  stream.held.push_back(message);
  for (bool found = true; found;) {
    found = false;
    for (auto one = stream.held.begin(); one != stream.held.end(); ++one) {
      if (one->msn != stream.next_msn) continue;
      Arrived next = *one;
      stream.held.erase(one);
      stream.next_msn += next.count;
      next.memory_ps = stream.last_memory_ps = std::max(stream.last_memory_ps, next.memory_ps);
      deliver(stream, next, now_ps);
      found = true;
      break;
    }
  }
}

void NicEntity::deliver(RxStream& stream, const Arrived& message, ps_t now_ps) {
  if (message.op == Op::kGetRequest) {
    respond(stream, message, now_ps);
    return;
  }
  if (message.op == Op::kGetResponse) {
    response_here(stream, message, now_ps);
    return;
  }
  Card& own = cards_[stream.card];
  const auto bytes = static_cast<std::uint32_t>(message.bytes / message.count);
  for (std::uint32_t i = 0; i < message.count; ++i) {
    ++received_.messages;
    group_.message_completed();
    ps_t completed_ps = notify_.pass(message.memory_ps, bytes, stream.card);
    if (message.op == Op::kPutSignal) completed_ps = signal_.pass(completed_ps, bytes, stream.card);
    group_.rx_records.push_back(
        {message.msn + i, message.memory_ps, completed_ps, stream.peer, number_of(stream.card), message.marks, bytes});
    if (message.op == Op::kSend && config_.receive_depth != 0) stream.reposts.push(completed_ps);
    if (answers(own)) {
      own.replies.push({completed_ps, stream.peer, bytes});
      next_post(stream.card, own.generate_ps);
    }
  }
}

// The NIC answers a get by itself: what was asked for takes the way of any other message.
void NicEntity::respond(const RxStream& stream, const Arrived& message, ps_t now_ps) {
  TxStream& back = tx_stream(stream.card, stream.peer, Op::kGetResponse);
  TxMessage response;
  response.first_psn = back.end_psn;
  response.msn = message.msn;
  response.first_byte = back.end_byte;
  response.bytes = message.request_bytes;
  response.packets = (message.request_bytes + config_.mtu_bytes - 1) / config_.mtu_bytes;
  response.op = Op::kGetResponse;
  back.messages.push(response);
  back.end_psn += response.packets;
  back.end_byte += response.bytes;
  offer(back, now_ps);
}

void NicEntity::response_here(const RxStream& stream, const Arrived& message, ps_t now_ps) {
  const auto bytes = static_cast<std::uint32_t>(message.bytes);
  const ps_t completed_ps = notify_.pass(message.memory_ps, bytes, stream.card);
  ++received_.messages;
  group_.message_completed();
  group_.rx_records.push_back(
      {message.msn, message.memory_ps, completed_ps, number_of(stream.card), stream.peer, message.marks, bytes});
  Ring<AwaitedGet>& gets = tx_stream(stream.card, stream.peer, Op::kPut).gets;
  AwaitedGet& get = gets.at(message.msn - gets.front().msn);
  get.here = true;
  const std::uint32_t record = get.record;
  while (!gets.empty() && gets.front().here) gets.pop();
  completed(stream.card, record, now_ps);
  check_done(now_ps);
}

RxStream& NicEntity::rx_stream(const Frame& frame) {
  const bool response = frame.op == Op::kGetResponse;
  std::vector<std::uint32_t>& places = rx_places_[response ? 1 : 0];
  const std::uint32_t card = card_of(frame.dst);
  const std::size_t key = std::size_t{frame.src} * config_.cards + card;
  if (key >= places.size()) places.resize(key + 1, 0);
  if (places[key] == 0) {
    RxStream& stream = rx_.emplace_back();
    stream.peer = frame.src;
    stream.card = card;
    stream.response = response;
    stream.posted = config_.receive_depth;
    places[key] = static_cast<std::uint32_t>(rx_.size());
  }
  return rx_[places[key] - 1];
}

}  // namespace tb
