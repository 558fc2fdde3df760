// A frame as the models see it: the fields that its real headers carry, and nothing else that a receiver may use.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "types.hpp"

namespace tb {

/// What a frame is for; the wire format decides how it is written.
enum class Opcode : std::uint8_t {
  kData = 0,
  kAck = 1,
  kNack = 2,
  kTrimmed = 3,   // data whose payload a switch has cut
  kPause = 4,     // MAC control: priority-based flow control, IEEE 802.1Qbb
  kCredit = 5,    // MAC control: cells that a receiver has freed (credit-based flow control)
  kCnp = 6,       // congestion notification to the sender of a marked packet
  kNotReady = 7,  // nack: no receive is posted for the message that starts with `psn`
};

/// What the message of a data frame asks for; in an acknowledgement kGetResponse says that it is of the responses.
enum class Op : std::uint8_t {
  kPut = 0,          // write to the receiver's memory
  kPutSignal = 1,    // and then tell the receiver (RDMA: write with immediate)
  kSend = 2,         // into the receive that the receiver has posted next
  kGetRequest = 3,   // read `message_bytes` of the receiver's memory; has no payload
  kGetResponse = 4,  // what was asked for
};

/// Header format of a frame.
enum class WireFormat : std::uint8_t {
  kThin = 0,
  kRoceV2 = 1,
  kMacControl = 2,
  kThinUdp = 3,  // the thin header in IPv4 and UDP
  kTcp = 4,
  kUdp = 5,
  kUet = 6,            // Ultra Ethernet transport: PDS and SES in IPv4 and UDP
  kSue = 7,            // scale-up Ethernet: reliability header in IPv4 and UDP
  kSueCompressed = 8,  // and behind a compressed header
  kUalink = 9,         // flits
};

/// Whether a frame of this format has an IP header, whose code point and entropy switches read.
inline bool has_ip(WireFormat format) {
  return format == WireFormat::kRoceV2 || (format >= WireFormat::kThinUdp && format <= WireFormat::kSue);
}

inline constexpr std::uint8_t kFlagFirst = 1;    // first packet of a message
inline constexpr std::uint8_t kFlagLast = 2;     // last packet of a message
inline constexpr std::uint8_t kFlagMarked = 4;   // congestion experienced
inline constexpr std::uint8_t kFlagCorrupt = 8;  // damaged on a wire: fails its FCS
inline constexpr std::uint8_t kFlagTraced = 16;  // a run looks at it; never on a wire
inline constexpr std::uint8_t kFlagCredited =
    32;  // the switch that holds it has given its credit back; never on a wire

inline constexpr std::uint32_t kNoBuffer = 0xFFFFFFFFU;
inline constexpr std::uint32_t kNoTelemetry = 0xFFFFFFFFU;
inline constexpr std::uint32_t kPsnMask = 0xFFFFFFU;
inline constexpr std::uint32_t kClasses = 8;

struct Frame {
  ps_t time_ps = 0;                  // when the entity that holds the frame acts on it
  std::uint64_t ack_bits = 0;        // ack: packets received behind `psn`, bit 0 = psn + 1; see `note_arrival`
  std::uint32_t frame_bytes = 0;     // Ethernet frame from destination address to FCS
  std::uint32_t payload_bytes = 0;   // message bytes in this frame
  std::uint32_t psn = 0;             // 24-bit packet sequence number; ack: the next one expected
  std::uint32_t message_bytes = 0;   // RoCEv2 first packet, get: of the message; ack: marked bytes so far, 24 bits;
                                     // TCP data: low 32 bits of the first byte's number in the stream
  std::uint32_t cookie = 0;          // sender's own: record of the message; from a wire on see `note_wire`
  std::uint32_t buffer = kNoBuffer;  // real bytes, where there are any
  std::uint32_t telemetry = kNoTelemetry;  // in-band telemetry: place of its stack in the group, hops << 28
  std::uint16_t src = 0;                   // card that sent it
  std::uint16_t dst = 0;                   // card that it is for
  std::uint16_t msn = 0;      // message sequence number of the stream; selective ack: psn that caused it; 16 bits
  std::uint16_t index = 0;    // packet of the message (not in a last packet); nack: cut packet less psn, plus 1
  std::uint16_t entropy = 0;  // UDP source port, where the format has one
  std::uint16_t credit = 0;   // ack: packets granted beyond `psn`; data: messages of equal size in it, 0 for one
  std::uint16_t ingress = 0;  // port by which it came into the entity that holds it; never on the wire
  Opcode opcode = Opcode::kData;
  WireFormat format = WireFormat::kThin;
  Op op = Op::kPut;
  std::uint8_t dscp = 0;  // code point; where the format has no IP header its class selector: priority << 3
  std::uint8_t flags = 0;
  std::uint8_t queue = 0;  // class in the switch that holds it; never on the wire

