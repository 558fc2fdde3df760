// The model of the cards behind a NIC. It includes the engine's boundary and no input or output.
//
// Sending: the workload of a card posts a message at its intended time -> `post` stages (host or device software,
// descriptor; one item per message) -> the stream's queue, where small messages may share a packet -> scheduler (round
// robin over the streams that may send, at most `tx_depth_pkts` packets and `tx_depth_bytes` of a card under way) ->
// `send` stages (memory read, NIC pipeline; one item per packet) -> port. Receiving: last bit + `ingress_latency_ps` ->
// reliability -> `receive` stages (memory write; per packet) -> the message is delivered with its last packet ->
// `notify` stages (per message) -> the message is complete. An acknowledgement leaves `ack_latency_ps` after the packet
// that causes it. A message to a card behind the same NIC takes the `local` or `bridge` stages instead of wire and
// reliability.
//
// nic_posting.cpp: workloads, batches, completion; nic_sending.cpp: scheduler and port; nic_receiving.cpp: arrivals;
// nic_answers.cpp: acknowledgements and timers; nic_restart.cpp: off, and on again. Keep in step: the slots below and
// `NicEntity::handle`.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "../testbed/engine/entity.hpp"
#include "../testbed/engine/flow_control.hpp"
#include "../testbed/engine/group.hpp"
#include "nic_config.hpp"
#include "reliability.hpp"
#include "stage.hpp"
#include "stream.hpp"
#include "workload.hpp"

namespace tb {

class NicModel final : public NodeModel {
 public:
  /// One workload for each card. Throws std::invalid_argument for what no card can have.
  NicModel(NicConfig config, std::vector<WorkloadConfig> workloads);
  [[nodiscard]] std::unique_ptr<Entity> make(const NodeContext& context) const override;
  [[nodiscard]] Ingress ingress() const override {
    return {.delay_ps = config.ingress_latency_ps, .control_delay_ps = config.pause_reaction_ps, .last_bit = true};
  }
  /// An arrival makes the NIC acknowledge, or inject into the send stages; it never starts a waiting frame.
  [[nodiscard]] ps_t turnaround_ps() const override {
    ps_t send_ps = 0;
    for (const StageConfig& stage : config.send) send_ps += stage.reads_payload ? 0 : stage.latency_ps;
    return std::min(config.ack_latency_ps, send_ps);
  }
  [[nodiscard]] bool is_source() const override {
    return std::any_of(workloads.begin(), workloads.end(),
                       [](const WorkloadConfig& load) { return load.arrivals != Arrivals::kNone; });
  }
  [[nodiscard]] std::uint32_t max_frame_bytes() const override;
  void check_real_frames() const override;
  NicConfig config;
  std::vector<WorkloadConfig> workloads;
  std::unique_ptr<Reliability> reliability;
};

/// A stream gave up: its peer did not answer.
class StreamError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Bytes of a data packet from Ethernet header to FCS.
std::uint32_t data_frame_bytes(const NicConfig& config, const Frame& frame);

class NicEntity final : public ModelEntity<NicEntity> {
 public:
  NicEntity(const NodeContext& context, const NicModel& model);
  void start() override;
  void handle(std::uint32_t slot, ps_t now_ps);
  [[nodiscard]] Counters counters() const override;
  [[nodiscard]] bool owns(std::uint32_t card) const override { return card / config_.cards == id(); }

 private:
  // With several cards each has the last three slots for itself, and kLocal is the one before them.
  enum Slot : std::uint32_t { kArrival, kControl, kAckReady, kWireReady, kDepart, kPosted, kGenerate, kTimer, kSlots };
  enum CardSlot : std::uint32_t { kCardPosted, kCardGenerate, kCardLane, kCardSlots };
  static constexpr std::uint32_t kLocal = kPosted;
  [[nodiscard]] static std::uint32_t slots_for(const NicConfig& config) {  // a restart's comes behind them
    return kSlots + (config.cards == 1 ? 0 : config.cards * kCardSlots);
  }
  struct Posted {
    ps_t time_ps;
    std::uint32_t dst;
    std::uint32_t bytes;
    std::uint32_t record;
  };
  struct Reply {
    ps_t time_ps;
    std::uint32_t dst;
    std::uint32_t bytes;
  };
  struct Rounds {
    Ring<ps_t> due;                  // collectives that are to begin
    std::uint64_t begun = 0;         // the one under way counts
    std::uint32_t next = 0;          // round of it that is to be posted
    std::vector<std::uint64_t> got;  // messages that have come, by round
  };
  struct Card {
    Card(const WorkloadConfig& config, std::uint64_t seed, std::uint32_t number)
        : load(&config), workload(config, seed, number) {}
    const WorkloadConfig* load;
    Workload workload;
    Ring<Posted> posted;
    Ring<Reply> replies;
    Ring<std::uint32_t> ready;  // streams with something to send
    Ring<Frame*> lane;          // leaving the card's own stages
    std::uint32_t in_pipe = 0;  // packets between scheduler and wire
    std::uint64_t in_pipe_bytes = 0;
    ps_t generate_ps = kNever;  // when the workload posts next of its own accord
    std::uint64_t next_seq = 0;
    Rounds rounds;
    bool over = false;  // it posts nothing more that is measured
  };
  struct LocalMessage {
    ps_t time_ps;
    std::uint64_t msn;
    std::uint32_t card, to, bytes, record;
    friend bool operator>(const LocalMessage& a, const LocalMessage& b) {
      return std::tie(a.time_ps, a.card, a.to, a.msn) > std::tie(b.time_ps, b.card, b.to, b.msn);
    }
  };
  /// Why a stream is looked at again.
  enum class Why : std::uint8_t { kPace, kBatch, kDrained };
  struct Wakeup {
    ps_t time_ps;
    std::uint64_t batch;
    std::uint32_t stream;
    Why why;
    friend bool operator>(const Wakeup& a, const Wakeup& b) {
      return std::tie(a.time_ps, a.stream, a.why, a.batch) > std::tie(b.time_ps, b.stream, b.why, b.batch);
    }
  };
  struct Sent {
    std::uint64_t messages = 0, packets = 0, retransmits = 0, acks = 0, naks = 0, timeouts = 0;
    std::uint64_t probes = 0, not_ready = 0, cnps = 0, batches = 0;
    std::uint64_t frames = 0, octets = 0;  // on the wire
  };
  struct Received {
    std::uint64_t messages = 0, packets = 0, duplicates = 0, out_of_order = 0, acks = 0, naks = 0;
    std::uint64_t trimmed = 0, fcs_errors = 0, pause_frames = 0, not_ready = 0, cnps = 0, incomplete = 0;
    std::uint64_t restart_discards = 0;
    std::uint64_t frames = 0, octets = 0, marked = 0;  // on the wire
  };

