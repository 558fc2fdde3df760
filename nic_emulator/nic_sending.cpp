// Scheduler, packets and port of `NicEntity`.
#include "nic_model.hpp"

namespace tb {

namespace {

constexpr std::uint32_t kRethBytes = 16, kAethBytes = 4, kImmediateBytes = 4;

// RoCEv2 headers depend on what the message is: 62 bytes and extended headers.
std::uint32_t roce_header_bytes(const NicConfig& config, const Frame& frame) {
  const bool first = (frame.flags & kFlagFirst) != 0;
  const bool last = (frame.flags & kFlagLast) != 0;
  std::uint32_t bytes = config.other_header_bytes;
  if (first && frame.op != Op::kSend && frame.op != Op::kGetResponse) bytes += kRethBytes;
  if (last && frame.op == Op::kPutSignal) bytes += kImmediateBytes;
  if ((first || last) && frame.op == Op::kGetResponse) bytes += kAethBytes;
  return bytes;
}

constexpr std::uint32_t divided(std::uint32_t amount, std::uint32_t by) { return (amount + by - 1) / by; }

}  // namespace

std::uint32_t data_frame_bytes(const NicConfig& config, const Frame& frame) {
  const bool first = (frame.flags & kFlagFirst) != 0;
  std::uint32_t bytes = first ? config.first_header_bytes : config.other_header_bytes;
  if (config.format == WireFormat::kRoceV2) {
    bytes = roce_header_bytes(config, frame) + (-frame.payload_bytes & 3U);
  } else if (frame.op == Op::kGetRequest) {
    bytes += sizeof(frame.message_bytes);
  }
  bytes += frame.payload_bytes;
  if (frame.credit > 1) bytes += frame.credit * config.batch_header_bytes;
  if (config.unit_header_bytes != 0) {
    const std::uint32_t messages = std::max<std::uint32_t>(1, frame.credit);  // no unit holds parts of two
    const std::uint32_t units = std::max(1U, divided(frame.payload_bytes / messages, config.unit_bytes));
    bytes += messages * units * config.unit_header_bytes;
  }
  if (config.flit_bytes != 0) {
    return divided(bytes, config.flit_payload_bytes) * config.flit_bytes - kWireOverheadBytes;
  }
  return std::max(kMinFrameBytes, bytes);
}

void NicEntity::offer(TxStream& stream, ps_t now_ps) {
  if (!stream.ready && stream.sendable()) {
    stream.ready = true;
    cards_[stream.card].ready.push(place_of(stream));
  }
  inject(stream.card, now_ps);
}

void NicEntity::inject(std::uint32_t card, ps_t now_ps) {
  Card& own = cards_[card];
  const auto has_room = [this, &own] {
    return own.in_pipe < config_.tx_depth_pkts &&
           (config_.tx_depth_bytes == 0 || own.in_pipe_bytes < config_.tx_depth_bytes);
  };
  while (has_room() && !own.ready.empty()) {
    const std::uint32_t place = own.ready.pop();
    TxStream& stream = tx_[place];
    while (!stream.holes.empty() && stream.arrived(stream.holes.front())) stream.holes.pop();
    if (stream.sendable()) {
      if (!stream.holes.empty()) {
        send_packet(stream, stream.holes.pop(), now_ps);
      } else {
        if (stream.next_psn == stream.end_psn) close_batch(stream);
        send_packet(stream, stream.next_psn++, now_ps);
      }
    }
    stream.ready = stream.sendable();
    if (stream.ready) own.ready.push(place);
  }
}

void NicEntity::send_packet(TxStream& stream, std::uint64_t psn, ps_t now_ps) {
  const bool first_time = psn >= stream.high_psn;
  const std::size_t place = stream.find(psn, first_time ? stream.sending : 0);
  if (first_time) stream.sending = place;
  const TxMessage& message = stream.messages.at(place);
  const bool begins = !stream.outstanding() && reliability_.acknowledges();
  if (begins) {
    stream.probed = false;
    ++outstanding_streams_;
  }
  if (first_time) {
    stream.high_psn = psn + 1;
  } else {
    ++sent_.retransmits;
    for_records(message.record, message.count,
                [this](std::uint32_t record) { ++group_.tx_records[record].retransmits; });
  }
  ++sent_.packets;
  ++cards_[stream.card].in_pipe;
  Frame* frame = make_data(stream, message, psn);
  cards_[stream.card].in_pipe_bytes += frame->payload_bytes;
  if (stream.congestion != nullptr) note_sent(stream, psn, *frame, now_ps);
  if (own_send_stages_ == 0) {
    frame->time_ps = send_.pass(now_ps, frame->payload_bytes);
    to_wire(frame);
  } else {
    frame->time_ps = send_.pass_some(0, own_send_stages_, now_ps, frame->payload_bytes, stream.card);
    Ring<Frame*>& lane = cards_[stream.card].lane;
    if (lane.empty()) slots_.set(slot_of(stream.card, kCardLane), frame->time_ps);
    lane.push(frame);
  }
  if (!reliability_.acknowledges()) {
    stream.una_psn = stream.high_psn;
    retire(stream, now_ps);
  } else if (begins) {
    set_deadline(stream, now_ps + patience_ps());
  }
}

// A frame leaves the stages that its card has for itself.
void NicEntity::leave_card(std::uint32_t card, ps_t now_ps) {
  Ring<Frame*>& lane = cards_[card].lane;
  Frame* frame = lane.pop();
  slots_.set(slot_of(card, kCardLane), lane.empty() ? kNever : lane.front()->time_ps);
  frame->time_ps = send_.pass_some(own_send_stages_, send_.size(), now_ps, frame->payload_bytes, card);
  to_wire(frame);
}

void NicEntity::to_wire(Frame* frame) {
  if (wire_lane_.empty()) slots_.set(kWireReady, frame->time_ps);
  wire_lane_.push(frame);
}

void NicEntity::note_sent(TxStream& stream, std::uint64_t psn, const Frame& frame, ps_t now_ps) {
  stream.flight->sent(psn, frame.payload_bytes, now_ps);
  stream.congestion->sent(now_ps, frame.payload_bytes);
  const std::uint64_t ps_per_kib = stream.congestion->ps_per_kib(now_ps);
  if (ps_per_kib == 0) return;
  const std::uint64_t on_wire_bytes = frame.frame_bytes + kWireOverheadBytes;  // a rate is a share of the line's
  const ps_t gap_ps = (on_wire_bytes * ps_per_kib + 1023) / 1024;
  pace(stream, std::max(now_ps, stream.pace_ps) + gap_ps);
}

// No packet of the stream before `until_ps`.
void NicEntity::pace(TxStream& stream, ps_t until_ps) {
  stream.pace_ps = until_ps;
  stream.paced = true;
  wake_at({until_ps, 0, place_of(stream), Why::kPace});
}

Frame* NicEntity::make_data(TxStream& stream, const TxMessage& message, std::uint64_t psn) {
  Frame* frame = group_.take_frame();
  const auto index = static_cast<std::uint32_t>(psn - message.first_psn);
  const bool first = index == 0;
  const bool last = index + 1 == message.packets;
  frame->payload_bytes = last ? message.bytes - index * config_.mtu_bytes : config_.mtu_bytes;
  frame->psn = static_cast<std::uint32_t>(psn) & kPsnMask;
  frame->src = static_cast<std::uint16_t>(number_of(stream.card));
  frame->dst = static_cast<std::uint16_t>(stream.peer);
  frame->flags = static_cast<std::uint8_t>((first ? kFlagFirst : 0) | (last ? kFlagLast : 0));
  frame->format = config_.format;
  frame->op = message.op;
  frame->queue = static_cast<std::uint8_t>(stream.traffic_class);
  frame->dscp = static_cast<std::uint8_t>(config_.data_dscp + ((stream.traffic_class - config_.data_class) << 3));
  frame->cookie = message.record;
  if (message.count > 1) frame->credit = message.count;
  if (group_.telemetry.tracing() && group_.telemetry.traces(*frame)) frame->flags |= kFlagTraced;
  if (has_ip(config_.format)) {
    const std::uint32_t path = config_.paths == 1 ? 0 : stream.paths.next(config_.paths);
    frame->entropy = flow_entropy(frame->src, stream.peer, path);
  }
  if (message.op == Op::kGetRequest) {
    frame->message_bytes = message.request_bytes;
  } else if (config_.format == WireFormat::kTcp) {
    frame->message_bytes = static_cast<std::uint32_t>(message.first_byte + std::uint64_t{index} * config_.mtu_bytes);
  } else if (config_.format == WireFormat::kRoceV2 && first && message.op <= Op::kPutSignal) {
    frame->message_bytes = message.bytes;
  }
  if (config_.format != WireFormat::kRoceV2) {
    frame->msn = static_cast<std::uint16_t>(message.msn);
    if (!last) frame->index = static_cast<std::uint16_t>(index);
  }
  if (plain_frames_ && message.op != Op::kGetRequest) {
    const std::uint32_t header = first ? config_.first_header_bytes : config_.other_header_bytes;
    frame->frame_bytes = std::max(kMinFrameBytes, header + frame->payload_bytes);
  } else {
    frame->frame_bytes = data_frame_bytes(config_, *frame);
  }
  if (config_.int_enabled) {
    frame->telemetry = group_.telemetry.int_stacks.take();
    frame->frame_bytes += kIntShimBytes;
  }
  return frame;
}

void NicEntity::to_port(Ring<Frame*>& lane, std::uint32_t slot, ps_t now_ps) {
  Frame* frame = lane.pop();
  slots_.set(slot, lane.empty() ? kNever : lane.front()->time_ps);
  if ((frame->flags & kFlagTraced) != 0) trace_arrival(*frame, now_ps);
  const bool first = queued_ == 0;
  const bool idle = first && ports_[0].busy_until_ps <= now_ps;
  if (idle && (gate_.free() || opens_ps(*frame) <= now_ps)) {
    start_transmission(frame, now_ps);
    return;
  }
  if (first || !gate_.free()) slots_.set(kDepart, std::max(now_ps, ports_[0].busy_until_ps));
  queue_of(*frame).push(frame);
  ++queued_;
}

void NicEntity::depart(ps_t now_ps) {
  if (ports_[0].busy_until_ps > now_ps) {  // it has been woken in mid-transmission
    slots_.set(kDepart, ports_[0].busy_until_ps);
    return;
  }
  ps_t soonest_ps = kNever;
  for (std::uint32_t i = 0; i <= config_.virtual_channels; ++i) {  // acknowledgements first
    std::uint32_t channel = i == 0 ? 0 : turn_ + i - 1;
    if (channel >= config_.virtual_channels) channel -= config_.virtual_channels;
    Ring<Frame*>& queue = i == 0 ? ack_queue_ : data_queues_[channel];
    if (queue.empty()) continue;
    const ps_t opens = opens_ps(*queue.front());
    if (opens <= now_ps) {
      if (i != 0) turn_ = channel + 1 == config_.virtual_channels ? 0 : channel + 1;
      --queued_;
      start_transmission(queue.pop(), now_ps);
      slots_.set(kDepart, queued_ == 0 ? kNever : ports_[0].busy_until_ps);
      return;
    }
    soonest_ps = std::min(soonest_ps, opens);
  }
  slots_.set(kDepart, soonest_ps);
}

void NicEntity::trace_arrival(const Frame& frame, ps_t now_ps) {
  const std::uint32_t c = frame.queue;
  HopSample& stop = group_.telemetry.ready(frame, id(), 0, c, gate_.stopped_ps(c, now_ps), now_ps);
  Ring<Frame*>& queue = queue_of(frame);
  for (std::size_t i = 0; i < queue.size(); ++i) stop.ahead_bytes += queue.at(i)->frame_bytes;
}

void NicEntity::start_transmission(Frame* frame, ps_t now_ps) {
  ++sent_.frames;
  sent_.octets += frame->frame_bytes;
  gate_.sent(frame->queue, frame->frame_bytes);
  if ((frame->flags & kFlagTraced) != 0) {
    group_.telemetry.leaves(*frame, gate_.stopped_ps(frame->queue, now_ps), now_ps);
  }
  if (frame->opcode != Opcode::kData) {
    transmit(0, frame, now_ps);
    return;
  }
  if ((frame->flags & kFlagFirst) != 0) {
    for_records(frame->cookie, frame->credit, [this, now_ps](std::uint32_t record) {
      ps_t& first = group_.tx_records[record].first_byte_ps;
      first = std::min(first, now_ps);
    });
  }
  const std::uint32_t card = card_of(frame->src);
  cards_[card].in_pipe_bytes -= frame->payload_bytes;
  transmit(0, frame, now_ps);
  --cards_[card].in_pipe;
  inject(card, now_ps);
}

TxStream& NicEntity::tx_stream(std::uint32_t card, std::uint32_t peer, Op kind) {
  std::vector<std::uint32_t>& places = tx_places_[kind == Op::kGetResponse ? 1 : 0];
  const std::size_t key = std::size_t{peer} * config_.cards + card;
  if (key >= places.size()) places.resize(key + 1, 0);
  if (places[key] == 0) {
    TxStream& stream = tx_.emplace_back();
    stream.peer = peer;
    stream.card = card;
    stream.kind = kind;
    stream.window_pkts = config_.window_pkts;
    stream.traffic_class = config_.data_class + static_cast<std::uint32_t>(tx_.size() - 1) % config_.virtual_channels;
    if (!config_.congestion.empty()) {
      PartParameters parameters(config_.congestion, config_.congestion_parameters);
      stream.congestion = CongestionParts::get(config_.congestion)(
          {.byte_time_ps = ports_[0].byte_time_ps, .mtu_bytes = config_.mtu_bytes}, parameters);
      stream.flight = std::make_unique<Flight>();
    }
    places[key] = static_cast<std::uint32_t>(tx_.size());
  }
  return tx_[places[key] - 1];
}

}  // namespace tb