  /// Priority 0 .. 7, as 802.1Q PCP.
  [[nodiscard]] std::uint32_t traffic_class() const { return dscp >> 3; }
};
static_assert(sizeof(Frame) == 64, "a frame fills one cache line");

/// What a switch notes in a data packet with telemetry while it holds it, in fields that such a packet has no use for,
/// so that the stack itself is only written to. Never on a wire.
inline void note_arrival(Frame& frame, ps_t first_bit_ps) { frame.ack_bits = first_bit_ps; }
inline void note_occupancy(Frame& frame, std::uint64_t queue_bytes) {
  frame.message_bytes = static_cast<std::uint32_t>(queue_bytes / 64);
}
/// The time that a byte takes on the wire that carries a frame, or by which it came: a slow link's is more than the
/// port's [ps].
inline void note_wire(Frame& frame, std::uint32_t byte_time_ps) { frame.cookie = byte_time_ps; }
inline std::uint32_t wire_byte_ps(const Frame& frame) { return frame.cookie; }
inline constexpr std::uint32_t kTelemetryHop = 1U << 28;
inline std::uint32_t telemetry_place(const Frame& frame) { return frame.telemetry & (kTelemetryHop - 1); }
inline std::uint32_t telemetry_hops(const Frame& frame) { return frame.telemetry / kTelemetryHop; }

/// The 16-bit number of class `c` in a MAC control frame: pause quanta, or cells freed modulo 2^16.
inline std::uint16_t control_word(const Frame& frame, std::uint32_t c) {
  if (c < 4) return static_cast<std::uint16_t>(frame.ack_bits >> (16 * c));
  return static_cast<std::uint16_t>((c < 6 ? frame.psn : frame.message_bytes) >> (16 * (c & 1U)));
}

inline void set_control_word(Frame& frame, std::uint32_t c, std::uint16_t word) {
  if (c < 4) {
    frame.ack_bits |= std::uint64_t{word} << (16 * c);
  } else {
    (c < 6 ? frame.psn : frame.message_bytes) |= std::uint32_t{word} << (16 * (c & 1U));
  }
}

/// Frames of one group; steady state allocates nothing.
class FramePool {
 public:
  Frame* take() {
    if (free_.empty()) grow();
    Frame* frame = free_.back();
    free_.pop_back();
    *frame = Frame{};
    return frame;
  }
  void give(Frame* frame) { free_.push_back(frame); }
  /// Frames in use.
  [[nodiscard]] std::size_t used() const { return slabs_.size() * kSlab - free_.size(); }

 private:
  static constexpr std::size_t kSlab = 1024;
  void grow() {
    slabs_.push_back(std::make_unique<Frame[]>(kSlab));
    free_.reserve(slabs_.size() * kSlab);
    for (std::size_t i = kSlab; i-- > 0;) free_.push_back(&slabs_.back()[i]);
  }
  std::vector<std::unique_ptr<Frame[]>> slabs_;
  std::vector<Frame*> free_;
};

}  // namespace tb
