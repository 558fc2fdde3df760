// The thin header, alone, behind in-band telemetry, and in IPv4 and UDP.
#include "codec.hpp"
#include "telemetry_bytes.hpp"

namespace tb::thin {

namespace {

constexpr std::size_t kHeader = 8, kLength = 4;
constexpr std::size_t kAnswer = 14;  // bitmap, what caused it, marked bytes, operation
constexpr unsigned kBatch = 5;       // kinds of a last packet: an Op, or this
constexpr std::size_t kInUdp = kEthernet + kIp + kUdp;

std::size_t own_bytes(const Frame& frame) {
  if (!is_data(frame)) return kHeader + kAnswer;
  if (!has_flag(frame, kFlagLast)) return kHeader;
  if (frame.op == Op::kGetRequest) return kHeader + kLength;
  return kHeader + kBatchEntry * frame.credit;
}

std::size_t whole_header(const Frame& frame, const IntStack* stack) {
  return kEthernet + (stack == nullptr ? 0 : stack->bytes()) + own_bytes(frame);
}

std::size_t header_bytes_udp(const Frame& frame, const IntStack* /*stack*/) { return kInUdp + own_bytes(frame); }

// `marked`: the header says it; in IPv4 the ECN field does.
void put_own(const Frame& frame, bool marked, unsigned char* out) {
  const unsigned flags =
      (has_flag(frame, kFlagFirst) ? 0x20U : 0U) | (has_flag(frame, kFlagLast) ? 0x10U : 0U) | (marked ? 0x08U : 0U);
  const unsigned first = (static_cast<unsigned>(frame.opcode) << 6) | flags | (frame.traffic_class() & 7U);
  put(out, first << 24 | frame.psn, 4);
  if (!is_data(frame)) {
    put(out + 4, frame.credit, 2);
    put(out + 6, frame.index, 2);
    put(out + 8, frame.ack_bits, 8);
    put(out + 16, frame.msn, 2);
    put(out + 18, frame.message_bytes, 3);
    put(out + 21, static_cast<unsigned>(frame.op), 1);
    return;
  }
  put(out + 4, frame.msn, 2);
  if (!has_flag(frame, kFlagLast)) {
    put(out + 6, (frame.op == Op::kGetResponse ? 0x8000U : 0U) | frame.index, 2);
    return;
  }
  const unsigned kind = frame.credit != 0 ? kBatch : static_cast<unsigned>(frame.op);
  put(out + 6, (kind << 13) | (frame.payload_bytes & 0x1FFFU), 2);
  if (frame.credit != 0) put_batch(frame, out + kHeader);
  if (frame.op == Op::kGetRequest) put(out + kHeader, frame.message_bytes, kLength);
}

bool get_answer(std::span<const unsigned char> at, Frame& frame) {
  if (at.size() < kHeader + kAnswer || at[21] > static_cast<unsigned>(Op::kGetResponse)) return false;
  frame.credit = get16(&at[4]);
  frame.index = get16(&at[6]);
  frame.ack_bits = get(&at[8], 8);
  frame.msn = get16(&at[16]);
  frame.message_bytes = static_cast<std::uint32_t>(get(&at[18], 3));
  frame.op = static_cast<Op>(at[21]);
  return true;
}

bool get_last(std::span<const unsigned char> at, Frame& frame) {
  const std::uint16_t word = get16(&at[6]);
  const unsigned kind = word >> 13;
  if ((word & 0x1FFFU) != (frame.payload_bytes & 0x1FFFU)) return false;
  if (kind == kBatch) return at.size() >= kHeader + kBatchEntry && get_batch(at.subspan(kHeader), frame);
  if (kind > kBatch) return false;
  frame.op = static_cast<Op>(kind);
  if (frame.op != Op::kGetRequest) return true;
  if (at.size() < kHeader + kLength) return false;
  frame.message_bytes = get32(&at[kHeader]);
  return true;
}

// `at` has at least the header.
bool get_own(std::span<const unsigned char> at, Frame& frame, bool& marked) {
  frame.opcode = static_cast<Opcode>(at[0] >> 6);
  set_flag(frame, kFlagFirst, (at[0] & 0x20U) != 0);
  set_flag(frame, kFlagLast, (at[0] & 0x10U) != 0);
  marked = (at[0] & 0x08U) != 0;
  frame.psn = static_cast<std::uint32_t>(get(&at[1], 3));
  if (!is_data(frame)) return get_answer(at, frame);
  frame.msn = get16(&at[4]);
  if (has_flag(frame, kFlagLast)) return get_last(at, frame);
  frame.index = get16(&at[6]) & 0x7FFFU;
  if ((at[6] & 0x80U) != 0) frame.op = Op::kGetResponse;
  return true;
}

void put_frame(const Frame& frame, const IntStack* stack, unsigned char* at) {
  put_ethernet(frame, at, stack == nullptr ? kThinEtherType : kThinIntEtherType);
  if (stack != nullptr) put_stack(*stack, at + kEthernet);
  put_own(frame, has_flag(frame, kFlagMarked), at + kEthernet + (stack == nullptr ? 0 : stack->bytes()));
}

bool get_frame(std::span<const unsigned char> bytes, Frame& frame, IntStack& stack) {
  std::size_t place = kEthernet;
  if (get16(&bytes[12]) == kThinIntEtherType) {
    if (!get_stack(bytes, stack)) return false;
    place += stack.bytes();
  }
  if (bytes.size() < place + kHeader) return false;
  frame.dscp = dscp_of_class(bytes[place]);
  bool marked = false;
  if (!get_own(bytes.subspan(place), frame, marked)) return false;
  set_flag(frame, kFlagMarked, marked);
  return place == kEthernet || is_data(frame);  // answers carry no telemetry
}

void put_udp(const Frame& frame, const IntStack* /*stack*/, unsigned char* at) {
  put_ethernet(frame, at, kIpEtherType);
  put_ip_udp(frame, at + kEthernet, kThinPort, own_bytes(frame) + frame.payload_bytes);
  put_own(frame, false, at + kInUdp);
}

bool get_udp(std::span<const unsigned char> bytes, Frame& frame, IntStack& /*stack*/) {
  std::size_t behind = 0;
  std::uint16_t id = 0;
  bool marked = false;
  if (!get_ip_udp(&bytes[kEthernet], frame, behind, id) || !get_own(bytes.subspan(kInUdp), frame, marked)) return false;
  return id == 0 && !marked && (bytes[kInUdp] & 7U) == frame.traffic_class() &&
         behind == own_bytes(frame) + frame.payload_bytes;
}

}  // namespace

}  // namespace tb::thin

namespace tb {

const Codec kThinCodec = {
    .least = {26, 26, 64},
    .opcodes = kDataAndAnswers,
    .most_payload = 1U << 13,
    .most_index = 0x7FFF,
    .batches = true,
    .header_bytes = thin::whole_header,
    .put = thin::put_frame,
    .get = thin::get_frame,
};

const Codec kThinUdpCodec = {
    .least = {54, 54, 68},
    .opcodes = kDataAndAnswers,
    .most_payload = 1U << 13,
    .most_index = 0x7FFF,
    .batches = true,
    .header_bytes = thin::header_bytes_udp,
    .put = thin::put_udp,
    .get = thin::get_udp,
};

}  // namespace tb