  // posting and completion (nic_posting.cpp)
  [[nodiscard]] std::uint32_t slot_of(std::uint32_t card, CardSlot which) const {
    const auto offset = static_cast<std::uint32_t>(which);
    return cards_.size() == 1 ? kPosted + offset : kSlots + card * kCardSlots + offset;
  }
  [[nodiscard]] std::uint32_t number_of(std::uint32_t card) const { return first_card_ + card; }
  [[nodiscard]] std::uint32_t card_of(std::uint32_t number) const { return number - first_card_; }
  void card_event(std::uint32_t card, std::uint32_t which, ps_t now_ps);
  void generate(std::uint32_t card, ps_t now_ps);
  void reply(std::uint32_t card, ps_t now_ps);
  void next_post(std::uint32_t card, ps_t generate_ps);
  static void heard(Card& card, std::uint32_t peer);
  void next_round(std::uint32_t card, ps_t now_ps);
  void post(std::uint32_t card, ps_t intended_ps, ps_t now_ps, std::uint32_t dst, std::uint32_t bytes = 0);
  /// Whether a message that is complete makes the card post another.
  [[nodiscard]] static bool answers(const Card& card) {
    const Arrivals how = card.load->arrivals;
    return card.load->reply || how == Arrivals::kPingPong || how == Arrivals::kRounds;
  }
  void posted(std::uint32_t card, ps_t now_ps);
  void queue_message(TxStream& stream, const Posted& work, Op op);
  void add_to_batch(TxStream& stream, const Posted& work, Op op, ps_t now_ps);
  void close_batch(TxStream& stream);
  void post_local(std::uint32_t card, const Posted& work, ps_t now_ps);
  void local_done(ps_t now_ps);
  void completed(std::uint32_t card, std::uint32_t record, ps_t now_ps);
  void check_done(ps_t now_ps);
  template <typename Function>
  void for_records(std::uint32_t record, std::uint16_t count, Function&& function) {
    if (count <= 1) {
      if (record != kNoRecord) function(record);
      return;
    }
    for (std::uint32_t i = 0; i < count; ++i) {
      if (shared_records_[record + i] != kNoRecord) function(shared_records_[record + i]);
    }
  }

  // sending (nic_sending.cpp)
  void inject(std::uint32_t card, ps_t now_ps);
  void offer(TxStream& stream, ps_t now_ps);
  void send_packet(TxStream& stream, std::uint64_t psn, ps_t now_ps);
  void note_sent(TxStream& stream, std::uint64_t psn, const Frame& frame, ps_t now_ps);
  void pace(TxStream& stream, ps_t until_ps);
  Frame* make_data(TxStream& stream, const TxMessage& message, std::uint64_t psn);
  void to_wire(Frame* frame);
  void leave_card(std::uint32_t card, ps_t now_ps);
  void to_port(Ring<Frame*>& lane, std::uint32_t slot, ps_t now_ps);
  [[nodiscard]] Ring<Frame*>& queue_of(const Frame& frame) {
    return frame.opcode == Opcode::kData ? data_queues_[frame.queue - config_.data_class] : ack_queue_;
  }
  void start_transmission(Frame* frame, ps_t now_ps);
  void depart(ps_t now_ps);
  [[nodiscard]] ps_t opens_ps(const Frame& frame) const {
    return gate_.free() ? 0 : gate_.opens_ps(frame.queue, frame.frame_bytes);
  }
  void trace_arrival(const Frame& frame, ps_t now_ps);
  [[nodiscard]] std::uint32_t place_of(const TxStream& stream) const {
    return static_cast<std::uint32_t>(&stream - tx_.data());
  }

