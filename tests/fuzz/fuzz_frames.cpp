// Frame parsers under libFuzzer: any bytes decode to a frame, to nothing of ours or to damage, without a fault; a frame
// that decodes is written the same again, and stays itself when a switch marks or cuts it.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../../testbed/engine/crc32c.hpp"
#include "../../testbed/engine/wire.hpp"

namespace {

using tb::Frame;
using tb::IntStack;
using tb::Opcode;
using tb::Trailer;
using tb::WireFormat;
using Bytes = std::vector<unsigned char>;

constexpr std::size_t kFieldBytes = 40;
constexpr std::size_t kIpAt = 14, kUdpChecksumAt = 40, kTcpChecksumAt = 50, kBthPadAt = 43;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "frame parsers: %s\n", what);
  std::abort();
}

struct Read {
  Frame frame;
  Trailer trailer;
  IntStack stack;
  bool telemetry = false;
  tb::Decoded decoded = tb::Decoded::kForeign;
  [[nodiscard]] const IntStack* carried() const { return telemetry ? &stack : nullptr; }
};

Read read(const Bytes& bytes) {
  Read all;
  all.decoded = tb::decode(bytes, all.frame, all.trailer, all.stack);
  all.telemetry = all.decoded == tb::Decoded::kFrame && tb::has_telemetry(bytes);
  return all;
}

bool same(const Frame& a, const Frame& b) {
  return a.ack_bits == b.ack_bits && a.frame_bytes == b.frame_bytes && a.payload_bytes == b.payload_bytes &&
         a.psn == b.psn && a.message_bytes == b.message_bytes && a.src == b.src && a.dst == b.dst && a.msn == b.msn &&
         a.index == b.index && a.entropy == b.entropy && a.credit == b.credit && a.opcode == b.opcode &&
         a.format == b.format && a.op == b.op && a.dscp == b.dscp && a.flags == b.flags;
}

// Zeros for what depends on payload bytes, which are not the frame's, and for the pad count that a switch leaves.
void mask(Bytes& bytes, const Frame& frame) {
  if (frame.format == WireFormat::kTcp) std::memset(&bytes[kTcpChecksumAt], 0, 2);
  if (frame.format == WireFormat::kUdp) std::memset(&bytes[kUdpChecksumAt], 0, 2);
  if (frame.format == WireFormat::kRoceV2 && frame.opcode == Opcode::kTrimmed) bytes[kBthPadAt] &= 0xCF;
}

Bytes write(const Read& from) {
  Bytes out(tb::encoded_bytes(from.frame, from.trailer.kept_bytes));
  out.resize(tb::encode(from.frame, from.trailer.kept_bytes, out, from.carried()));
  tb::stamp(out, from.frame, from.trailer.first_bit_ps, from.trailer.link_seq);
  return out;
}

void rewritten(const Read& as, const Bytes& bytes) {
  Bytes room = bytes;
  room.resize(bytes.size() + tb::kIntHopBytes + tb::kMinFrameBytes);
  room.resize(tb::rewrite(as.frame, room, bytes.size(), as.carried()));
  tb::stamp(room, as.frame, as.trailer.first_bit_ps, as.trailer.link_seq);
  const Read again = read(room);
  expect(again.decoded == tb::Decoded::kFrame, "a frame that a switch has changed does not decode");
  expect(same(again.frame, as.frame), "a frame that a switch has changed is another");
  tb::payload_intact(room, again.frame, again.trailer);
}

void check(const Bytes& bytes) {
  const Read all = read(bytes);
  if (all.decoded != tb::Decoded::kFrame) return;
  tb::payload_intact(bytes, all.frame, all.trailer);
  expect(tb::carries(all.frame), "a frame was read that its format cannot say");
  Bytes out = write(all);
  expect(out.size() == bytes.size(), "a frame is written longer or shorter than it was");
  const Read again = read(out);
  expect(again.decoded == tb::Decoded::kFrame && same(again.frame, all.frame), "a frame does not decode to itself");
  expect(tb::payload_intact(out, again.frame, again.trailer), "a frame's own payload is not intact");
  Bytes was = bytes;
  mask(out, all.frame);
  mask(was, all.frame);
  const std::size_t headers = tb::header_bytes(all.frame, all.carried());
  expect(std::memcmp(out.data(), was.data(), headers) == 0, "a frame has other headers when it is written again");
  if (all.frame.format == WireFormat::kMacControl) return;
  Read marked = all;
  marked.frame.flags |= tb::kFlagMarked;
  if (marked.telemetry && marked.stack.hops < tb::kIntMaxHops) {
    ++marked.stack.hops;
    marked.frame.frame_bytes += tb::kIntHopBytes;
  }
  if (marked.frame.frame_bytes <= 1U << 15) rewritten(marked, bytes);
  const std::uint32_t around = all.frame.frame_bytes - all.frame.payload_bytes;
  const std::uint32_t kept = around > tb::kMinFrameBytes ? around : tb::kMinFrameBytes;
  if (all.frame.opcode != Opcode::kData || all.frame.frame_bytes <= kept) return;
  if (all.frame.format == WireFormat::kUalink) return;  // has no cut packets
  Read cut = all;
  cut.frame.opcode = Opcode::kTrimmed;
  cut.frame.frame_bytes = kept;
  cut.frame.payload_bytes = std::min(all.frame.payload_bytes, kept - around);
  rewritten(cut, bytes);
}

