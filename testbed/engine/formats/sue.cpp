// Scale-up Ethernet: Broadcom's 8-byte reliability header in IPv4 and UDP, and behind a compressed header. Its layout
// is that of xdp2-dev/xdp2, src/include/sue/sue.h; docs/wire-format.md says which fields stand for something else here.
#include "codec.hpp"

namespace tb::sue {

namespace {

constexpr std::size_t kReliability = 8, kLength = 4, kAnswer = 7;
constexpr std::size_t kInUdp = kEthernet + kIp + kUdp;
constexpr std::size_t kCompressed = 4, kBehindCompressed = kEthernet + kCompressed;
constexpr unsigned kNack = 1;           // of the 2-bit op; 0 is ACK
constexpr unsigned kNoTransaction = 8;  // of the reserved bits beside it: an acknowledgement alone
constexpr unsigned kPartitionFirst = 2, kPartitionLast = 1;

std::size_t own_bytes(const Frame& frame) {
  if (!is_data(frame)) return kReliability + kAnswer;
  if (frame.op == Op::kGetRequest) return kReliability + kLength;
  return kReliability + (whole_message(frame) ? kBatchEntry * frame.credit : 0U);
}

std::size_t whole_header(const Frame& frame, const IntStack* /*stack*/) { return kInUdp + own_bytes(frame); }

std::size_t header_bytes_compressed(const Frame& frame, const IntStack* /*stack*/) {
  return kBehindCompressed + own_bytes(frame);
}

// 16 bits of the frame travel in front of the reliability header.
std::uint16_t outside_of(const Frame& frame) { return is_data(frame) ? frame.msn : frame.index; }

void put_own(const Frame& frame, unsigned char* out) {
  const bool data = is_data(frame);
  const unsigned op = frame.opcode == Opcode::kNack ? kNack : 0U;
  const std::uint32_t psn = frame.opcode == Opcode::kAck ? (frame.psn - 1) & kPsnMask : frame.psn;
  const unsigned opaque = (static_cast<unsigned>(frame.op) << 1) | (frame.opcode == Opcode::kTrimmed ? 1U : 0U);
  unsigned partition = (psn >> 16) << 2;
  if (data) {
    partition |=
        (has_flag(frame, kFlagFirst) ? kPartitionFirst : 0U) | (has_flag(frame, kFlagLast) ? kPartitionLast : 0U);
  }
  put(out, (op << 12) | (data ? 0U : kNoTransaction << 8) | (frame.src & 0x3FFU), 2);
  put(out + 2, data ? psn & 0xFFFFU : frame.msn, 2);
  put(out + 4, ((frame.traffic_class() & 3U) << 14) | (opaque << 10) | partition, 2);
  if (!data) {
    put(out + 6, psn & 0xFFFFU, 2);
    put(out + 8, frame.credit, 2);
    put(out + 10, frame.message_bytes, 3);
    put(out + 13, 0, 2);
    return;
  }
  put(out + 6, has_flag(frame, kFlagLast) ? frame.credit : frame.index, 2);
  if (frame.op == Op::kGetRequest) put(out + kReliability, frame.message_bytes, kLength);
  if (frame.credit != 0) put_batch(frame, out + kReliability);
}

bool get_answer(std::span<const unsigned char> at, unsigned op, std::uint32_t high, Frame& frame) {
  if (at.size() < kReliability + kAnswer || op > kNack || get16(&at[13]) != 0) return false;
  frame.opcode = op == kNack ? Opcode::kNack : Opcode::kAck;
  frame.psn = (high << 16) | get16(&at[6]);
  if (op != kNack) frame.psn = (frame.psn + 1) & kPsnMask;
  frame.msn = get16(&at[2]);
  frame.credit = get16(&at[8]);
  frame.message_bytes = static_cast<std::uint32_t>(get(&at[10], 3));
  return true;
}

bool get_data(std::span<const unsigned char> at, std::uint32_t high, Frame& frame) {
  frame.psn = (high << 16) | get16(&at[2]);
  const std::uint16_t word = get16(&at[6]);
  if (!has_flag(frame, kFlagLast)) {
    frame.index = word;
    return true;
  }
  if (frame.op == Op::kGetRequest) {
    if (at.size() < kReliability + kLength) return false;
    frame.message_bytes = get32(&at[kReliability]);
    return word == 0;
  }
  if (word == 0) return true;
  const Op op = frame.op;
  if (at.size() < kReliability + kBatchEntry || !get_batch(at.subspan(kReliability), frame)) return false;
  return frame.op == op && frame.credit == word;
}

// `at` has at least the header. The frame has its class.
bool get_own(std::span<const unsigned char> at, Frame& frame) {
  const unsigned word = get16(&at[0]);
  const unsigned more = get16(&at[4]);
  const unsigned opaque = (more >> 10) & 0xFU;
  const std::uint32_t high = (more >> 2) & 0xFFU;
  if (word >> 14 != 0 || (word & 0x3FFU) != (frame.src & 0x3FFU) || more >> 14 != (frame.traffic_class() & 3U) ||
      opaque >> 1 > static_cast<unsigned>(Op::kGetResponse)) {
    return false;
  }
  const unsigned op = word >> 12;
  const unsigned reserved = (word >> 8) & 0xCU;
  frame.op = static_cast<Op>(opaque >> 1);
  if (reserved == kNoTransaction) return (opaque & 1U) == 0 && (more & 3U) == 0 && get_answer(at, op, high, frame);
  if (reserved != 0 || op != 0) return false;
  if ((opaque & 1U) != 0) frame.opcode = Opcode::kTrimmed;
  set_flag(frame, kFlagFirst, (more & kPartitionFirst) != 0);
  set_flag(frame, kFlagLast, (more & kPartitionLast) != 0);
  return get_data(at, high, frame);
}

void set_outside(Frame& frame, std::uint16_t word) { (is_data(frame) ? frame.msn : frame.index) = word; }

void put_frame(const Frame& frame, const IntStack* /*stack*/, unsigned char* at) {
  put_ethernet(frame, at, kIpEtherType);
  put_ip_udp(frame, at + kEthernet, kSuePort, own_bytes(frame) + frame.payload_bytes, outside_of(frame));
  put_own(frame, at + kInUdp);
}

bool get_frame(std::span<const unsigned char> bytes, Frame& frame, IntStack& /*stack*/) {
  std::size_t behind = 0;
  std::uint16_t id = 0;
  if (!get_ip_udp(&bytes[kEthernet], frame, behind, id) || !get_own(bytes.subspan(kInUdp), frame)) return false;
  set_outside(frame, id);
  return behind == own_bytes(frame) + frame.payload_bytes;
}

void put_compressed(const Frame& frame, const IntStack* /*stack*/, unsigned char* at) {
  put_ethernet(frame, at, kSueCompressedEtherType);
  put(at + kEthernet, (frame.traffic_class() << 5) | (has_flag(frame, kFlagMarked) ? 0x10U : 0U), 1);
  put(at + kEthernet + 1, 0, 1);
  put(at + kEthernet + 2, outside_of(frame), 2);
  put_own(frame, at + kBehindCompressed);
}

bool get_compressed(std::span<const unsigned char> bytes, Frame& frame, IntStack& /*stack*/) {
  const unsigned char* at = &bytes[kEthernet];
  frame.dscp = dscp_of_class(at[0] >> 5);
  set_flag(frame, kFlagMarked, (at[0] & 0x10U) != 0);
  if ((at[0] & 0x0FU) != 0 || at[1] != 0 || !get_own(bytes.subspan(kBehindCompressed), frame)) return false;
  set_outside(frame, get16(at + 2));
  return true;
}

}  // namespace

}  // namespace tb::sue

namespace tb {

const Codec kSueCodec = {
    .least = {54, 54, 64},
    .opcodes = kDataAndAnswers,
    .bitmap = false,
    .most_payload = 1U << 14,
    .batches = true,
    .header_bytes = sue::whole_header,
    .put = sue::put_frame,
    .get = sue::get_frame,
};

const Codec kSueCompressedCodec = {
    .least = {16, 16, 64},
    .opcodes = kDataAndAnswers,
    .bitmap = false,
    .most_payload = 1U << 14,
    .batches = true,
    .unmodelled = kEthernet,
    .header_bytes = sue::header_bytes_compressed,
    .put = sue::put_compressed,
    .get = sue::get_compressed,
};

}  // namespace tb
