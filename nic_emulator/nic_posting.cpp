// Posting and completion of `NicEntity`: workloads, messages that share a packet, messages between neighbours.
#include "nic_model.hpp"

namespace tb {

namespace {

// Messages in a packet. Where packets of a window overtake each other, 64 of them must hold less than half of the
// messages that 16 bits number, or a late one is taken for one of the next round.
constexpr std::size_t kMostShared = 512;
constexpr std::size_t kMostInOrder = 0xFFFF;

}  // namespace

void NicEntity::card_event(std::uint32_t card, std::uint32_t which, ps_t now_ps) {
  if (which == kCardPosted) {
    posted(card, now_ps);
  } else if (which == kCardLane) {
    leave_card(card, now_ps);
  } else if (cards_[card].generate_ps <= now_ps) {
    generate(card, now_ps);
  } else {
    reply(card, now_ps);
  }
}

void NicEntity::next_post(std::uint32_t card, ps_t generate_ps) {
  Card& own = cards_[card];
  own.generate_ps = generate_ps;
  const ps_t reply_ps = own.replies.empty() ? kNever : own.replies.front().time_ps;
  slots_.set(slot_of(card, kCardGenerate), when_on(std::min(generate_ps, reply_ps)));
}

void NicEntity::generate(std::uint32_t card, ps_t now_ps) {
  Card& own = cards_[card];
  const WorkloadConfig& load = *own.load;
  if (!own.workload.open_loop()) {
    next_post(card, kNever);
    const std::uint32_t count = load.arrivals == Arrivals::kClosed ? load.window : 1;
    for (std::uint32_t i = 0; i < count; ++i) post(card, now_ps, now_ps, own.workload.next_destination());
    return;
  }
  const ps_t intended_ps = own.generate_ps;
  next_post(card, own.workload.next_time());
  if (intended_ps >= load.measure_until_ps) own.over = true;
  if (load.arrivals == Arrivals::kRounds) {
    own.rounds.due.push(intended_ps);
    next_round(card, now_ps);
  } else {
    const std::uint32_t dst = own.workload.next_destination();
    for (std::uint32_t i = 0; i < load.batch; ++i) post(card, intended_ps, now_ps, dst);
  }
  check_done(now_ps);
}

// A message of a collective has come: of those rounds in which this card listens to `peer`, the one furthest behind.
void NicEntity::heard(Card& card, std::uint32_t peer) {
  std::vector<std::uint64_t>& got = card.rounds.got;
  const std::vector<std::uint32_t>& peers = card.load->destinations;
  std::size_t least = got.size();
  for (std::size_t round = 0; round < got.size(); ++round) {
    if (peers[got.size() + round] == peer && (least == got.size() || got[round] < got[least])) least = round;
  }
  if (least != got.size()) ++got[least];
}

// Post what is due of a collective: its first round at its time, any other once the round before has been heard.
void NicEntity::next_round(std::uint32_t card, ps_t now_ps) {
  Rounds& at = cards_[card].rounds;
  const std::vector<std::uint32_t>& peers = cards_[card].load->destinations;
  const auto rounds = static_cast<std::uint32_t>(peers.size() / 2);
  while (true) {
    if (at.next != 0 && at.got[at.next - 1] < at.begun) return;
    if (at.next == rounds) at.next = 0;
    ps_t intended_ps = now_ps;
    if (at.next == 0) {
      if (at.due.empty()) return;
      intended_ps = at.due.pop();
      ++at.begun;
    }
    post(card, intended_ps, now_ps, peers[at.next++]);
  }
}

void NicEntity::reply(std::uint32_t card, ps_t now_ps) {
  Card& own = cards_[card];
  const Reply answer = own.replies.pop();
  next_post(card, own.generate_ps);
  if (own.load->arrivals == Arrivals::kRounds) {
    heard(own, answer.dst);
    next_round(card, now_ps);
  } else if (own.load->arrivals == Arrivals::kPingPong && now_ps >= own.load->measure_until_ps) {
    own.over = true;
    check_done(now_ps);
  } else {
    post(card, now_ps, now_ps, answer.dst, answer.bytes);
  }
}

void NicEntity::post(std::uint32_t card, ps_t intended_ps, ps_t now_ps, std::uint32_t dst, std::uint32_t bytes) {
  Card& own = cards_[card];
  if (bytes == 0) bytes = static_cast<std::uint32_t>(own.load->message_bytes);
  const ps_t ready_ps = post_.pass(now_ps, bytes, card);
  std::uint32_t record = kNoRecord;
  if (intended_ps < own.load->measure_until_ps) {
    record = static_cast<std::uint32_t>(group_.tx_records.size());
    TxRecord& line = group_.tx_records.emplace_back();
    line.seq = own.next_seq;
    line.message_bytes = bytes;
    line.intended_ps = intended_ps;
    line.posted_ps = ready_ps;
    line.src = number_of(card);
    line.dst = dst;
    ++measured_outstanding_;
  }
  ++own.next_seq;
  if (own.posted.empty()) slots_.set(slot_of(card, kCardPosted), ready_ps);
  own.posted.push({ready_ps, dst, bytes, record});
}

void NicEntity::posted(std::uint32_t card, ps_t now_ps) {
  Card& own = cards_[card];
  const Posted work = own.posted.pop();
  slots_.set(slot_of(card, kCardPosted), own.posted.empty() ? kNever : own.posted.front().time_ps);
  ++sent_.messages;
  if (cards_.size() > 1 && owns(work.dst)) {
    post_local(card, work, now_ps);
    return;
  }
  TxStream& stream = tx_stream(card, work.dst, Op::kPut);
  const Op op = own.load->op;
  if (op != Op::kGetRequest && work.bytes <= config_.batch_bytes) {
    add_to_batch(stream, work, op, now_ps);
  } else {
    if (stream.batch.open()) close_batch(stream);
    queue_message(stream, work, op);
  }
  offer(stream, now_ps);
}

void NicEntity::queue_message(TxStream& stream, const Posted& work, Op op) {
  const bool get = op == Op::kGetRequest;
  TxMessage message;
  message.first_psn = stream.end_psn;
  message.msn = stream.next_msn++;
  message.first_byte = stream.end_byte;
  message.bytes = get ? 0 : work.bytes;
  message.request_bytes = get ? work.bytes : 0;
  message.packets = get ? 1 : (work.bytes + config_.mtu_bytes - 1) / config_.mtu_bytes;
  message.record = work.record;
  message.op = op;
  if (work.record != kNoRecord) group_.tx_records[work.record].msn = message.msn;
  if (get) stream.gets.push({message.msn, work.record, false});
  stream.messages.push(message);
  stream.end_psn += message.packets;
  stream.end_byte += message.bytes;
}

void NicEntity::add_to_batch(TxStream& stream, const Posted& work, Op op, ps_t now_ps) {
  Batch& batch = stream.batch;
  const std::size_t most = reliability_.in_order() ? kMostInOrder : kMostShared;
  const auto fits = [&] {
    return batch.records.size() < most && (batch.records.size() + 1) * batch.each_bytes <= config_.batch_bytes;
  };
  if (batch.open() && (batch.each_bytes != work.bytes || batch.op != op || !fits())) close_batch(stream);
  if (!batch.open()) {
    batch.each_bytes = work.bytes;
    batch.op = op;
    ++batch.number;
    if (config_.batch_delay_ps == 0) {
      stream.batch_due = true;
    } else {
      wake_at({now_ps + config_.batch_delay_ps, batch.number, place_of(stream), Why::kBatch});
    }
  }
  batch.records.push_back(work.record);
  if (!fits()) close_batch(stream);
}

void NicEntity::close_batch(TxStream& stream) {
  Batch& batch = stream.batch;
  const auto count = static_cast<std::uint16_t>(batch.records.size());
  TxMessage message;
  message.first_psn = stream.end_psn;
  message.msn = stream.next_msn;
  message.first_byte = stream.end_byte;
  message.bytes = count * batch.each_bytes;
  message.packets = 1;
  message.count = count;
  message.op = batch.op;
  for (const std::uint32_t record : batch.records) {
    if (record != kNoRecord) group_.tx_records[record].msn = stream.next_msn;
    ++stream.next_msn;
  }
  if (count == 1) {
    message.record = batch.records[0];
  } else {
    message.record = static_cast<std::uint32_t>(shared_records_.size());
    shared_records_.insert(shared_records_.end(), batch.records.begin(), batch.records.end());
    ++sent_.batches;
  }
  stream.messages.push(message);
  ++stream.end_psn;
  stream.end_byte += message.bytes;
  stream.batch_due = false;
  batch.records.clear();
}

// ------------------------------------------------------------------------------------------ between neighbours

void NicEntity::post_local(std::uint32_t card, const Posted& work, ps_t now_ps) {
  const std::uint32_t to = card_of(work.dst);
  Pipeline& path = bridge_.size() != 0 && (card ^ 1U) == to ? bridge_ : local_;
  ps_t out_ps = now_ps;
  if (cards_[card].load->op == Op::kGetRequest) out_ps = path.pass(out_ps, 0, card);
  out_ps = path.pass(out_ps, work.bytes, card);
  TxStream& numbers = tx_stream(card, work.dst, Op::kPut);
  const std::uint64_t msn = numbers.next_msn++;
  if (work.record != kNoRecord) {
    group_.tx_records[work.record].msn = msn;
    group_.tx_records[work.record].first_byte_ps = now_ps;
  }
  local_messages_.push({out_ps, msn, card, to, work.bytes, work.record});
  slots_.set(kLocal, local_messages_.top().time_ps);
}

void NicEntity::local_done(ps_t now_ps) {
  const LocalMessage message = local_messages_.top();
  local_messages_.pop();
  slots_.set(kLocal, local_messages_.empty() ? kNever : when_on(local_messages_.top().time_ps));
  const Op op = cards_[message.card].load->op;
  const bool get = op == Op::kGetRequest;
  const std::uint32_t told = get ? message.card : message.to;
  ps_t completed_ps = notify_.pass(now_ps, message.bytes, told);
  if (op == Op::kPutSignal) completed_ps = signal_.pass(completed_ps, message.bytes, told);
  ++received_.messages;
  group_.message_completed();
  group_.rx_records.push_back(
      {message.msn, now_ps, completed_ps, number_of(message.card), number_of(message.to), 0, message.bytes});
  Card& to = cards_[message.to];
  if (!get && answers(to)) {
    to.replies.push({completed_ps, number_of(message.card), message.bytes});
    next_post(message.to, to.generate_ps);
  }
  completed(message.card, message.record, now_ps);
  check_done(now_ps);
}

// -------------------------------------------------------------------------------------------------- completion

// The sender knows that a message has arrived; in a closed loop the next follows.
void NicEntity::completed(std::uint32_t card, std::uint32_t record, ps_t now_ps) {
  Card& own = cards_[card];
  if (record != kNoRecord) {
    group_.tx_records[record].acked = 1;
    --measured_outstanding_;
  }
  if (own.load->arrivals == Arrivals::kClosed) {
    if (now_ps >= own.load->measure_until_ps) own.over = true;
    if (now_ps < std::max(own.load->measure_until_ps, own.load->post_until_ps)) {
      post(card, now_ps, now_ps, own.workload.next_destination());
    }
  }
}

void NicEntity::check_done(ps_t now_ps) {
  if (done_ || measured_outstanding_ != 0) return;
  bool source = false;
  for (const Card& card : cards_) {
    if (!card.over) return;
    source = source || card.load->arrivals != Arrivals::kNone;
  }
  if (!source) return;
  done_ = true;
  if (reliability_.acknowledges()) {
    group_.source_done();
  } else {  // nobody tells when the last packet is there
    wake_at({now_ps + config_.rto_ps, 0, 0, Why::kDrained});
  }
}

}  // namespace tb
