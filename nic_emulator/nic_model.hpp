// The model of a card behind its NIC. It includes the engine's boundary and no input or output.
//
// Sending: the workload posts a message at its intended time -> `post` stages (host or device software, descriptor;
// one item per message) -> the stream's queue -> scheduler (round robin over streams with window, at most
// `tx_depth_pkts` packets under way) -> `send` stages (memory read, NIC pipeline; one item per packet) -> port.
// Receiving: last bit + `ingress_latency_ps` -> reliability -> `receive` stages (memory write; per packet) -> the
// message is delivered with its last packet -> `notify` stages (per message) -> the message is complete.
// An acknowledgement leaves `ack_latency_ps` after the packet that causes it.
//
// Keep in step: the enum `Slot` below and `NicEntity::handle`; `stream.hpp` holds what is outstanding.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <utility>
#include <vector>

#include "../testbed/engine/entity.hpp"
#include "../testbed/engine/flow_control.hpp"
#include "../testbed/engine/group.hpp"
#include "stage.hpp"
#include "stream.hpp"
#include "workload.hpp"

namespace tb {

/// How lost packets are found and sent again.
enum class Reliability : std::uint8_t { kGoBackN = 0, kSelective = 1 };

/// The class selector code point of a frame's class (RFC 2474): class << 3.
inline constexpr std::uint8_t kDscpOfClass = 0xFF;

struct NicConfig {
  WireFormat format = WireFormat::kThin;
  Reliability reliability = Reliability::kSelective;
  std::uint32_t mtu_bytes = 4096;         // payload of a full packet
  std::uint32_t first_header_bytes = 26;  // Ethernet to FCS around the payload of a first packet
  std::uint32_t other_header_bytes = 26;
  std::uint32_t ack_bytes = 64;  // whole acknowledgement frame
  std::uint8_t data_class = 3;
  std::uint8_t ack_class = 3;
  std::uint8_t data_dscp = kDscpOfClass;  // RoCEv2
  std::uint8_t ack_dscp = kDscpOfClass;
  bool int_enabled = false;               // thin: data carries in-band telemetry
  std::uint32_t reorder_window_pkts = 0;  // selective: a hole is lost once a packet so far behind it has come
  std::uint32_t window_pkts = 64;         // receiver's grant, or fixed limit of packets in flight for each stream
  std::uint32_t ack_every_pkts = 16;      // and with every last packet of a message
  std::uint32_t tx_depth_pkts = 16;
  std::uint32_t retry_limit = 7;
  ps_t ack_latency_ps = 0;
  ps_t rto_ps = 0;
  ps_t ingress_latency_ps = 0;
  ps_t pause_reaction_ps = 0;  // last bit of a pause frame to its effect
  std::vector<StageConfig> post, send, receive, notify;
};

class NicModel final : public NodeModel {
 public:
  /// Throws std::invalid_argument for what no card can have.
  NicModel(NicConfig config, WorkloadConfig workload);
  [[nodiscard]] std::unique_ptr<Entity> make(const NodeContext& context) const override;
  [[nodiscard]] Ingress ingress() const override {
    return {.delay_ps = config.ingress_latency_ps, .control_delay_ps = config.pause_reaction_ps, .last_bit = true};
  }
  /// An arrival makes the NIC acknowledge, or inject into the send stages; it never starts a waiting frame.
  [[nodiscard]] ps_t turnaround_ps() const override {
    ps_t send_ps = 0;
    for (const StageConfig& stage : config.send) send_ps += stage.latency_ps;
    return std::min(config.ack_latency_ps, send_ps);
  }
  [[nodiscard]] bool is_source() const override { return workload.arrivals != Arrivals::kNone; }
  [[nodiscard]] std::uint32_t max_frame_bytes() const override {
    const std::uint32_t stack = config.int_enabled ? kIntShimBytes + kIntMaxHops * kIntHopBytes : 0;
    return std::max(config.first_header_bytes, config.other_header_bytes) + config.mtu_bytes + stack;
  }
  NicConfig config;
  WorkloadConfig workload;
};

/// A stream gave up: its peer did not answer.
class StreamError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class NicEntity final : public ModelEntity<NicEntity> {
 public:
  NicEntity(const NodeContext& context, const NicModel& model);
  void start() override;
  void handle(std::uint32_t slot, ps_t now_ps);
  [[nodiscard]] Counters counters() const override;

