#include "nic_model.hpp"

#include <stdexcept>

namespace tb {

namespace {

// Ethernet to FCS around a payload, as testbed/engine/wire.cpp writes it; nothing longer fits its payload pattern.
struct FormatBytes {
  std::uint32_t first, other, ack;
};
constexpr FormatBytes kThinBytes{26, 26, 64}, kRoceV2Bytes{78, 62, 66};
constexpr std::uint32_t kLargestMtuBytes = 1U << 14;

void check_format(const NicConfig& config) {
  const FormatBytes least = config.format == WireFormat::kThin ? kThinBytes : kRoceV2Bytes;
  if (config.first_header_bytes < least.first || config.other_header_bytes < least.other ||
      config.ack_bytes < least.ack) {
    throw std::invalid_argument("the wire format's headers take more bytes than this");
  }
  if (config.mtu_bytes == 0 || config.mtu_bytes > kLargestMtuBytes) {
    throw std::invalid_argument("a packet carries 1 to 16384 bytes");
  }
  if (config.data_class > 7 || config.ack_class > 7) throw std::invalid_argument("a class is 0 to 7");
  if (config.data_dscp > 63 || config.ack_dscp > 63) throw std::invalid_argument("a code point is 0 to 63");
  if (config.int_enabled && config.format != WireFormat::kThin) {
    throw std::invalid_argument("in-band telemetry travels behind the thin header only");
  }
  if (config.format == WireFormat::kRoceV2 && config.reliability == Reliability::kSelective) {
    throw std::invalid_argument("a RoCEv2 acknowledgement cannot name what arrived out of order: use go-back-N");
  }
}

void check_workload(const WorkloadConfig& workload, std::uint32_t mtu_bytes) {
  if (workload.message_bytes == 0 || workload.message_bytes > (1ULL << 30)) {
    throw std::invalid_argument("a message has 1 byte to 1 GiB");
  }
  if ((workload.message_bytes + mtu_bytes - 1) / mtu_bytes > 0xFFFF) {
    throw std::invalid_argument("a message has at most 65535 packets");
  }
  if (workload.destinations.empty() && workload.others_of < 2)
    throw std::invalid_argument("a source has a destination");
  const bool open = workload.arrivals == Arrivals::kPeriodic || workload.arrivals == Arrivals::kPoisson;
  if (open && workload.interval_ps == 0) throw std::invalid_argument("an open loop has an interval above zero");
  if (workload.arrivals == Arrivals::kClosed && workload.window == 0) {
    throw std::invalid_argument("a closed loop has at least one message outstanding");
  }
}

// Random-number purposes of the pipelines; 64 stages of room for each.
constexpr std::uint32_t kPurposePost = 0, kPurposeSend = 64, kPurposeReceive = 128, kPurposeNotify = 192;

}  // namespace

NicModel::NicModel(NicConfig given, WorkloadConfig load) : config(std::move(given)), workload(std::move(load)) {
  if (config.data_dscp == kDscpOfClass) config.data_dscp = static_cast<std::uint8_t>(config.data_class << 3);
  if (config.ack_dscp == kDscpOfClass) config.ack_dscp = static_cast<std::uint8_t>(config.ack_class << 3);
  check_format(config);
  if (config.window_pkts == 0 || config.tx_depth_pkts == 0 || config.ack_every_pkts == 0) {
    throw std::invalid_argument("window, depth and acknowledgement interval are at least one packet");
  }
  if (config.reliability == Reliability::kSelective && config.window_pkts > 64) {
    throw std::invalid_argument("a selective window is at most 64 packets, the bits of an acknowledgement");
  }
  if (config.rto_ps == 0) throw std::invalid_argument("the retransmission time-out is above zero");
  if (workload.arrivals != Arrivals::kNone) check_workload(workload, config.mtu_bytes);
}

std::unique_ptr<Entity> NicModel::make(const NodeContext& context) const {
  if (context.ports > 1) throw std::invalid_argument("a card has one port, number 0: " + context.name);
  return std::make_unique<NicEntity>(context, *this);
}

NicEntity::NicEntity(const NodeContext& context, const NicModel& model)
    : ModelEntity(context.group, context.id, context.name, 1, kSlots - 2),
      config_(model.config),
      load_(model.workload),
      workload_(model.workload, context.seed, context.id),
      post_(config_.post, context.seed, context.id, kPurposePost),
      send_(config_.send, context.seed, context.id, kPurposeSend),
      receive_(config_.receive, context.seed, context.id, kPurposeReceive),
      notify_(config_.notify, context.seed, context.id, kPurposeNotify) {}

void NicEntity::start() {
  if (load_.arrivals != Arrivals::kNone && ports_[0].wire == kNoWire) {
    throw std::invalid_argument(name() + " posts messages but has no link");
  }
  gate_.set_credits(ports_[0].peer_credits, ports_[0].peer_cell_bytes);
  if (workload_.open_loop()) {
    next_post(workload_.next_time());
  } else if (load_.arrivals != Arrivals::kNone) {
    next_post(load_.start_ps);
  }
}

void NicEntity::handle(std::uint32_t slot, ps_t now_ps) {
  switch (slot) {
    case kArrival:
      arrive(take_arrival(kArrival), now_ps);
      break;
    case kControl:
      control_arrives(take_control().frame, now_ps);
      break;
    case kAckReady:
      to_port(ack_lane_, kAckReady, ack_queue_, now_ps);
      break;
    case kWireReady:
      to_port(wire_lane_, kWireReady, data_queue_, now_ps);
      break;
    case kDepart:
      depart(now_ps);
      break;
    case kPosted:
      posted(now_ps);
      break;
    case kGenerate:
      if (generate_ps_ <= now_ps) {
        generate(now_ps);
      } else {
        reply(now_ps);
      }
      break;
    default:
      timer(now_ps);
      break;
  }
}

// ---------------------------------------------------------------------------------------------------- posting

void NicEntity::generate(ps_t now_ps) {
  const auto bytes = static_cast<std::uint32_t>(load_.message_bytes);
  if (workload_.open_loop()) {
    next_post(workload_.next_time());
    if (now_ps >= load_.measure_until_ps) generation_over_ = true;
    post(now_ps, workload_.next_destination(), bytes);
    check_done();
    return;
  }
  next_post(kNever);
  const std::uint32_t count = load_.arrivals == Arrivals::kClosed ? load_.window : 1;
  for (std::uint32_t i = 0; i < count; ++i) post(now_ps, workload_.next_destination(), bytes);
}

void NicEntity::reply(ps_t now_ps) {
  const Reply answer = replies_.pop();
  next_post(generate_ps_);
  if (load_.arrivals == Arrivals::kPingPong && now_ps >= load_.measure_until_ps) {
    generation_over_ = true;
    check_done();
  } else {
    post(now_ps, answer.dst, answer.bytes);
  }
}

void NicEntity::post(ps_t intended_ps, std::uint32_t dst, std::uint32_t bytes) {
  const ps_t ready_ps = post_.pass(intended_ps, bytes);
  std::uint32_t record = kNoRecord;
  if (intended_ps < load_.measure_until_ps) {
    record = static_cast<std::uint32_t>(group_.tx_records.size());
    TxRecord& line = group_.tx_records.emplace_back();
    line.seq = next_seq_;
    line.message_bytes = bytes;
    line.intended_ps = intended_ps;
    line.posted_ps = ready_ps;
    line.src = id();
    line.dst = dst;
    ++measured_outstanding_;
  }
  ++next_seq_;
  if (posted_.empty()) slots_.set(kPosted, ready_ps);
  posted_.push({ready_ps, dst, bytes, record});
}

void NicEntity::posted(ps_t now_ps) {
  const Posted work = posted_.pop();
  slots_.set(kPosted, posted_.empty() ? kNever : posted_.front().time_ps);
  TxStream& stream = tx_stream(work.dst);
  const std::uint32_t packets = (work.bytes + config_.mtu_bytes - 1) / config_.mtu_bytes;
  if (work.record != kNoRecord) group_.tx_records[work.record].msn = stream.next_msn;
  stream.messages.push({stream.end_psn, stream.next_msn++, work.bytes, packets, work.record});
  stream.end_psn += packets;
  ++sent_.messages;
  offer(stream, now_ps);
}

void NicEntity::check_done() {
  if (done_ || !generation_over_ || measured_outstanding_ != 0 || load_.arrivals == Arrivals::kNone) return;
  done_ = true;
  group_.source_done();
}

// ---------------------------------------------------------------------------------------------------- sending

void NicEntity::offer(TxStream& stream, ps_t now_ps) {
  if (!stream.ready && stream.sendable()) {
    stream.ready = true;
    ready_.push(static_cast<std::uint32_t>(&stream - tx_.data()));
  }
  inject(now_ps);
}

void NicEntity::inject(ps_t now_ps) {
  while (in_pipe_ < config_.tx_depth_pkts && !ready_.empty()) {
    const std::uint32_t place = ready_.pop();
    TxStream& stream = tx_[place];
    while (!stream.holes.empty() && stream.arrived(stream.holes.front())) stream.holes.pop();
    if (!stream.holes.empty()) {
      send_packet(stream, stream.holes.pop(), now_ps);
    } else if (stream.sendable()) {
      send_packet(stream, stream.next_psn++, now_ps);
    }
    stream.ready = stream.sendable();
    if (stream.ready) ready_.push(place);
  }
}

void NicEntity::send_packet(TxStream& stream, std::uint64_t psn, ps_t now_ps) {
  const bool first_time = psn >= stream.high_psn;
  const std::size_t place = stream.find(psn, first_time ? stream.sending : 0);
  if (first_time) stream.sending = place;
  const TxMessage& message = stream.messages.at(place);
  if (!stream.outstanding()) {
    stream.deadline_ps = now_ps + config_.rto_ps;
    ++outstanding_streams_;
  }
  if (first_time) {
    stream.high_psn = psn + 1;
  } else {
    ++sent_.retransmits;
    if (message.record != kNoRecord) ++group_.tx_records[message.record].retransmits;
  }
  ++sent_.packets;
  ++in_pipe_;
  Frame* frame = make_data(stream, message, psn);
  frame->time_ps = send_.pass(now_ps, frame->payload_bytes);
  if (wire_lane_.empty()) slots_.set(kWireReady, frame->time_ps);
  wire_lane_.push(frame);
  if (!stream.timed) arm(stream, now_ps);
}

Frame* NicEntity::make_data(const TxStream& stream, const TxMessage& message, std::uint64_t psn) {
  Frame* frame = group_.take_frame();
  const auto index = static_cast<std::uint32_t>(psn - message.first_psn);
  const bool first = index == 0;
  const bool last = index + 1 == message.packets;
  frame->payload_bytes = last ? message.bytes - index * config_.mtu_bytes : config_.mtu_bytes;
  const std::uint32_t header = first ? config_.first_header_bytes : config_.other_header_bytes;
  const std::uint32_t padding = config_.format == WireFormat::kRoceV2 ? -frame->payload_bytes & 3U : 0U;
  frame->frame_bytes = std::max(kMinFrameBytes, header + frame->payload_bytes + padding);
  frame->psn = static_cast<std::uint32_t>(psn) & kPsnMask;
  frame->src = static_cast<std::uint16_t>(id());
  frame->dst = static_cast<std::uint16_t>(stream.peer);
  frame->flags = static_cast<std::uint8_t>((first ? kFlagFirst : 0) | (last ? kFlagLast : 0));
  frame->format = config_.format;
  frame->dscp = config_.data_dscp;
  frame->cookie = message.record;
  if (group_.telemetry.tracing() && group_.telemetry.traces(*frame)) frame->flags |= kFlagTraced;
  if (config_.int_enabled) {
    frame->telemetry = group_.telemetry.int_stacks.take();
    frame->frame_bytes += kIntShimBytes;
  }
  if (config_.format == WireFormat::kRoceV2) {
    frame->entropy = flow_entropy(id(), stream.peer);
    if (first) frame->message_bytes = message.bytes;
  } else {
    frame->msn = static_cast<std::uint16_t>(message.msn);
    if (!last) frame->index = static_cast<std::uint16_t>(index);
  }
  return frame;
}

void NicEntity::to_port(Ring<Frame*>& lane, std::uint32_t slot, Ring<Frame*>& queue, ps_t now_ps) {
  Frame* frame = lane.pop();
  slots_.set(slot, lane.empty() ? kNever : lane.front()->time_ps);
  if ((frame->flags & kFlagTraced) != 0) trace_arrival(*frame, now_ps);
  const bool first = ack_queue_.empty() && data_queue_.empty();
  const bool idle = first && ports_[0].busy_until_ps <= now_ps;
  if (idle && (gate_.free() || opens_ps(*frame) <= now_ps)) {
    start_transmission(frame, now_ps);
    return;
  }
  if (first || !gate_.free()) slots_.set(kDepart, std::max(now_ps, ports_[0].busy_until_ps));
  queue.push(frame);
}

void NicEntity::depart(ps_t now_ps) {
  if (ports_[0].busy_until_ps > now_ps) {  // it has been woken in mid-transmission
    slots_.set(kDepart, ports_[0].busy_until_ps);
    return;
  }
  ps_t soonest_ps = kNever;
  for (Ring<Frame*>* queue : {&ack_queue_, &data_queue_}) {
    if (queue->empty()) continue;
    const ps_t opens = opens_ps(*queue->front());
    if (opens <= now_ps) {
      start_transmission(queue->pop(), now_ps);
      slots_.set(kDepart, ack_queue_.empty() && data_queue_.empty() ? kNever : ports_[0].busy_until_ps);
      return;
    }
    soonest_ps = std::min(soonest_ps, opens);
  }
  slots_.set(kDepart, soonest_ps);
}

void NicEntity::trace_arrival(const Frame& frame, ps_t now_ps) {
  const std::uint32_t c = config_.data_class;
  HopSample& stop = group_.telemetry.ready(frame, id(), 0, c, gate_.stopped_ps(c, now_ps), now_ps);
  for (std::size_t i = 0; i < data_queue_.size(); ++i) stop.ahead_bytes += data_queue_.at(i)->frame_bytes;
}

void NicEntity::start_transmission(Frame* frame, ps_t now_ps) {
  gate_.sent(class_of(*frame), frame->frame_bytes);
  if ((frame->flags & kFlagTraced) != 0) {
    group_.telemetry.leaves(*frame, gate_.stopped_ps(config_.data_class, now_ps), now_ps);
  }
  if (frame->opcode != Opcode::kData) {
    transmit(0, frame, now_ps);
    return;
  }
  if (frame->cookie != kNoRecord && (frame->flags & kFlagFirst) != 0) {
    ps_t& first = group_.tx_records[frame->cookie].first_byte_ps;
    first = std::min(first, now_ps);
  }
  frame->cookie = 0;
  transmit(0, frame, now_ps);
  --in_pipe_;
  inject(now_ps);
}

TxStream& NicEntity::tx_stream(std::uint32_t peer) {
  if (peer >= tx_by_peer_.size()) tx_by_peer_.resize(peer + std::size_t{1}, 0);
  if (tx_by_peer_[peer] == 0) {
    TxStream& stream = tx_.emplace_back();
    stream.peer = peer;
    stream.window_pkts = config_.window_pkts;
    tx_by_peer_[peer] = static_cast<std::uint32_t>(tx_.size());
  }
  return tx_[tx_by_peer_[peer] - 1];
}

Counters NicEntity::counters() const {
  return {{"tx_messages", sent_.messages},
          {"tx_packets", sent_.packets},
          {"tx_retransmits", sent_.retransmits},
          {"tx_acks", sent_.acks},
          {"tx_naks", sent_.naks},
          {"tx_timeouts", sent_.timeouts},
          {"rx_messages", received_.messages},
          {"rx_packets", received_.packets},
          {"rx_duplicates", received_.duplicates},
          {"rx_out_of_order", received_.out_of_order},
          {"rx_acks", received_.acks},
          {"rx_naks", received_.naks},
          {"rx_trimmed", received_.trimmed},
          {"rx_fcs_errors", received_.fcs_errors},
          {"rx_pause_frames", received_.pause_frames},
          {"pause_rx_ps", gate_.stopped_ps(config_.data_class, group_.now_ps())}};
}

}  // namespace tb
