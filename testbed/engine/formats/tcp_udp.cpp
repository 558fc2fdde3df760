// What sockets send: TCP with timestamps, and UDP with a header of the application's.
#include <algorithm>

#include "codec.hpp"

namespace tb::sockets {

namespace {

constexpr std::size_t kAt = kEthernet + kIp;
constexpr std::size_t kTcpData = 32, kTcpAnswer = 56;  // 12 and 36 bytes of options
constexpr std::size_t kTcpChecksum = 16, kUdpChecksum = 6;
constexpr unsigned kAck = 0x10, kPush = 0x08, kReservedTrimmed = 0x08;
constexpr std::uint32_t kNopNopTimestamps = 0x0101080A;
constexpr std::uint32_t kExperiment = 0xFD10544E;   // kind 253, 16 bytes, experiment "TN" (RFC 6994)
constexpr std::uint32_t kAccurateEcn = 0xAC080000;  // kind 172, 8 bytes: ECT(0) bytes, CE bytes (RFC 9768)
constexpr unsigned kWindowOpen = 0x8000;
constexpr unsigned kSaysNack = 1, kSaysResponse = 2;

// Behind what is here of an IPv4 datagram.
const unsigned char* end_of(const unsigned char* at, std::size_t size) {
  return at + std::min(kEthernet + std::size_t{get16(at + kEthernet + 2)}, size);
}

std::size_t tcp_bytes(const Frame& frame) { return is_data(frame) ? kTcpData : kTcpAnswer; }

std::size_t tcp_header(const Frame& frame, const IntStack* /*stack*/) { return kAt + tcp_bytes(frame); }

void put_ports(std::uint16_t source, std::uint16_t destination, unsigned char* out) {
  put(out, source, 2);
  put(out + 2, destination, 2);
}

void put_tcp_data(const Frame& frame, unsigned char* out) {
  const bool last = has_flag(frame, kFlagLast);
  const unsigned trimmed = frame.opcode == Opcode::kTrimmed ? kReservedTrimmed : 0U;
  put_ports(frame.entropy, kSocketPort, out);
  put(out + 4, frame.message_bytes, 4);
  put(out + 8, 1, 4);
  put(out + 12, (kTcpData / 4) << 4 | trimmed, 1);
  put(out + 13, kAck | (last ? kPush : 0U), 1);
  put(out + 14, kWindowOpen | (static_cast<unsigned>(frame.op) << 1) | (has_flag(frame, kFlagFirst) ? 1U : 0U), 2);
  put(out + 16, 0, 4);  // checksum, urgent pointer
  put(out + 20, kNopNopTimestamps, 4);
  put(out + 24, frame.psn, 4);
  put(out + 28, (std::uint32_t{frame.msn} << 16) | (last ? frame.credit : frame.index), 4);
}

void put_tcp_answer(const Frame& frame, unsigned char* out) {
  put_ports(kSocketPort, frame.entropy, out);
  put(out + 4, 1, 4);
  put(out + 8, frame.psn, 4);
  put(out + 12, (kTcpAnswer / 4) << 4, 1);
  put(out + 13, kAck, 1);
  put(out + 14, frame.credit, 2);
  put(out + 16, 0, 4);
  put(out + 20, kNopNopTimestamps, 4);
  put(out + 24, frame.psn, 4);
  put(out + 28, frame.msn, 4);
  put(out + 32, kExperiment, 4);
  put(out + 36, frame.ack_bits, 8);
  put(out + 44, frame.index, 2);
  put(out + 46, 0, 1);
  put(out + 47, (frame.opcode == Opcode::kNack ? kSaysNack : 0U) | (frame.op == Op::kGetResponse ? kSaysResponse : 0U),
      1);
  put(out + 48, std::uint64_t{kAccurateEcn} << 32, 8);
  put(out + 53, frame.message_bytes, 3);
}

void put_tcp(const Frame& frame, const IntStack* /*stack*/, unsigned char* at) {
  put_ethernet(frame, at, kIpEtherType);
  put_ip(frame, at + kEthernet, kTcpProtocol, tcp_bytes(frame) + frame.payload_bytes);
  if (is_data(frame)) return put_tcp_data(frame, at + kAt);
  put_tcp_answer(frame, at + kAt);
}

bool get_tcp_data(const unsigned char* tcp, Frame& frame) {
  const unsigned window = get16(tcp + 14);
  const unsigned asked = (window >> 1) & 0xFU;
  const unsigned reserved = tcp[12] & 0xFU;
  if (get16(tcp + 2) != kSocketPort || get32(tcp + 8) != 1 || (reserved & ~kReservedTrimmed) != 0 ||
      (tcp[13] & ~kPush) != kAck || (window & 0xFFE0U) != kWindowOpen ||
      asked > static_cast<unsigned>(Op::kGetResponse) || tcp[24] != 0) {
    return false;
  }
  const std::uint16_t low = get16(tcp + 30);
  if (reserved != 0) frame.opcode = Opcode::kTrimmed;
  set_flag(frame, kFlagFirst, (window & 1U) != 0);
  set_flag(frame, kFlagLast, (tcp[13] & kPush) != 0);
  frame.op = static_cast<Op>(asked);
  frame.entropy = get16(tcp);
  frame.message_bytes = get32(tcp + 4);
  frame.psn = get32(tcp + 24);
  frame.msn = get16(tcp + 28);
  (has_flag(frame, kFlagLast) ? frame.credit : frame.index) = low;
  return true;
}

bool get_tcp_answer(const unsigned char* tcp, Frame& frame) {
  if (get16(tcp) != kSocketPort || get32(tcp + 4) != 1 || (tcp[12] & 0xFU) != 0 || tcp[13] != kAck ||
      get32(tcp + 8) != get32(tcp + 24) || tcp[24] != 0 || get16(tcp + 28) != 0 || get32(tcp + 32) != kExperiment ||
      tcp[46] != 0 || tcp[47] > (kSaysNack | kSaysResponse) || get(tcp + 48, 5) != std::uint64_t{kAccurateEcn} << 8) {
    return false;
  }
  frame.opcode = (tcp[47] & kSaysNack) != 0 ? Opcode::kNack : Opcode::kAck;
  if ((tcp[47] & kSaysResponse) != 0) frame.op = Op::kGetResponse;
  frame.entropy = get16(tcp + 2);
  frame.psn = get32(tcp + 24);
  frame.credit = get16(tcp + 14);
  frame.msn = get16(tcp + 30);
  frame.ack_bits = get(tcp + 36, 8);
  frame.index = get16(tcp + 44);
  frame.message_bytes = static_cast<std::uint32_t>(get(tcp + 53, 3));
  return true;
}

bool get_tcp(std::span<const unsigned char> bytes, Frame& frame, IntStack& /*stack*/) {
  const unsigned char* tcp = &bytes[kAt];
  std::size_t behind = 0;
  std::uint16_t id = 0;
  const std::size_t size = (tcp[12] >> 4U) * std::size_t{4};
  if ((size != kTcpData && size != kTcpAnswer) || bytes.size() < kAt + size) return false;
  if (!get_ip(&bytes[kEthernet], frame, behind, id) || id != 0 || behind != size + frame.payload_bytes) return false;
  if (get32(tcp + 20) != kNopNopTimestamps || get16(tcp + 18) != 0) return false;
  return size == kTcpData ? get_tcp_data(tcp, frame) : get_tcp_answer(tcp, frame);
}

void seal_tcp(const Frame& /*frame*/, unsigned char* at, std::size_t size) {
  seal_transport(at + kEthernet, end_of(at, size), kTcpChecksum, 0);
}

constexpr std::size_t kInUdp = kAt + kUdp;
constexpr std::size_t kUdpData = 12, kUdpAnswer = 22;

std::size_t udp_bytes(const Frame& frame) { return is_data(frame) ? kUdpData : kUdpAnswer; }

std::size_t udp_header(const Frame& frame, const IntStack* /*stack*/) { return kInUdp + udp_bytes(frame); }

void put_udp(const Frame& frame, const IntStack* /*stack*/, unsigned char* at) {
  put_ethernet(frame, at, kIpEtherType);
  put_ip_udp(frame, at + kEthernet, kSocketPort, udp_bytes(frame) + frame.payload_bytes);
  unsigned char* out = at + kInUdp;
  const bool last = has_flag(frame, kFlagLast);
  const unsigned flags = (has_flag(frame, kFlagFirst) ? 0x20U : 0U) | (last ? 0x10U : 0U);
  put(out, (static_cast<unsigned>(frame.opcode) << 6) | flags | static_cast<unsigned>(frame.op), 1);
  put(out + 1, frame.psn, 3);
  put(out + 4, frame.msn, 2);
  if (is_data(frame)) {
    put(out + 6, last ? frame.credit : frame.index, 2);
    put(out + 8, frame.op == Op::kGetRequest ? frame.message_bytes : frame.payload_bytes, 4);
    return;
  }
  put(out + 6, frame.index, 2);
  put(out + 8, frame.credit, 2);
  put(out + 10, frame.message_bytes, 3);
  put(out + 13, 0, 1);
  put(out + 14, frame.ack_bits, 8);
}

bool get_udp_answer(std::span<const unsigned char> at, Frame& frame) {
  if (at.size() < kUdpAnswer || at[13] != 0) return false;
  frame.index = get16(&at[6]);
  frame.credit = get16(&at[8]);
  frame.message_bytes = static_cast<std::uint32_t>(get(&at[10], 3));
  frame.ack_bits = get(&at[14], 8);
  return true;
}

bool get_udp(std::span<const unsigned char> bytes, Frame& frame, IntStack& /*stack*/) {
  std::size_t behind = 0;
  std::uint16_t id = 0;
  if (!get_ip_udp(&bytes[kEthernet], frame, behind, id) || id != 0) return false;
  const auto at = bytes.subspan(kInUdp);
  const unsigned op = at[0] & 0xFU;
  frame.opcode = static_cast<Opcode>(at[0] >> 6);
  if (op > static_cast<unsigned>(Op::kGetResponse) || behind != udp_bytes(frame) + frame.payload_bytes) return false;
  frame.op = static_cast<Op>(op);
  set_flag(frame, kFlagFirst, (at[0] & 0x20U) != 0);
  set_flag(frame, kFlagLast, (at[0] & 0x10U) != 0);
  frame.psn = static_cast<std::uint32_t>(get(&at[1], 3));
  frame.msn = get16(&at[4]);
  if (!is_data(frame)) return get_udp_answer(at, frame);
  (has_flag(frame, kFlagLast) ? frame.credit : frame.index) = get16(&at[6]);
  if (frame.op != Op::kGetRequest) return get32(&at[8]) == frame.payload_bytes;
  frame.message_bytes = get32(&at[8]);
  return true;
}

void seal_udp(const Frame& /*frame*/, unsigned char* at, std::size_t size) {
  seal_transport(at + kEthernet, end_of(at, size), kUdpChecksum, 0xFFFF);  // 0 says: none
}

}  // namespace

}  // namespace tb::sockets

namespace tb {

const Codec kTcpCodec = {
    .least = {70, 70, 94},
    .opcodes = kDataAndAnswers,
    .most_payload = 1U << 14,
    .batches = true,
    .header_bytes = sockets::tcp_header,
    .put = sockets::put_tcp,
    .get = sockets::get_tcp,
    .seal = sockets::seal_tcp,
};

const Codec kUdpCodec = {
    .least = {58, 58, 68},
    .opcodes = kDataAndAnswers,
    .most_payload = 1U << 14,
    .batches = true,
    .header_bytes = sockets::udp_header,
    .put = sockets::put_udp,
    .get = sockets::get_udp,
    .seal = sockets::seal_udp,
};

}  // namespace tb
