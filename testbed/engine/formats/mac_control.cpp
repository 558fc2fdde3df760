// MAC control: pauses (IEEE 802.1Qbb) and credits.
#include "codec.hpp"

namespace tb::mac_control {

namespace {

constexpr std::uint64_t kNeighbour = 0x0180C2000001ULL, kSwitch = 0x02544E00FFFFULL;

std::size_t whole_header(const Frame& /*frame*/, const IntStack* /*stack*/) {
  return kEthernet + 20;  // opcode, enable vector, 8 words
}

void put_frame(const Frame& frame, const IntStack* /*stack*/, unsigned char* out) {
  put(out, kNeighbour, 6);
  put(out + 6, kSwitch, 6);
  put(out + 12, kMacControlEtherType, 2);
  put(out + 14, frame.opcode == Opcode::kPause ? kPfcOpcode : kCreditOpcode, 2);
  put(out + 16, frame.credit, 2);
  for (std::uint32_t c = 0; c < kClasses; ++c) put(out + 18 + std::size_t{2} * c, control_word(frame, c), 2);
}

bool get_frame(std::span<const unsigned char> bytes, Frame& frame, IntStack& /*stack*/) {
  const std::uint16_t opcode = get16(&bytes[14]);
  if (get(&bytes[0], 6) != kNeighbour || get(&bytes[6], 6) != kSwitch) return false;
  frame.opcode = opcode == kPfcOpcode ? Opcode::kPause : Opcode::kCredit;
  frame.credit = get16(&bytes[16]);
  frame.src = frame.dst = 0xFFFF;
  for (std::uint32_t c = 0; c < kClasses; ++c) set_control_word(frame, c, get16(&bytes[18 + std::size_t{2} * c]));
  return opcode == kPfcOpcode || opcode == kCreditOpcode;
}

}  // namespace

}  // namespace tb::mac_control

namespace tb {

const Codec kMacControlCodec = {
    .least = {64, 64, 64},
    .opcodes = bit_of(Opcode::kPause) | bit_of(Opcode::kCredit),
    .header_bytes = mac_control::whole_header,
    .put = mac_control::put_frame,
    .get = mac_control::get_frame,
};

}  // namespace tb