// The checks that random bytes never pass: trailer, IPv4 header, MAC control.
Bytes mended(Bytes bytes) {
  const std::size_t inner = bytes.size() - tb::kTrailerBytes;
  unsigned char* trailer = &bytes[inner];
  if (bytes[12] == 8 && bytes[13] == 0) {
    std::uint32_t sum = 0;
    bytes[kIpAt + 10] = bytes[kIpAt + 11] = 0;
    for (std::size_t i = 0; i < 20; i += 2) sum += bytes[kIpAt + i] << 8U | bytes[kIpAt + i + 1];
    while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
    bytes[kIpAt + 10] = static_cast<unsigned char>(~sum >> 8);
    bytes[kIpAt + 11] = static_cast<unsigned char>(~sum);
  }
  const auto store = [](unsigned char* at, std::uint32_t value) {
    for (int i = 0; i < 4; ++i) at[i] = static_cast<unsigned char>(value >> (24 - 8 * i));
  };
  if (bytes[12] == 0x88 && bytes[13] == 0x08) store(trailer + 32, tb::crc32c(0, bytes.data(), 34));
  store(trailer, tb::kTrailerMagic);
  trailer[4] = tb::kTrailerVersion;
  store(trailer + 36, tb::crc32c(0, trailer, tb::kTrailerBytes - 4));
  return bytes;
}

// A frame whose fields are the input: if its format can say it, it decodes with what every format says.
void check_fields(const std::uint8_t* data) {
  const auto take = [&data](int bytes) {
    std::uint64_t value = 0;
    while (bytes-- > 0) value = value << 8 | *data++;
    return value;
  };
  Frame frame;
  frame.format = static_cast<WireFormat>(take(1) % 10);
  frame.opcode = static_cast<Opcode>(take(1) % 8);
  frame.op = static_cast<tb::Op>(take(1) % 5);
  frame.flags = static_cast<std::uint8_t>(take(1) % 16);
  frame.dscp = static_cast<std::uint8_t>(take(1) % 64);
  const auto slack = static_cast<std::uint32_t>(take(1) % 32);
  frame.payload_bytes = static_cast<std::uint32_t>(take(2) % 9000);
  const auto snap = static_cast<std::uint32_t>(take(2));
  frame.psn = static_cast<std::uint32_t>(take(3));
  frame.src = static_cast<std::uint16_t>(take(2));
  frame.dst = static_cast<std::uint16_t>(take(2));
  frame.msn = static_cast<std::uint16_t>(take(2));
  frame.index = static_cast<std::uint16_t>(take(2));
  frame.credit = static_cast<std::uint16_t>(take(2) % 64);
  frame.entropy = static_cast<std::uint16_t>(take(2));
  frame.message_bytes = static_cast<std::uint32_t>(take(3));
  frame.ack_bits = take(8);
  if (frame.credit != 0) frame.payload_bytes -= frame.payload_bytes % frame.credit;
  if (frame.op == tb::Op::kGetRequest) frame.payload_bytes = 0;
  if (frame.opcode >= Opcode::kPause || frame.opcode == Opcode::kAck || frame.opcode == Opcode::kNack) {
    frame.payload_bytes = 0;
    frame.flags &= static_cast<std::uint8_t>(~(tb::kFlagFirst | tb::kFlagLast));
  }
  if (frame.format == WireFormat::kMacControl) frame.flags &= tb::kFlagCorrupt;  // nothing marks these
  const bool flits = frame.format == WireFormat::kUalink;
  frame.frame_bytes = tb::least_frame_bytes(frame) + (flits ? slack % 2 * 640 : slack);
  if (!tb::carries(frame)) return;
  Bytes out(tb::encoded_bytes(frame, snap));
  out.resize(tb::encode(frame, snap, out));
  tb::stamp(out, frame, frame.ack_bits, frame.psn);
  const Read all = read(out);
  expect(all.decoded == tb::Decoded::kFrame, "a frame that a format can say does not decode");
  const bool cnp = frame.opcode == Opcode::kCnp || frame.format == WireFormat::kMacControl;
  expect(all.frame.opcode == frame.opcode && all.frame.format == frame.format && all.frame.flags == frame.flags &&
             all.frame.payload_bytes == frame.payload_bytes && all.frame.frame_bytes == frame.frame_bytes &&
             (cnp || (all.frame.psn == frame.psn && all.frame.src == frame.src && all.frame.dst == frame.dst)),
         "a frame decodes to another");
  expect(cnp || tb::payload_intact(out, all.frame, all.trailer), "the payload of a new frame is not intact");
  check(out);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes(data, data + size);
  check(bytes);
  if (size >= 60 + tb::kTrailerBytes) check(mended(bytes));
  if (size >= kFieldBytes) check_fields(data);
  return 0;
}