 private:
  enum Slot : std::uint32_t { kArrival, kControl, kAckReady, kWireReady, kDepart, kPosted, kGenerate, kTimer, kSlots };
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
  struct Sent {
    std::uint64_t messages = 0, packets = 0, retransmits = 0, acks = 0, naks = 0, timeouts = 0;
  };
  struct Received {
    std::uint64_t messages = 0, packets = 0, duplicates = 0, out_of_order = 0, acks = 0, naks = 0;
    std::uint64_t trimmed = 0, fcs_errors = 0, pause_frames = 0;
  };

  // posting (nic_model.cpp)
  void generate(ps_t now_ps);
  void reply(ps_t now_ps);
  void next_post(ps_t generate_ps) {
    generate_ps_ = generate_ps;
    slots_.set(kGenerate, replies_.empty() ? generate_ps : std::min(generate_ps, replies_.front().time_ps));
  }
  void post(ps_t intended_ps, std::uint32_t dst, std::uint32_t bytes);
  void posted(ps_t now_ps);
  void check_done();
  // sending
  void inject(ps_t now_ps);
  void offer(TxStream& stream, ps_t now_ps);
  void send_packet(TxStream& stream, std::uint64_t psn, ps_t now_ps);
  Frame* make_data(const TxStream& stream, const TxMessage& message, std::uint64_t psn);
  void to_port(Ring<Frame*>& lane, std::uint32_t slot, Ring<Frame*>& queue, ps_t now_ps);
  void start_transmission(Frame* frame, ps_t now_ps);
  void depart(ps_t now_ps);
  [[nodiscard]] ps_t opens_ps(const Frame& frame) const {
    return gate_.free() ? 0 : gate_.opens_ps(class_of(frame), frame.frame_bytes);
  }
  [[nodiscard]] std::uint32_t class_of(const Frame& frame) const {
    return frame.opcode == Opcode::kData ? config_.data_class : config_.ack_class;
  }
  void trace_arrival(const Frame& frame, ps_t now_ps);
  // receiving and reliability (nic_reliability.cpp)
  void arrive(Frame* frame, ps_t now_ps);
  void control_arrives(Frame* frame, ps_t now_ps);
  void receive_trimmed(RxStream& stream, const Frame& frame, ps_t now_ps);
  void receive_selective(RxStream& stream, const Frame& frame, ps_t now_ps);
  void receive_go_back_n(RxStream& stream, const Frame& frame, ps_t now_ps);
  void place(RxStream& stream, const Frame& frame, std::uint64_t psn, ps_t memory_ps);
  void deliver(const RxStream& stream, std::uint64_t msn, std::uint64_t bytes, std::uint32_t marks, ps_t memory_ps);
  void acknowledge(RxStream& stream, Opcode opcode, ps_t now_ps, std::uint16_t cut = 0);
  void acknowledged(const Frame& frame, ps_t now_ps);
  void retire(TxStream& stream, ps_t now_ps);
  void queue_holes(TxStream& stream, std::uint64_t below_psn);
  static void queue_cut(TxStream& stream, std::uint64_t psn);
  void rewind(TxStream& stream, std::uint64_t psn);
  void arm(TxStream& stream, ps_t now_ps);
  void settled();
  void timer(ps_t now_ps);

  TxStream& tx_stream(std::uint32_t peer);
  RxStream& rx_stream(std::uint32_t peer);

  const NicConfig& config_;
  const WorkloadConfig& load_;
  Workload workload_;
  Pipeline post_, send_, receive_, notify_;
  std::vector<std::uint32_t> tx_by_peer_, rx_by_peer_;  // peer -> place + 1
  std::vector<TxStream> tx_;
  std::vector<RxStream> rx_;
  Ring<Posted> posted_;
  Ring<Reply> replies_;
  Ring<std::uint32_t> ready_;            // streams with something to send
  Ring<Frame*> wire_lane_, ack_lane_;    // leaving the stages, by time
  Ring<Frame*> data_queue_, ack_queue_;  // waiting for the port
  using Deadline = std::pair<ps_t, std::uint32_t>;
  std::priority_queue<Deadline, std::vector<Deadline>, std::greater<>> deadlines_;
  EgressGate gate_;
  std::uint32_t outstanding_streams_ = 0;
  std::uint32_t in_pipe_ = 0;
  ps_t generate_ps_ = kNever;  // when the workload posts next of its own accord
  std::uint64_t next_seq_ = 0;
  std::uint64_t measured_outstanding_ = 0;
  bool generation_over_ = false;
  bool done_ = false;
  Sent sent_;
  Received received_;
};

}  // namespace tb