  // receiving (nic_receiving.cpp)
  void arrive(Frame* frame, ps_t now_ps);
  void control_arrives(Frame* frame, ps_t now_ps);
  void receive_trimmed(RxStream& stream, const Frame& frame, ps_t now_ps);
  void receive_data(RxStream& stream, const Frame& frame, ps_t now_ps);
  [[nodiscard]] bool has_receive(RxStream& stream, const Frame& frame, std::uint64_t psn, ps_t now_ps);
  void notify_congestion(RxStream& stream, const Frame& frame, ps_t now_ps);
  void place_in_order(RxStream& stream, const Frame& frame, ps_t memory_ps, ps_t now_ps);
  void place(RxStream& stream, const Frame& frame, std::uint64_t psn, ps_t memory_ps, ps_t now_ps);
  void complete(RxStream& stream, const Arrived& message, ps_t now_ps);
  void deliver(RxStream& stream, const Arrived& message, ps_t now_ps);
  void respond(const RxStream& stream, const Arrived& message, ps_t now_ps);
  void response_here(const RxStream& stream, const Arrived& message, ps_t now_ps);
  RxStream& rx_stream(const Frame& frame);

  // acknowledgements and timers (nic_answers.cpp)
  void answer(RxStream& stream, const Frame& cause, Opcode opcode, ps_t now_ps, std::uint16_t cut = 0);
  void acknowledged(const Frame& frame, ps_t now_ps);
  void inform_congestion(TxStream& stream, const Frame& frame, ps_t now_ps);
  void not_ready(TxStream& stream, ps_t now_ps);
  void report_losses(TxStream& stream, Loss how, ps_t now_ps);
  void retire(TxStream& stream, ps_t now_ps);
  void set_deadline(TxStream& stream, ps_t time_ps);
  void enter(TxStream& stream);
  void settled();
  void timer(ps_t now_ps);
  void stream_timer(ps_t now_ps);
  void time_out(TxStream& stream, ps_t now_ps);
  void wake(ps_t now_ps);
  void wake_at(const Wakeup& wakeup);
  void set_timer();
  [[nodiscard]] ps_t patience_ps() const { return config_.tlp_ps != 0 ? config_.tlp_ps : config_.rto_ps; }
  [[noreturn]] void give_up(const TxStream& stream, const std::string& why, ps_t now_ps) const;
  // restarts (nic_restart.cpp)
  void start_restarts();
  void restart(ps_t now_ps);
  void go_off(ps_t until_ps, ps_t now_ps);
  void go_on(ps_t now_ps);
  void discard(Frame* frame, ps_t now_ps);
  void discard_all(Ring<Frame*>& frames, ps_t now_ps);
  /// When an event that is due may happen: what falls into a time when the NIC is off waits for its end.
  [[nodiscard]] ps_t when_on(ps_t due_ps) const { return std::max(due_ps, on_ps_); }

  TxStream& tx_stream(std::uint32_t card, std::uint32_t peer, Op kind);
  [[nodiscard]] TxStream* known_stream(std::uint32_t card, std::uint32_t peer, Op kind);

  const NicConfig& config_;
  const Reliability& reliability_;
  std::uint32_t first_card_;
  bool plain_frames_;  // a packet is its header and its payload
  std::vector<Card> cards_;
  Pipeline post_, send_, receive_, notify_, signal_, local_, bridge_;
  std::size_t own_send_stages_;                                      // that each card has for itself; 0 with one card
  std::array<std::vector<std::uint32_t>, 2> tx_places_, rx_places_;  // by kind; (peer, card) -> place + 1
  std::vector<TxStream> tx_;
  std::vector<RxStream> rx_;
  Ring<Frame*> wire_lane_, ack_lane_;               // leaving the stages, by time
  Ring<Frame*> ack_queue_;                          // waiting for the port
  std::array<Ring<Frame*>, kClasses> data_queues_;  // by virtual channel
  std::uint32_t queued_ = 0;                        // frames in all of these queues
  std::uint32_t turn_ = 0;                          // virtual channel that is served first
  using Deadline = std::pair<ps_t, std::uint32_t>;
  std::priority_queue<Deadline, std::vector<Deadline>, std::greater<>> deadlines_;
  std::priority_queue<Wakeup, std::vector<Wakeup>, std::greater<>> wakeups_;
  std::priority_queue<LocalMessage, std::vector<LocalMessage>, std::greater<>> local_messages_;
  std::vector<std::uint32_t> shared_records_;  // of messages that shared packets; only grows
  EgressGate gate_;
  std::uint32_t outstanding_streams_ = 0;
  std::uint64_t measured_outstanding_ = 0;
  bool done_ = false;
  std::uint32_t restart_slot_;    // where there are restarts
  std::size_t next_restart_ = 0;  // or the one under way
  ps_t on_ps_ = 0;                // the NIC is off before this
  Sent sent_;
  Received received_;
};

}  // namespace tb
