// UALink: flits. On a veth they stand as one descriptor with the fields that the models read, and the payload once.
#include "codec.hpp"

namespace tb::ualink {

namespace {

constexpr std::size_t kData = 20, kAnswer = 28;
constexpr std::uint32_t kFlitBytes = 640;  // data link flit of UALink 200G 1.0

std::size_t whole_header(const Frame& frame, const IntStack* /*stack*/) {
  return kEthernet + (is_data(frame) ? kData : kAnswer);
}

std::uint32_t flits(const Frame& frame) { return (frame.frame_bytes + kWireOverheadBytes) / kFlitBytes; }

void put_frame(const Frame& frame, const IntStack* /*stack*/, unsigned char* at) {
  put_ethernet(frame, at, kUalinkEtherType);
  unsigned char* out = at + kEthernet;
  const unsigned flags = (has_flag(frame, kFlagMarked) ? 4U : 0U) | (has_flag(frame, kFlagFirst) ? 2U : 0U) |
                         (has_flag(frame, kFlagLast) ? 1U : 0U);
  put(out, (static_cast<unsigned>(frame.opcode) << 4) | static_cast<unsigned>(frame.op), 1);
  put(out + 1, (frame.traffic_class() << 3) | (is_data(frame) ? flags : flags & 4U), 1);
  put(out + 2, flits(frame), 2);
  put(out + 4, frame.psn, 4);
  put(out + 8, frame.msn, 2);
  put(out + 10, is_data(frame) && has_flag(frame, kFlagLast) ? 0U : frame.index, 2);
  put(out + 12, frame.credit, 2);
  put(out + 14, frame.payload_bytes, 2);
  put(out + 16, frame.message_bytes, 4);
  if (!is_data(frame)) put(out + kData, frame.ack_bits, 8);
}

bool get_frame(std::span<const unsigned char> bytes, Frame& frame, IntStack& /*stack*/) {
  const unsigned char* at = &bytes[kEthernet];  // a frame on a veth has at least 46 bytes here
  const unsigned opcode = at[0] >> 4;
  const unsigned op = at[0] & 0xFU;
  if (opcode > static_cast<unsigned>(Opcode::kNack) || op > static_cast<unsigned>(Op::kGetResponse) || at[1] > 0x3F ||
      get16(at + 2) != flits(frame) || at[4] != 0 || get16(at + 14) != frame.payload_bytes) {
    return false;
  }
  frame.opcode = static_cast<Opcode>(opcode);
  frame.op = static_cast<Op>(op);
  frame.dscp = dscp_of_class(at[1] >> 3U);
  set_flag(frame, kFlagMarked, (at[1] & 4U) != 0);
  set_flag(frame, kFlagFirst, (at[1] & 2U) != 0);
  set_flag(frame, kFlagLast, (at[1] & 1U) != 0);
  frame.psn = get32(at + 4);
  frame.msn = get16(at + 8);
  frame.index = get16(at + 10);
  frame.credit = get16(at + 12);
  frame.message_bytes = get32(at + 16);
  if (!is_data(frame)) frame.ack_bits = get(at + kData, 8);
  return !is_data(frame) || !has_flag(frame, kFlagLast) || frame.index == 0;
}

}  // namespace

}  // namespace tb::ualink

namespace tb {

const Codec kUalinkCodec = {
    .least = {0, 0, ualink::kFlitBytes - kWireOverheadBytes},
    .opcodes = kDataAndAnswers & ~bit_of(Opcode::kTrimmed),
    .most_payload = 1U << 14,
    .batches = true,
    .flit_bytes = ualink::kFlitBytes,
    .header_bytes = ualink::whole_header,
    .put = ualink::put_frame,
    .get = ualink::get_frame,
};

}  // namespace tb
