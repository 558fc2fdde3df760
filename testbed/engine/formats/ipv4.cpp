// IPv4 and UDP around the formats that have them, and the batch entries of those that have those.
#include "codec.hpp"

namespace tb {

std::uint64_t add_words(std::uint64_t sum, const unsigned char* at, std::size_t size) {
  std::uint64_t native = 0;  // in the machine's byte order, which the sum does not mind (RFC 1071, section 2)
  for (; size >= 4; size -= 4, at += 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, at, 4);
    native += word;
  }
  unsigned char rest[4] = {};
  std::memcpy(rest, at, size);
  std::uint32_t word = 0;
  std::memcpy(&word, rest, 4);
  native += word;
  while (native > 0xFFFF) native = (native & 0xFFFF) + (native >> 16);
  unsigned char folded[2];
  const auto half = static_cast<std::uint16_t>(native);
  std::memcpy(folded, &half, 2);
  return sum + get16(folded);
}

std::uint16_t checksum_of(std::uint64_t sum) {
  while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

namespace ipv4 {

namespace {

std::uint32_t address(std::uint16_t endpoint) { return 0x0A000001U | (std::uint32_t{endpoint} << 8); }

// The checksum of a header whose own field is left out.
std::uint16_t header_checksum(const unsigned char* ip) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kIp; i += 4) sum += get32(ip + i);
  sum = (sum & 0xFFFFFFFFU) + (sum >> 32);
  sum = (sum >> 16) + (sum & 0xFFFF) + (0xFFFFU - get16(ip + 10));
  return checksum_of(sum);
}

}  // namespace

}  // namespace ipv4

void put_ip(const Frame& frame, unsigned char* ip, std::uint8_t protocol, std::size_t bytes, std::uint16_t id) {
  ip[0] = 0x45;
  const unsigned ecn = has_flag(frame, kFlagMarked) ? 3U : 2U;
  ip[1] = static_cast<unsigned char>((frame.dscp << 2) | ecn);
  put(ip + 2, kIp + bytes, 2);
  put(ip + 4, id, 2);
  put(ip + 6, 0x4000, 2);  // do not fragment
  ip[8] = 64;
  ip[9] = protocol;
  put(ip + 10, 0, 2);
  put(ip + 12, ipv4::address(frame.src), 4);
  put(ip + 16, ipv4::address(frame.dst), 4);
  put(ip + 10, ipv4::header_checksum(ip), 2);
}

bool get_ip(const unsigned char* ip, Frame& frame, std::size_t& bytes, std::uint16_t& id) {
  const unsigned ecn = ip[1] & 3U;
  if (ip[0] != 0x45 || ecn < 2 || get32(ip + 6) >> 8 != 0x400040 || get16(ip + 2) < kIp ||
      get32(ip + 12) != ipv4::address(frame.src) || get32(ip + 16) != ipv4::address(frame.dst) ||
      get16(ip + 10) != ipv4::header_checksum(ip)) {
    return false;
  }
  frame.dscp = ip[1] >> 2;
  set_flag(frame, kFlagMarked, ecn == 3);
  bytes = get16(ip + 2) - kIp;
  id = get16(ip + 4);
  return true;
}

void put_ip_udp(const Frame& frame, unsigned char* ip, std::uint16_t port, std::size_t bytes, std::uint16_t id) {
  put_ip(frame, ip, kUdpProtocol, kUdp + bytes, id);
  put(ip + kIp, frame.entropy, 2);
  put(ip + kIp + 2, port, 2);
  put(ip + kIp + 4, kUdp + bytes, 2);
  put(ip + kIp + 6, 0, 2);
}

bool get_ip_udp(const unsigned char* ip, Frame& frame, std::size_t& bytes, std::uint16_t& id) {
  if (!get_ip(ip, frame, bytes, id) || bytes < kUdp || get16(ip + kIp + 4) != bytes) return false;
  frame.entropy = get16(ip + kIp);
  bytes -= kUdp;
  return get16(ip + kIp + 2) == kSocketPort || get16(ip + kIp + 6) == 0;
}

void seal_transport(unsigned char* ip, const unsigned char* end, std::size_t field, std::uint16_t for_zero) {
  unsigned char* transport = ip + kIp;
  put(transport + field, 0, 2);
  std::uint64_t sum = add_words(ip[9] + std::uint64_t{get16(ip + 2)} - kIp, ip + 12, 8);
  sum = add_words(sum, transport, static_cast<std::size_t>(end - transport));
  const std::uint16_t check = checksum_of(sum);
  put(transport + field, check != 0 ? check : for_zero, 2);
}

void put_batch(const Frame& frame, unsigned char* out) {
  const std::uint32_t each = frame.opcode == Opcode::kTrimmed ? 0 : frame.payload_bytes / frame.credit;
  for (std::uint32_t left = frame.credit; left-- > 0; out += kBatchEntry) {
    put(out, (static_cast<std::uint32_t>(frame.op) << 13) | left, 2);
    put(out + 2, each, 2);
  }
}

bool get_batch(std::span<const unsigned char> at, Frame& frame) {
  const unsigned op = at[0] >> 5;
  const std::uint32_t count = (get16(at.data()) & 0x1FFFU) + 1U;
  if (op > static_cast<unsigned>(Op::kGetResponse) || at.size() < kBatchEntry * count) return false;
  frame.op = static_cast<Op>(op);
  frame.credit = static_cast<std::uint16_t>(count);
  const std::uint32_t each = frame.opcode == Opcode::kTrimmed ? 0 : frame.payload_bytes / count;
  for (std::uint32_t i = 0; i < count; ++i) {
    const unsigned char* entry = at.data() + kBatchEntry * i;
    if (get16(entry) != ((op << 13) | (count - 1 - i)) || get16(entry + 2) != each) return false;
  }
  return true;
}

}  // namespace tb
