// Restarts of `NicEntity`: what is in it is lost, what its cards know of their streams is kept.
#include "nic_model.hpp"

namespace tb {

void NicEntity::start_restarts() {
  if (config_.restarts.empty()) return;
  require(ports_[0].peer_credits == 0,
          "a NIC that restarts forgets its credits: no credit-based flow control on its link");
  slots_.set(restart_slot_, config_.restarts.front().first);
}

// Its slot is the last, so that whatever else happens at the same time has happened.
void NicEntity::restart(ps_t now_ps) {
  const auto [from_ps, until_ps] = config_.restarts[next_restart_];
  if (now_ps == from_ps) {
    go_off(until_ps, now_ps);
    slots_.set(restart_slot_, until_ps);
    return;
  }
  go_on(now_ps);
  ++next_restart_;
  slots_.set(restart_slot_, next_restart_ == config_.restarts.size() ? kNever : config_.restarts[next_restart_].first);
}

void NicEntity::go_off(ps_t until_ps, ps_t now_ps) {
  on_ps_ = until_ps;
  for (Ring<Frame*>* frames : {&wire_lane_, &ack_lane_, &ack_queue_}) discard_all(*frames, now_ps);
  for (Ring<Frame*>& frames : data_queues_) discard_all(frames, now_ps);
  queued_ = 0;
  send_.clear();
  for (const Slot slot : {kAckReady, kWireReady, kDepart}) slots_.set(slot, kNever);
  const std::uint32_t opened = gate_.open(now_ps);
  for (std::uint32_t c = config_.data_class; c < config_.data_class + config_.virtual_channels; ++c) {
    if ((opened >> c & 1U) != 0) group_.telemetry.add_pause(now_ps, id(), 0, c, SampleKind::kPauseReceived, false);
  }
  for (std::uint32_t card = 0; card < cards_.size(); ++card) {
    Card& own = cards_[card];
    if (!own.lane.empty()) slots_.set(slot_of(card, kCardLane), kNever);
    discard_all(own.lane, now_ps);
    own.in_pipe = 0;
    own.in_pipe_bytes = 0;
    for (std::size_t i = 0; i < own.posted.size() && own.posted.at(i).time_ps < until_ps; ++i) {
      Posted& work = own.posted.at(i);
      work.time_ps = until_ps;
      if (work.record != kNoRecord) group_.tx_records[work.record].posted_ps = until_ps;
    }
    if (!own.posted.empty()) slots_.set(slot_of(card, kCardPosted), own.posted.front().time_ps);
    next_post(card, own.generate_ps);
  }
  if (!local_messages_.empty()) slots_.set(kLocal, when_on(local_messages_.top().time_ps));
  set_timer();
}

void NicEntity::go_on(ps_t now_ps) {
  for (std::uint32_t card = 0; card < cards_.size(); ++card) inject(card, now_ps);
}

void NicEntity::discard_all(Ring<Frame*>& frames, ps_t now_ps) {
  while (!frames.empty()) discard(frames.pop(), now_ps);
}

void NicEntity::discard(Frame* frame, ps_t now_ps) {
  ++received_.restart_discards;
  if ((frame->flags & kFlagTraced) != 0) group_.telemetry.close(*frame, now_ps, HopOutcome::kDropped);
  group_.drop_frame(frame);
}

}  // namespace tb
