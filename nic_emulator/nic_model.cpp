#include "nic_model.hpp"

#include <stdexcept>

#include "../testbed/engine/wire.hpp"

namespace tb {

namespace {

constexpr std::uint32_t kLargestMtuBytes = 1U << 14;
constexpr std::uint32_t kMostCards = 4;

void check_format(const NicConfig& config) {
  const FormatBytes least = least_bytes(config.format);
  require(config.first_header_bytes >= least.first && config.other_header_bytes >= least.other &&
              config.ack_bytes >= least.ack,
          "the wire format's headers take more bytes than this");
  const FormatLimits limits = limits_of(config.format);
  require(config.mtu_bytes != 0 && config.mtu_bytes <= kLargestMtuBytes, "a packet carries 1 to 16384 bytes");
  require(config.batch_bytes == 0 || limits.batches, "a packet of this format holds one message");
  require(config.virtual_channels >= 1 && config.data_class + config.virtual_channels <= kClasses,
          "virtual channels are classes, 0 to 7");
  require(config.ack_class < kClasses, "a class is 0 to 7");
  require(config.data_dscp <= 63 && config.ack_dscp <= 63, "a code point is 0 to 63");
  require(!config.int_enabled || config.format == WireFormat::kThin,
          "in-band telemetry travels behind the thin header only");
  require(config.batch_bytes <= config.mtu_bytes, "messages share packets of at most the largest payload");
  require(!config.int_enabled || config.batch_bytes == 0, "a packet with telemetry holds one message");
  require(config.unit_header_bytes == 0 || config.unit_bytes != 0, "a unit has at least one byte");
  require(config.flit_bytes == 0 || (config.flit_payload_bytes != 0 && config.flit_payload_bytes <= config.flit_bytes &&
                                     config.flit_bytes > kWireOverheadBytes + kMinFrameBytes),
          "a flit has more bytes than the smallest frame, and some of them are payload");
}

// How many packets a receiver may take before it answers: never more than its sender may have in flight.
std::uint32_t ack_interval_pkts(const NicConfig& config) {
  std::uint64_t most = std::min(config.ack_every_pkts, config.window_pkts);
  if (!config.congestion.empty()) {
    PartParameters parameters(config.congestion, config.congestion_parameters);
    const auto part = CongestionParts::get(config.congestion)({.mtu_bytes = config.mtu_bytes}, parameters);
    parameters.finish();
    most = std::min(most, std::max(part->least_window_bytes() / std::max(config.mtu_bytes, 1U), std::uint64_t{1}));
  }
  return static_cast<std::uint32_t>(most);
}

void check_transport(const NicConfig& config, const Reliability& reliability) {
  require(config.window_pkts != 0 && config.tx_depth_pkts != 0 && config.ack_every_pkts != 0,
          "window, depth and acknowledgement interval are at least one packet");
  require(!reliability.selective() || config.window_pkts <= 64,
          "a selective window is at most 64 packets, the bits of an acknowledgement");
  require(!reliability.selective() || limits_of(config.format).bitmap,
          "an acknowledgement of RoCEv2 or SUE cannot name what arrived out of order: use go-back-N");
  require(config.rto_ps != 0, "the retransmission time-out is above zero");
  require(config.tlp_ps < config.rto_ps, "a tail-loss probe comes before the time-out");
  require(config.paths >= 1 && config.paths <= kMostPaths, "a stream has 1 to 64 paths");
  require(config.paths == 1 || has_ip(config.format), "only a format with UDP ports can spray over paths");
  require(config.receive_depth == 0 || reliability.in_order(), "receives are counted for go-back-N only");
  require(config.receive_depth == 0 || config.rnr_timer_ps != 0, "a sender without receive waits for some time");
  require(config.cnp_interval_ps == 0 || config.format == WireFormat::kRoceV2,
          "congestion notification packets are of RoCEv2");
  require(!config.ordered || reliability.acknowledges(), "only a reliable stream can keep an order");
  require(config.congestion.empty() || reliability.acknowledges(), "congestion control lives on acknowledgements");
}

void check_restarts(const NicConfig& config) {
  ps_t before_ps = 0;
  for (const auto& [from_ps, until_ps] : config.restarts) {
    require(before_ps <= from_ps && from_ps < until_ps && until_ps < kNever,
            "a restart ends after it begins and before the next");
    before_ps = until_ps;
  }
}

void check_workload(const NicConfig& config, const WorkloadConfig& workload) {
  require(workload.message_bytes != 0 && workload.message_bytes <= (1ULL << 30), "a message has 1 byte to 1 GiB");
  require((workload.message_bytes + config.mtu_bytes - 1) / config.mtu_bytes <= 0xFFFF,
          "a message has at most 65535 packets");
  require(!workload.destinations.empty() || workload.others_of >= 2, "a source has a destination");
  const bool open = workload.arrivals == Arrivals::kPeriodic || workload.arrivals == Arrivals::kPoisson ||
                    workload.arrivals == Arrivals::kRounds;
  require(!open || workload.interval_ps != 0, "an open loop has an interval above zero");
  require(workload.arrivals != Arrivals::kClosed || workload.window != 0,
          "a closed loop has at least one message outstanding");
  require(workload.arrivals != Arrivals::kRounds || workload.destinations.size() % 2 == 0,
          "a collective has a receiver and a sender for each round");
  require(workload.batch != 0, "a batch has at least one message");
  require(workload.op != Op::kGetResponse, "a workload puts, sends or gets");
}

// Random-number purposes of the pipelines; 64 stages of room for each.
constexpr std::uint32_t kPurposePost = 0, kPurposeSend = 64, kPurposeReceive = 128, kPurposeNotify = 192,
                        kPurposeSignal = 256, kPurposeLocal = 320, kPurposeBridge = 384;

}  // namespace

NicModel::NicModel(NicConfig given, std::vector<WorkloadConfig> loads)
    : config(std::move(given)), workloads(std::move(loads)) {
  require(config.cards >= 1 && config.cards <= kMostCards, "a NIC has 1 to 4 cards");
  require(workloads.size() == config.cards, "each card has a workload");
  if (config.data_dscp == kDscpOfClass) config.data_dscp = static_cast<std::uint8_t>(config.data_class << 3);
  if (config.ack_dscp == kDscpOfClass) config.ack_dscp = static_cast<std::uint8_t>(config.ack_class << 3);
  check_format(config);
  reliability = ReliabilityParts::get(config.reliability)({.ack_every_pkts = ack_interval_pkts(config),
                                                           .reorder_window_pkts = config.reorder_window_pkts,
                                                           .nacks = config.nacks});
  check_transport(config, *reliability);
  check_restarts(config);
  for (const WorkloadConfig& load : workloads) {
    if (load.arrivals == Arrivals::kNone) continue;
    check_workload(config, load);
    require(load.op != Op::kGetRequest || reliability->acknowledges(), "only a reliable stream can get");
  }
}

void NicModel::check_real_frames() const {
  const FormatLimits limits = limits_of(config.format);
  require(config.mtu_bytes <= limits.most_payload,
          "a packet carries more bytes than its header can tell: at most 8192 with the thin one, 16383 with others");
  for (const WorkloadConfig& load : workloads) {
    require((load.message_bytes + config.mtu_bytes - 1) / config.mtu_bytes <= limits.most_packets,
            "a message has more packets than its header can tell: at most 32768 with the thin one");
  }
}

std::unique_ptr<Entity> NicModel::make(const NodeContext& context) const {
  if (context.ports > 1) throw std::invalid_argument("a NIC has one port, number 0: " + context.name);
  return std::make_unique<NicEntity>(context, *this);
}

std::uint32_t NicModel::max_frame_bytes() const {
  const std::uint32_t stack = config.int_enabled ? kIntShimBytes + kIntMaxHops * kIntHopBytes : 0;
  Frame frame;
  frame.payload_bytes = config.mtu_bytes;
  frame.credit = static_cast<std::uint16_t>(config.batch_bytes != 0 ? std::min(config.batch_bytes, 0xFFFFU) : 0);
  frame.flags = kFlagFirst | kFlagLast;
  frame.op = Op::kPutSignal;
  return data_frame_bytes(config, frame) + stack;
}

NicEntity::NicEntity(const NodeContext& context, const NicModel& model)
    : ModelEntity(context.group, context.id, context.name, 1,
                  slots_for(model.config) - 2 + (model.config.restarts.empty() ? 0 : 1)),
      config_(model.config),
      reliability_(*model.reliability),
      first_card_(context.id * model.config.cards),
      plain_frames_(config_.format != WireFormat::kRoceV2 && config_.batch_bytes == 0 &&
                    config_.unit_header_bytes == 0 && config_.flit_bytes == 0),
      post_(config_.post, config_.cards, context.seed, context.id, kPurposePost),
      send_(config_.send, config_.cards, context.seed, context.id, kPurposeSend),
      receive_(config_.receive, config_.cards, context.seed, context.id, kPurposeReceive),
      notify_(config_.notify, config_.cards, context.seed, context.id, kPurposeNotify),
      signal_(config_.signal, config_.cards, context.seed, context.id, kPurposeSignal),
      local_(config_.local, config_.cards, context.seed, context.id, kPurposeLocal),
      bridge_(config_.bridge, config_.cards, context.seed, context.id, kPurposeBridge),
      own_send_stages_(send_.own_stages()),
      restart_slot_(slots_for(config_)) {
  require(post_.shared_first() && receive_.shared_first() && notify_.shared_first() && signal_.shared_first(),
          "stages that cards share come before those that each has for itself; the other way round in `send`");
  for (std::uint32_t card = 0; card < config_.cards; ++card) {
    cards_.emplace_back(model.workloads[card], context.seed, number_of(card));
  }
}

void NicEntity::start() {
  gate_.set_credits(ports_[0].peer_credits, ports_[0].peer_cell_bytes);
  start_restarts();
  for (std::uint32_t card = 0; card < cards_.size(); ++card) {
    Card& own = cards_[card];
    own.over = own.load->arrivals == Arrivals::kNone;
    own.rounds.got.assign(own.load->destinations.size() / 2, 0);
    if (own.over) continue;
    if (ports_[0].wire == kNoWire) throw std::invalid_argument(name() + " posts messages but has no link");
    next_post(card, own.workload.open_loop() ? own.workload.next_time() : own.load->start_ps);
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
      to_port(ack_lane_, kAckReady, now_ps);
      break;
    case kWireReady:
      to_port(wire_lane_, kWireReady, now_ps);
      break;
    case kDepart:
      depart(now_ps);
      break;
    case kTimer:
      timer(now_ps);
      break;
    default:
      if (slot == restart_slot_) {
        restart(now_ps);
      } else if (cards_.size() == 1) {
        card_event(0, slot - kPosted, now_ps);
      } else if (slot == kLocal) {
        local_done(now_ps);
      } else {
        card_event((slot - kSlots) / kCardSlots, (slot - kSlots) % kCardSlots, now_ps);
      }
      break;
  }
}

Counters NicEntity::counters() const {
  Counters all{{"tx_messages", sent_.messages},
               {"tx_frames", sent_.frames},
               {"tx_octets", sent_.octets},
               {"tx_packets", sent_.packets},
               {"tx_retransmits", sent_.retransmits},
               {"tx_acks", sent_.acks},
               {"tx_naks", sent_.naks},
               {"tx_timeouts", sent_.timeouts},
               {"tx_probes", sent_.probes},
               {"tx_not_ready", sent_.not_ready},
               {"tx_cnps", sent_.cnps},
               {"tx_shared_packets", sent_.batches},
               {"rx_messages", received_.messages},
               {"rx_frames", received_.frames},
               {"rx_octets", received_.octets},
               {"rx_packets", received_.packets},
               {"rx_duplicates", received_.duplicates},
               {"rx_out_of_order", received_.out_of_order},
               {"rx_acks", received_.acks},
               {"rx_naks", received_.naks},
               {"rx_not_ready", received_.not_ready},
               {"rx_cnps", received_.cnps},
               {"rx_incomplete", received_.incomplete},
               {"rx_trimmed", received_.trimmed},
               {"rx_ecn_marked", received_.marked},
               {"rx_fcs_errors", received_.fcs_errors},
               {"rx_pause_frames", received_.pause_frames},
               {"pause_rx_ps", gate_.stopped_ps(config_.data_class, group_.now_ps())}};
  if (!config_.restarts.empty()) all["restart_discards"] = received_.restart_discards;
  for (std::uint32_t c = 0; c < kClasses; ++c) {
    if (gate_.stops(c).frames != 0) all["c" + std::to_string(c) + ".pfc_rx"] = gate_.stops(c).frames;
  }
  return all;
}

}  // namespace tb
