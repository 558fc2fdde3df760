// Ultra Ethernet transport 1.0 in IPv4 and UDP: packet delivery (PDS) and semantic (SES) headers. Layouts as in
// xdp2-dev/xdp2, src/include/uet/{pds,ses}.h; docs/wire-format.md says which fields stand for something else here.
#include "codec.hpp"

namespace tb::uet {

namespace {

constexpr std::size_t kPds = 12, kSes = 44, kAnswer = 32;
constexpr std::size_t kInUdp = kEthernet + kIp + kUdp;
constexpr unsigned kTypeRud = 2, kTypeAckCc = 8, kTypeNackCcx = 12;
constexpr unsigned kNextStandard = 3;  // SES standard request
constexpr unsigned kAckRequest = 0x08, kReservedTrimmed = 0x20;
constexpr unsigned kSesWrite = 1, kSesRead = 2, kSesSend = 5, kSesResponse = 0x30;  // the last: vendor defined
constexpr unsigned kHeaderData = 4, kEnd = 2, kStart = 1;
constexpr unsigned kNackTrimmed = 1, kNackInferred = 0x1A;
constexpr std::uint32_t kJob = 1;

std::size_t whole_header(const Frame& frame, const IntStack* /*stack*/) {
  return kInUdp + (is_data(frame) ? kPds + kSes : kAnswer);
}

// Type, next header and flags of any packet delivery header; then the contexts of both ends, one for each peer.
void put_prologue(unsigned type, unsigned next, unsigned flags, unsigned char* out) {
  put(out, (type << 11) | (next << 7) | flags, 2);
}

void put_contexts(const Frame& frame, unsigned char* out) {
  put(out, frame.dst, 2);
  put(out + 2, frame.src, 2);
}

bool get_contexts(const Frame& frame, const unsigned char* at) {
  return get16(at) == frame.dst && get16(at + 2) == frame.src;
}

unsigned ses_opcode(Op op) {
  if (op == Op::kSend) return kSesSend;
  if (op == Op::kGetRequest) return kSesRead;
  return op == Op::kGetResponse ? kSesResponse : kSesWrite;
}

unsigned ses_flags(const Frame& frame) {
  return (frame.op == Op::kPutSignal ? kHeaderData : 0U) | (has_flag(frame, kFlagLast) ? kEnd : 0U) |
         (has_flag(frame, kFlagFirst) ? kStart : 0U);
}

void put_request(const Frame& frame, unsigned char* pds) {
  const unsigned flags =
      (has_flag(frame, kFlagLast) ? kAckRequest : 0U) | (frame.opcode == Opcode::kTrimmed ? kReservedTrimmed : 0U);
  put_prologue(kTypeRud, kNextStandard, flags, pds);
  put(pds + 2, 0, 2);  // clear PSN offset
  put(pds + 4, frame.psn, 4);
  put_contexts(frame, pds + 8);
  unsigned char* ses = pds + kPds;
  std::memset(ses, 0, kSes);
  put(ses, ses_opcode(frame.op), 1);
  put(ses + 1, ses_flags(frame), 1);
  put(ses + 2, frame.msn, 2);
  put(ses + 4, kJob, 4);
  put(ses + 20, frame.src, 4);  // initiator
  if (has_flag(frame, kFlagFirst)) {
    put(ses + 38, has_flag(frame, kFlagLast) ? frame.credit : 0U, 2);
  } else {
    put(ses + 34, frame.payload_bytes & 0x3FFFU, 2);
    put(ses + 36, has_flag(frame, kFlagLast) ? 0U : frame.index, 4);
  }
  put(ses + 40, frame.message_bytes, 4);
}

void put_answer(const Frame& frame, unsigned char* pds) {
  const unsigned response = frame.op == Op::kGetResponse ? 1U : 0U;
  put_contexts(frame, pds + 8);
  if (frame.opcode == Opcode::kAck) {
    const std::uint32_t received = (frame.psn - 1) & kPsnMask;
    put_prologue(kTypeAckCc, 0, 0, pds);
    put(pds + 2, frame.msn - received, 2);
    put(pds + 4, received, 4);
    put(pds + 12, response, 1);  // congestion control NSCC, reserved flags
    put(pds + 13, 0, 1);
    put(pds + 14, 2, 2);  // the bitmap begins so far behind the cumulative number
    put(pds + 16, frame.ack_bits, 8);
    put(pds + 24, frame.credit, 2);
    put(pds + 26, 0, 1);
    put(pds + 27, frame.message_bytes, 3);
    put(pds + 30, frame.index, 2);
    return;
  }
  put_prologue(kTypeNackCcx, 0, 0, pds);
  put(pds + 2, frame.index != 0 ? kNackTrimmed : kNackInferred, 1);
  put(pds + 3, 0, 1);
  put(pds + 4, frame.psn, 4);
  put(pds + 12, frame.msn, 2);
  put(pds + 14, frame.index, 2);
  put(pds + 16, response, 1);
  put(pds + 17, frame.credit, 2);
  put(pds + 19, frame.message_bytes, 3);
  put(pds + 22, 0, 2);
  put(pds + 24, frame.ack_bits, 8);
}

void put_frame(const Frame& frame, const IntStack* /*stack*/, unsigned char* at) {
  put_ethernet(frame, at, kIpEtherType);
  put_ip_udp(frame, at + kEthernet, kUetPort, whole_header(frame, nullptr) - kInUdp + frame.payload_bytes);
  if (is_data(frame)) return put_request(frame, at + kInUdp);
  put_answer(frame, at + kInUdp);
}

bool get_op(unsigned opcode, unsigned flags, Frame& frame) {
  if (opcode == kSesWrite) {
    frame.op = (flags & kHeaderData) != 0 ? Op::kPutSignal : Op::kPut;
    return true;
  }
  if (opcode == kSesSend) frame.op = Op::kSend;
  if (opcode == kSesRead) frame.op = Op::kGetRequest;
  if (opcode == kSesResponse) frame.op = Op::kGetResponse;
  return frame.op != Op::kPut && (flags & kHeaderData) == 0;
}

// What tells the place of the packet in its message.
bool get_place(const unsigned char* ses, Frame& frame) {
  if (has_flag(frame, kFlagFirst)) {
    const std::uint16_t count = get16(ses + 38);
    if (has_flag(frame, kFlagLast)) frame.credit = count;
    return get(ses + 32, 6) == 0 && count == frame.credit;
  }
  const std::uint32_t index = get32(ses + 36);
  if (!has_flag(frame, kFlagLast)) frame.index = static_cast<std::uint16_t>(index);
  return get16(ses + 32) == 0 && get16(ses + 34) == (frame.payload_bytes & 0x3FFFU) && index == frame.index;
}

bool get_request(std::span<const unsigned char> pds, Frame& frame) {
  if (pds.size() < kPds + kSes) return false;
  const unsigned word = get16(&pds[0]) & 0x7FU;
  const unsigned char* ses = &pds[kPds];
  if ((word & kReservedTrimmed) != 0) frame.opcode = Opcode::kTrimmed;
  set_flag(frame, kFlagFirst, (ses[1] & kStart) != 0);
  set_flag(frame, kFlagLast, (ses[1] & kEnd) != 0);
  const unsigned ask = has_flag(frame, kFlagLast) ? kAckRequest : 0U;
  if ((word & ~kReservedTrimmed) != ask || get16(&pds[2]) != 0 || pds[4] != 0 || !get_contexts(frame, &pds[8]) ||
      (ses[1] & 0xF8U) != 0 || !get_op(ses[0], ses[1], frame)) {
    return false;
  }
  frame.psn = get32(&pds[4]);
  frame.msn = get16(ses + 2);
  frame.message_bytes = get32(ses + 40);
  return get32(ses + 4) == kJob && get(ses + 8, 8) == 0 && get32(ses + 16) == 0 && get32(ses + 20) == frame.src &&
         get(ses + 24, 8) == 0 && get_place(ses, frame);
}

bool get_ack(const unsigned char* pds, Frame& frame) {
  frame.opcode = Opcode::kAck;
  if (pds[4] != 0 || pds[12] > 1 || pds[13] != 0 || get16(pds + 14) != 2 || pds[26] != 0) return false;
  const std::uint32_t received = get32(pds + 4);
  frame.psn = (received + 1) & kPsnMask;
  frame.msn = static_cast<std::uint16_t>(received + get16(pds + 2));
  if (pds[12] != 0) frame.op = Op::kGetResponse;
  frame.ack_bits = get(pds + 16, 8);
  frame.credit = get16(pds + 24);
  frame.message_bytes = static_cast<std::uint32_t>(get(pds + 27, 3));
  frame.index = get16(pds + 30);
  return true;
}

bool get_nack(const unsigned char* pds, Frame& frame) {
  frame.opcode = Opcode::kNack;
  frame.index = get16(pds + 14);
  if (pds[2] != (frame.index != 0 ? kNackTrimmed : kNackInferred) || pds[3] != 0 || pds[4] != 0 || pds[16] > 1 ||
      get16(pds + 22) != 0) {
    return false;
  }
  frame.psn = get32(pds + 4);
  frame.msn = get16(pds + 12);
  if (pds[16] != 0) frame.op = Op::kGetResponse;
  frame.credit = get16(pds + 17);
  frame.message_bytes = static_cast<std::uint32_t>(get(pds + 19, 3));
  frame.ack_bits = get(pds + 24, 8);
  return true;
}

bool get_frame(std::span<const unsigned char> bytes, Frame& frame, IntStack& /*stack*/) {
  std::size_t behind = 0;
  std::uint16_t id = 0;
  if (!get_ip_udp(&bytes[kEthernet], frame, behind, id) || id != 0) return false;
  const auto pds = bytes.subspan(kInUdp);
  const unsigned kind = get16(&pds[0]) >> 7;  // type and next header
  bool known = false;
  if (kind == ((kTypeRud << 4) | kNextStandard)) {
    known = get_request(pds, frame);
  } else if (pds.size() >= kAnswer && get_contexts(frame, &pds[8]) && (pds[1] & 0x7FU) == 0) {
    if (kind == kTypeAckCc << 4) known = get_ack(pds.data(), frame);
    if (kind == kTypeNackCcx << 4) known = get_nack(pds.data(), frame);
  }
  return known && behind == whole_header(frame, nullptr) - kInUdp + frame.payload_bytes;
}

}  // namespace

}  // namespace tb::uet

namespace tb {

const Codec kUetCodec = {
    .least = {102, 102, 78},
    .opcodes = kDataAndAnswers,
    .most_payload = (1U << 14) - 1,
    .batches = true,
    .header_bytes = uet::whole_header,
    .put = uet::put_frame,
    .get = uet::get_frame,
};

}  // namespace tb
