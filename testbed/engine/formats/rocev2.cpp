// RoCEv2: InfiniBand's base transport header and its extensions in IPv4 and UDP (InfiniBand volume 1, annex A17).
#include <libdeflate.h>

#include <array>

#include "codec.hpp"

namespace tb::rocev2 {

namespace {

constexpr std::size_t kBth = 12, kReth = 16, kAeth = 4, kImmediate = 4, kIcrc = 4, kCnpReserved = 16;
constexpr std::size_t kInUdp = kEthernet + kIp + kUdp;

// BTH opcodes of reliable connections, InfiniBand volume 1, table 35; of the congestion notification, annex A17.
constexpr std::uint8_t kAcknowledge = 0x11, kCnpOpcode = 0x81;
constexpr std::uint8_t kNone = 0xFF;
enum Place : std::uint8_t { kMiddle, kFirst, kLast, kOnly };  // as kFlagFirst and kFlagLast count

// By operation and place.
constexpr std::uint8_t kOpcodes[5][4] = {
    {0x07, 0x06, 0x08, 0x0A},     // RDMA WRITE
    {0x07, 0x06, 0x09, 0x0B},     // RDMA WRITE, the last packet with immediate
    {0x01, 0x00, 0x02, 0x04},     // SEND
    {kNone, kNone, kNone, 0x0C},  // RDMA READ request
    {0x0E, 0x0D, 0x0F, 0x10},     // RDMA READ response
};
constexpr std::size_t kDataOpcodes = 0x11;

struct Meaning {
  std::uint8_t op = kNone;
  std::uint8_t place = 0;
};
constexpr std::array<Meaning, kDataOpcodes> kMeanings = [] {
  std::array<Meaning, kDataOpcodes> meanings{};
  for (const int op : {1, 0, 2, 3, 4}) {  // a WRITE that is not over is no WRITE with immediate yet
    for (int place = 0; place < 4; ++place) {
      const std::uint8_t opcode = kOpcodes[op][place];
      if (opcode != kNone) meanings[opcode] = {static_cast<std::uint8_t>(op), static_cast<std::uint8_t>(place)};
    }
  }
  return meanings;
}();

constexpr std::uint8_t kBthTrimmed = 1;  // in the reserved bits beside FECN and BECN: a switch has cut the payload
constexpr std::uint8_t kBecn = 0x40;
constexpr std::uint8_t kSyndromeAck = 0x1F, kSyndromeNotReady = 0x20, kSyndromeNakSequence = 0x60;
constexpr std::uint64_t kWindow = 0x100000000ULL;  // every message goes to the same window of the peer's memory

unsigned place_of(const Frame& frame) { return frame.flags & 3U; }
bool has_reth(const Frame& frame) {
  return frame.op == Op::kGetRequest ||
         (has_flag(frame, kFlagFirst) && (frame.op == Op::kPut || frame.op == Op::kPutSignal));
}
bool has_immediate(const Frame& frame) { return frame.op == Op::kPutSignal && has_flag(frame, kFlagLast); }
bool has_aeth(const Frame& frame) { return frame.op == Op::kGetResponse && place_of(frame) != kMiddle; }

// The sender's queue pair, one for each peer; responses come from one of their own.
std::uint32_t queue_pair(const Frame& frame) {
  return 0x10U + frame.src + (frame.op == Op::kGetResponse ? 0x100000U : 0U);
}

std::size_t whole_header(const Frame& frame, const IntStack* /*stack*/) {
  if (frame.opcode == Opcode::kCnp) return kInUdp + kBth + kCnpReserved;
  if (!is_data(frame)) return kInUdp + kBth + kAeth;
  return kInUdp + kBth + (has_reth(frame) ? kReth : 0) + (has_aeth(frame) ? kAeth : 0) +
         (has_immediate(frame) ? kImmediate : 0);
}

void put_cnp(const Frame& frame, unsigned char* out) {
  std::memset(out, 0, kBth + kCnpReserved);
  out[0] = kCnpOpcode;
  put(out + 2, 0xFFFF, 2);
  put(out + 4, 0x10U + frame.src, 4);
  out[4] = kBecn;
}

void put_answer(const Frame& frame, unsigned char* out) {
  // An ACK names the last packet received, a NAK the one expected (InfiniBand volume 1, 9.7.5.1.2).
  const std::uint32_t psn = frame.opcode == Opcode::kAck ? (frame.psn - 1) & kPsnMask : frame.psn;
  unsigned syndrome = kSyndromeAck;
  if (frame.opcode == Opcode::kNack) syndrome = kSyndromeNakSequence;
  if (frame.opcode == Opcode::kNotReady) syndrome = kSyndromeNotReady | (frame.credit & 0x1FU);
  put(out, kAcknowledge, 1);
  put(out + 1, 0, 1);
  put(out + 2, 0xFFFF, 2);
  put(out + 4, queue_pair(frame), 4);
  put(out + 8, psn, 4);
  put(out + kBth, (std::uint32_t{syndrome} << 24) | frame.msn, 4);
}

void put_data(const Frame& frame, unsigned char* out) {
  const bool ask = has_flag(frame, kFlagLast) && frame.op != Op::kGetResponse;
  put(out, kOpcodes[static_cast<unsigned>(frame.op)][place_of(frame)], 1);
  put(out + 1, (-frame.payload_bytes & 3U) << 4, 1);
  put(out + 2, 0xFFFF, 2);
  put(out + 4, queue_pair(frame), 4);
  if (frame.opcode == Opcode::kTrimmed) out[4] = kBthTrimmed;
  put(out + 8, (ask ? 0x80000000U : 0U) | frame.psn, 4);
  out += kBth;
  if (has_reth(frame)) {
    put(out, kWindow, 8);
    put(out + 8, queue_pair(frame), 4);
    put(out + 12, frame.message_bytes, 4);
    out += kReth;
  }
  if (has_aeth(frame)) put(out, (std::uint32_t{kSyndromeAck} << 24) | frame.msn, 4);
  if (has_immediate(frame)) put(out, frame.msn, 4);
}

void put_frame(const Frame& frame, const IntStack* /*stack*/, unsigned char* at) {
  put_ethernet(frame, at, kIpEtherType);
  put_ip_udp(frame, at + kEthernet, kRocePort, frame.frame_bytes - kFcsBytes - kInUdp);
  if (is_data(frame)) return put_data(frame, at + kInUdp);
  if (frame.opcode == Opcode::kCnp) return put_cnp(frame, at + kInUdp);
  put_answer(frame, at + kInUdp);
}

bool get_cnp(std::span<const unsigned char> bth, Frame& frame) {
  frame.opcode = Opcode::kCnp;
  if (bth.size() < kBth + kCnpReserved || bth[4] != kBecn || get(&bth[5], 3) != 0x10U + frame.src) return false;
  return get(&bth[8], 8) == 0 && get(&bth[16], 8) == 0 && get32(&bth[24]) == 0 && bth[1] == 0;
}

bool get_answer(std::span<const unsigned char> bth, Frame& frame) {
  const unsigned syndrome = bth[kBth];
  frame.psn = static_cast<std::uint32_t>(get(&bth[9], 3));
  frame.msn = get16(&bth[kBth + 2]);
  if (syndrome == kSyndromeAck) {
    frame.opcode = Opcode::kAck;
    frame.psn = (frame.psn + 1) & kPsnMask;
  } else if (syndrome == kSyndromeNakSequence) {
    frame.opcode = Opcode::kNack;
  } else if ((syndrome & 0xE0U) == kSyndromeNotReady) {
    frame.opcode = Opcode::kNotReady;
    frame.credit = syndrome & 0x1FU;
  } else {
    return false;
  }
  const std::uint32_t pair = get32(&bth[4]);
  if (pair != queue_pair(frame)) frame.op = Op::kGetResponse;
  return pair == queue_pair(frame) && bth[1] == 0 && bth[8] == 0 && bth[kBth + 1] == 0;
}

bool get_data(std::span<const unsigned char> bth, Frame& frame) {
  const Meaning meaning = kMeanings[bth[0]];
  if (meaning.op == kNone) return false;
  frame.op = static_cast<Op>(meaning.op);
  frame.flags |= meaning.place;
  frame.psn = static_cast<std::uint32_t>(get(&bth[9], 3));
  if ((bth[4] & kBthTrimmed) != 0) frame.opcode = Opcode::kTrimmed;
  const bool cut = frame.opcode == Opcode::kTrimmed;
  const bool ask = has_flag(frame, kFlagLast) && frame.op != Op::kGetResponse;
  const bool padded = cut ? (bth[1] & 0xCFU) == 0 : bth[1] == (-frame.payload_bytes & 3U) << 4;
  if (!padded || bth[8] != (ask ? 0x80U : 0U) || bth[4] != (cut ? kBthTrimmed : 0U)) return false;
  if (get(&bth[5], 3) != queue_pair(frame) || bth.size() + kInUdp < whole_header(frame, nullptr)) return false;
  std::size_t at = kBth;
  if (has_reth(frame)) {
    if (get(&bth[at], 8) != kWindow || get32(&bth[at + 8]) != queue_pair(frame)) return false;
    frame.message_bytes = get32(&bth[at + 12]);
    at += kReth;
  }
  if (!has_aeth(frame) && !has_immediate(frame)) return true;
  frame.msn = get16(&bth[at + 2]);
  return get16(&bth[at]) == (has_aeth(frame) ? kSyndromeAck << 8 : 0);
}

bool get_frame(std::span<const unsigned char> bytes, Frame& frame, IntStack& /*stack*/) {
  std::size_t behind = 0;
  std::uint16_t id = 0;
  if (!get_ip_udp(&bytes[kEthernet], frame, behind, id) || id != 0) return false;
  const auto bth = bytes.subspan(kInUdp);  // a frame on a veth has at least 18 bytes here: BTH and AETH
  if (behind != frame.frame_bytes - kFcsBytes - kInUdp || get16(&bth[2]) != 0xFFFF) return false;
  if (bth[0] == kCnpOpcode) return get_cnp(bth, frame);
  if (bth[0] == kAcknowledge) return get_answer(bth, frame);
  return bth[0] < kDataOpcodes && get_data(bth, frame);
}

// Invariant CRC: the fields that switches may change count as ones (annex A17.3.3).
void put_icrc(const Frame& /*frame*/, unsigned char* at, std::size_t size) {
  unsigned char* ip = at + kEthernet;
  const std::size_t covered = size - kEthernet - kIcrc;
  unsigned char masked[8 + kIp + kUdp + kBth];
  std::memset(masked, 0xFF, 8);
  std::memcpy(masked + 8, ip, kIp + kUdp + kBth);
  for (const std::size_t field : {8U + 1U, 8U + 8U, 8U + 10U, 8U + 11U, 8U + 26U, 8U + 27U, 8U + 32U})
    masked[field] = 0xFF;
  std::uint32_t crc = libdeflate_crc32(0, masked, sizeof masked);
  crc = libdeflate_crc32(crc, ip + kIp + kUdp + kBth, covered - (kIp + kUdp + kBth));
  for (std::size_t i = 0; i < kIcrc; ++i) ip[covered + i] = static_cast<unsigned char>(crc >> (8 * i));
}

}  // namespace

}  // namespace tb::rocev2

namespace tb {

const Codec kRoceCodec = {
    .least = {78, 62, 66},
    .opcodes = kDataAndAnswers | bit_of(Opcode::kNotReady) | bit_of(Opcode::kCnp),
    .bitmap = false,
    .most_payload = 1U << 14,
    .payload_align = 4,
    .tail_bytes = rocev2::kIcrc,
    .header_bytes = rocev2::whole_header,
    .put = rocev2::put_frame,
    .get = rocev2::get_frame,
    .seal = rocev2::put_icrc,
};

}  // namespace tb
