-- Wireshark dissector of the testbed's own formats: thin header (alone, behind telemetry, in UDP), sockets in UDP,
-- Ultra Ethernet, scale-up Ethernet, UALink's descriptor, credits in MAC control, and the emulation trailer.
-- docs/wire-format.md has the fields.
--   tshark -X lua_script:testbed/engine/wireshark/tnic.lua -r run.pcapng

if package.loaded.tnic then -- as a plug-in already: a protocol must not be there twice
  return
end
package.loaded.tnic = true

local OPS = { [0] = "PUT", "PUT_SIGNAL", "SEND", "GET_REQUEST", "GET_RESPONSE", "batch" }
local OPCODES = { [0] = "data", "ACK", "NACK", "cut data" }
local ENTRY, INT_SHIM, INT_HOP = 4, 4, 16

local function proto(name, title, fields)
  local one = Proto(name, title)
  one.fields = fields
  return one
end

-- batch entries, of the thin header and of scale-up Ethernet
local b = {
  op = ProtoField.uint16("tnic.batch.op", "Operation", base.DEC, OPS, 0xE000),
  left = ProtoField.uint16("tnic.batch.left", "Messages behind it", base.DEC, nil, 0x1FFF),
  bytes = ProtoField.uint16("tnic.batch.bytes", "Bytes"),
}
local batch = proto("tnic_batch", "Transparent NIC batch", b)

local function add_batch(buffer, at, tree)
  local count = buffer(at, 2):bitfield(3, 13) + 1
  if at + count * ENTRY > buffer:len() then
    count = 0
  end
  for i = 0, count - 1 do
    local entry = tree:add(batch, buffer(at + i * ENTRY, ENTRY), "Message " .. i)
    entry:add(b.op, buffer(at + i * ENTRY, 2))
    entry:add(b.left, buffer(at + i * ENTRY, 2))
    entry:add(b.bytes, buffer(at + i * ENTRY + 2, 2))
  end
  return at + count * ENTRY
end

-- thin header
local t = {
  opcode = ProtoField.uint8("tnic.opcode", "Opcode", base.DEC, OPCODES, 0xC0),
  first = ProtoField.bool("tnic.first", "First packet", 8, nil, 0x20),
  last = ProtoField.bool("tnic.last", "Last packet", 8, nil, 0x10),
  marked = ProtoField.bool("tnic.marked", "Congestion experienced", 8, nil, 0x08),
  class = ProtoField.uint8("tnic.class", "Class", base.DEC, nil, 0x07),
  psn = ProtoField.uint24("tnic.psn", "PSN"),
  msn = ProtoField.uint16("tnic.msn", "MSN"),
  kind = ProtoField.uint16("tnic.kind", "Operation", base.DEC, OPS, 0xE000),
  length = ProtoField.uint16("tnic.length", "Payload bytes (0 in data: 8192)", base.DEC, nil, 0x1FFF),
  response = ProtoField.bool("tnic.response", "Of a response", 16, nil, 0x8000),
  index = ProtoField.uint16("tnic.index", "Index of the packet", base.DEC, nil, 0x7FFF),
  asked = ProtoField.uint32("tnic.asked_bytes", "Bytes asked for"),
  credit = ProtoField.uint16("tnic.credit", "Packets granted"),
  cut = ProtoField.uint16("tnic.cut", "Cut packet, less PSN, plus 1"),
  bitmap = ProtoField.uint64("tnic.bitmap", "Received beyond PSN", base.HEX),
  cause = ProtoField.uint16("tnic.cause", "Low bits of the PSN that caused it"),
  counter = ProtoField.uint24("tnic.marked_bytes", "Marked bytes so far"),
  op = ProtoField.uint8("tnic.op", "Acknowledges", base.DEC, OPS),
}
local thin = proto("tnic", "Transparent NIC", t)

local function thin_answer(buffer, tree)
  tree:add(t.credit, buffer(4, 2))
  tree:add(t.cut, buffer(6, 2))
  tree:add(t.bitmap, buffer(8, 8))
  tree:add(t.cause, buffer(16, 2))
  tree:add(t.counter, buffer(18, 3))
  tree:add(t.op, buffer(21, 1))
  return 22
end

local function thin_last(buffer, tree, pinfo)
  local kind = buffer(6, 2):bitfield(0, 3)
  tree:add(t.kind, buffer(6, 2))
  tree:add(t.length, buffer(6, 2))
  pinfo.cols.info:append(" " .. (OPS[kind] or kind))
  if buffer:len() < 12 then
    return 8
  end
  if kind == 5 then
    return add_batch(buffer, 8, tree)
  end
  if kind == 3 then
    tree:add(t.asked, buffer(8, 4))
    return 12
  end
  return 8
end

function thin.dissector(buffer, pinfo, root)
  local opcode = buffer:len() >= 8 and buffer(0, 1):bitfield(0, 2)
  if not opcode or ((opcode == 1 or opcode == 2) and buffer:len() < 22) then
    return 0
  end
  pinfo.cols.protocol = "TNIC"
  pinfo.cols.info = OPCODES[opcode] .. " PSN=" .. buffer(1, 3):uint()
  local tree = root:add(thin, buffer(0, 8))
  for _, field in ipairs({ t.opcode, t.first, t.last, t.marked, t.class }) do
    tree:add(field, buffer(0, 1))
  end
  tree:add(t.psn, buffer(1, 3))
  local size = 8
  if opcode == 1 or opcode == 2 then
    size = thin_answer(buffer, tree)
  else
    tree:add(t.msn, buffer(4, 2))
    if buffer(0, 1):bitfield(3, 1) == 1 then
      size = thin_last(buffer, tree, pinfo)
    else
      tree:add(t.response, buffer(6, 2))
      tree:add(t.index, buffer(6, 2))
    end
  end
  tree:set_len(size)
  return buffer:len()
end

-- in-band telemetry
local i = {
  hops = ProtoField.uint8("tnic_int.hops", "Hops"),
  room = ProtoField.uint8("tnic_int.room", "Room for hops"),
  node = ProtoField.uint32("tnic_int.node", "Switch"),
  ingress = ProtoField.uint16("tnic_int.ingress", "Ingress port"),
  egress = ProtoField.uint16("tnic_int.egress", "Egress port"),
  latency = ProtoField.uint32("tnic_int.latency_ns", "Latency [ns]"),
  class = ProtoField.uint32("tnic_int.class", "Class", base.DEC, nil, 0xFF000000),
  queue = ProtoField.uint32("tnic_int.queue", "Bytes before it / 64", base.DEC, nil, 0x00FFFFFF),
}
local telemetry = proto("tnic_int", "Transparent NIC telemetry", i)

function telemetry.dissector(buffer, pinfo, root)
  local hops = buffer:len() >= INT_SHIM and buffer(1, 1):uint() or 0
  local size = INT_SHIM + hops * INT_HOP
  if buffer:len() < size + 8 then
    return 0
  end
  local tree = root:add(telemetry, buffer(0, size))
  tree:add(i.hops, buffer(1, 1))
  tree:add(i.room, buffer(2, 1))
  for hop = 0, hops - 1 do
    local at = INT_SHIM + hop * INT_HOP
    local one = tree:add(telemetry, buffer(at, INT_HOP), "Hop " .. hop)
    one:add(i.node, buffer(at, 4))
    one:add(i.ingress, buffer(at + 4, 2))
    one:add(i.egress, buffer(at + 6, 2))
    one:add(i.latency, buffer(at + 8, 4))
    one:add(i.class, buffer(at + 12, 4))
    one:add(i.queue, buffer(at + 12, 4))
  end
  thin.dissector:call(buffer(size):tvb(), pinfo, root)
  return buffer:len()
end

-- sockets in UDP: the application's header
local d = {
  opcode = ProtoField.uint8("tnic_udp.opcode", "Opcode", base.DEC, OPCODES, 0xC0),
  first = ProtoField.bool("tnic_udp.first", "First packet", 8, nil, 0x20),
  last = ProtoField.bool("tnic_udp.last", "Last packet", 8, nil, 0x10),
  op = ProtoField.uint8("tnic_udp.op", "Operation", base.DEC, OPS, 0x07),
  psn = ProtoField.uint24("tnic_udp.psn", "PSN"),
  msn = ProtoField.uint16("tnic_udp.msn", "MSN"),
  cause = ProtoField.uint16("tnic_udp.cause", "Low bits of the PSN that caused it"),
  index = ProtoField.uint16("tnic_udp.index", "Index of the packet"),
  count = ProtoField.uint16("tnic_udp.messages", "Messages in it, 0 for one"),
  cut = ProtoField.uint16("tnic_udp.cut", "Cut packet, less PSN, plus 1"),
  bytes = ProtoField.uint32("tnic_udp.payload_bytes", "Payload bytes, or asked for"),
  credit = ProtoField.uint16("tnic_udp.credit", "Packets granted"),
  counter = ProtoField.uint24("tnic_udp.marked_bytes", "Marked bytes so far"),
  bitmap = ProtoField.uint64("tnic_udp.bitmap", "Received beyond PSN", base.HEX),
}
local sockets = proto("tnic_udp", "Transparent NIC testbed, sockets in UDP", d)

function sockets.dissector(buffer, pinfo, root)
  local opcode = buffer:len() >= 12 and buffer(0, 1):bitfield(0, 2)
  local answer = opcode == 1 or opcode == 2
  if not opcode or (answer and buffer:len() < 22) then
    return 0
  end
  local tree = root:add(sockets, buffer(0, answer and 22 or 12))
  for _, field in ipairs({ d.opcode, d.first, d.last, d.op }) do
    tree:add(field, buffer(0, 1))
  end
  tree:add(d.psn, buffer(1, 3))
  tree:add(answer and d.cause or d.msn, buffer(4, 2))
  if answer then
    tree:add(d.cut, buffer(6, 2))
    tree:add(d.credit, buffer(8, 2))
    tree:add(d.counter, buffer(10, 3))
    tree:add(d.bitmap, buffer(14, 8))
  else
    tree:add(buffer(0, 1):bitfield(3, 1) == 1 and d.count or d.index, buffer(6, 2))
    tree:add(d.bytes, buffer(8, 4))
  end
  pinfo.cols.info = OPCODES[opcode] .. " PSN=" .. buffer(1, 3):uint()
  return buffer:len()
end

-- Ultra Ethernet: packet delivery (PDS) and semantic (SES) headers
local UET_RUD, UET_ACK, UET_NACK = 2, 8, 12
local UET_TYPES = { [UET_RUD] = "RUD request", [UET_ACK] = "ACK_CC", [UET_NACK] = "NACK_CCX" }
local UET_NEXT = { [0] = "none", [3] = "standard request" }
local w = {
  kind = ProtoField.uint16("tnic_uet.type", "Type", base.DEC, UET_TYPES, 0xF800),
  behind = ProtoField.uint16("tnic_uet.next", "Next header", base.DEC, UET_NEXT, 0x0780),
  cut = ProtoField.bool("tnic_uet.cut", "Cut by a switch", 16, nil, 0x0020),
  ask = ProtoField.bool("tnic_uet.ack_request", "Acknowledge request", 16, nil, 0x0008),
  psn = ProtoField.uint32("tnic_uet.psn", "PSN; ACK: last received in order; NACK: expected"),
  offset = ProtoField.int16("tnic_uet.ack_psn_offset", "PSN that caused it, less PSN"),
  code = ProtoField.uint8("tnic_uet.nack_code", "NACK code", base.HEX, { [1] = "trimmed", [0x1A] = "loss inferred" }),
  to = ProtoField.uint16("tnic_uet.destination", "Context of the destination"),
  from = ProtoField.uint16("tnic_uet.source", "Context of the source"),
  opcode = ProtoField.uint8(
    "tnic_uet.opcode",
    "SES opcode",
    base.HEX,
    { [1] = "write", [2] = "read", [5] = "send", [0x30] = "response" }
  ),
  signal = ProtoField.bool("tnic_uet.header_data", "Header data: put with signal", 8, nil, 0x04),
  last = ProtoField.bool("tnic_uet.last", "End of message", 8, nil, 0x02),
  first = ProtoField.bool("tnic_uet.first", "Start of message", 8, nil, 0x01),
  msn = ProtoField.uint16("tnic_uet.msn", "Message number"),
  initiator = ProtoField.uint32("tnic_uet.initiator", "Initiator"),
  count = ProtoField.uint16("tnic_uet.messages", "Messages in it, 0 for one"),
  payload = ProtoField.uint16("tnic_uet.payload_bytes", "Payload bytes", base.DEC, nil, 0x3FFF),
  index = ProtoField.uint32("tnic_uet.index", "Index of the packet"),
  bytes = ProtoField.uint32("tnic_uet.request_bytes", "Request length"),
  credit = ProtoField.uint16("tnic_uet.credit", "Packets granted"),
  counter = ProtoField.uint24("tnic_uet.marked_bytes", "Marked bytes so far"),
  bitmap = ProtoField.uint64("tnic_uet.bitmap", "SACK bitmap", base.HEX),
  cause = ProtoField.uint16("tnic_uet.cause", "Low bits of the PSN that caused it"),
  packet = ProtoField.uint16("tnic_uet.cut_packet", "Cut packet, less PSN, plus 1"),
  response = ProtoField.bool("tnic_uet.response", "Of responses", 8, nil, 0x01),
}
local uet = proto("tnic_uet", "Ultra Ethernet transport", w)

local function uet_request(buffer, tree)
  tree:add(w.opcode, buffer(12, 1))
  for _, field in ipairs({ w.signal, w.last, w.first }) do
    tree:add(field, buffer(13, 1))
  end
  tree:add(w.msn, buffer(14, 2))
  tree:add(w.initiator, buffer(32, 4))
  if buffer(13, 1):bitfield(7, 1) == 1 then
    tree:add(w.count, buffer(50, 2))
  else
    tree:add(w.payload, buffer(46, 2))
    tree:add(w.index, buffer(48, 4))
  end
  tree:add(w.bytes, buffer(52, 4))
end

local function uet_ack(buffer, tree)
  tree:add(w.offset, buffer(2, 2))
  tree:add(w.response, buffer(12, 1))
  tree:add(w.bitmap, buffer(16, 8))
  tree:add(w.credit, buffer(24, 2))
  tree:add(w.counter, buffer(27, 3))
end

local function uet_nack(buffer, tree)
  tree:add(w.code, buffer(2, 1))
  tree:add(w.cause, buffer(12, 2))
  tree:add(w.packet, buffer(14, 2))
  tree:add(w.response, buffer(16, 1))
  tree:add(w.credit, buffer(17, 2))
  tree:add(w.counter, buffer(19, 3))
  tree:add(w.bitmap, buffer(24, 8))
end

local UET_KINDS = {
  [UET_RUD] = { 56, uet_request, "RUD request" },
  [UET_ACK] = { 32, uet_ack, "ACK" },
  [UET_NACK] = { 32, uet_nack, "NACK" },
}

function uet.dissector(buffer, pinfo, root)
  local kind = buffer:len() >= 12 and UET_KINDS[buffer(0, 2):bitfield(0, 5)]
  if not kind or buffer:len() < kind[1] then
    return 0
  end
  pinfo.cols.protocol = "UET"
  pinfo.cols.info = kind[3] .. " PSN=" .. buffer(4, 4):uint()
  local tree = root:add(uet, buffer(0, kind[1]))
  for _, field in ipairs({ w.kind, w.behind, w.ask, w.cut }) do
    tree:add(field, buffer(0, 2))
  end
  tree:add(w.psn, buffer(4, 4))
  tree:add(w.to, buffer(8, 2))
  tree:add(w.from, buffer(10, 2))
  kind[2](buffer, tree)
  return buffer:len()
end

-- scale-up Ethernet: reliability header
local s = {
  version = ProtoField.uint16("tnic_sue.version", "Version", base.DEC, nil, 0xC000),
  op = ProtoField.uint16("tnic_sue.op", "Op", base.DEC, { [0] = "ACK", "NACK" }, 0x3000),
  alone = ProtoField.bool("tnic_sue.alone", "Acknowledgement alone", 16, nil, 0x0800),
  xpuid = ProtoField.uint16("tnic_sue.xpuid", "XPU", base.DEC, nil, 0x03FF),
  npsn = ProtoField.uint16("tnic_sue.npsn", "NPSN"),
  vc = ProtoField.uint16("tnic_sue.vc", "Virtual channel", base.DEC, nil, 0xC000),
  asks = ProtoField.uint16("tnic_sue.asks", "Operation", base.DEC, OPS, 0x3800),
  cut = ProtoField.bool("tnic_sue.cut", "Cut by a switch", 16, nil, 0x0400),
  high = ProtoField.uint16("tnic_sue.psn_high", "PSN, upper bits", base.DEC, nil, 0x03FC),
  first = ProtoField.bool("tnic_sue.first", "First packet", 16, nil, 0x0002),
  last = ProtoField.bool("tnic_sue.last", "Last packet", 16, nil, 0x0001),
  apsn = ProtoField.uint16("tnic_sue.apsn", "APSN; data: index, or messages"),
  asked = ProtoField.uint32("tnic_sue.asked_bytes", "Bytes asked for"),
  credit = ProtoField.uint16("tnic_sue.credit", "Packets granted"),
  counter = ProtoField.uint24("tnic_sue.marked_bytes", "Marked bytes so far"),
  class = ProtoField.uint8("tnic_sue.class", "Class", base.DEC, nil, 0xE0),
  marked = ProtoField.bool("tnic_sue.marked", "Congestion experienced", 8, nil, 0x10),
  outside = ProtoField.uint16("tnic_sue.outside", "MSN; NACK: cut packet"),
}
local sue = proto("tnic_sue", "Scale-up Ethernet", s)

function sue.dissector(buffer, pinfo, root)
  if buffer:len() < 8 then
    return 0
  end
  pinfo.cols.protocol = "SUE"
  local tree = root:add(sue, buffer(0, 8))
  for _, field in ipairs({ s.version, s.op, s.alone, s.xpuid }) do
    tree:add(field, buffer(0, 2))
  end
  tree:add(s.npsn, buffer(2, 2))
  for _, field in ipairs({ s.vc, s.asks, s.cut, s.high, s.first, s.last }) do
    tree:add(field, buffer(4, 2))
  end
  tree:add(s.apsn, buffer(6, 2))
  local op = buffer(4, 2):bitfield(2, 3)
  if buffer(0, 2):bitfield(4, 1) == 1 and buffer:len() >= 13 then
    tree:add(s.credit, buffer(8, 2))
    tree:add(s.counter, buffer(10, 3))
    pinfo.cols.info = buffer(0, 2):bitfield(2, 2) == 0 and "ACK" or "NACK"
    return buffer:len()
  end
  pinfo.cols.info = (OPS[op] or op) .. " NPSN=" .. buffer(2, 2):uint()
  if op == 3 and buffer:len() >= 12 then
    tree:add(s.asked, buffer(8, 4))
  elseif buffer(4, 2):bitfield(15, 1) == 1 and buffer(6, 2):uint() > 0 and buffer:len() >= 12 then
    add_batch(buffer, 8, tree)
  end
  return buffer:len()
end

local compressed = Proto("tnic_suec", "Scale-up Ethernet, compressed header")

function compressed.dissector(buffer, pinfo, root)
  if buffer:len() < 12 then
    return 0
  end
  local tree = root:add(compressed, buffer(0, 4))
  tree:add(s.class, buffer(0, 1))
  tree:add(s.marked, buffer(0, 1))
  tree:add(s.outside, buffer(2, 2))
  sue.dissector:call(buffer(4):tvb(), pinfo, root)
  return buffer:len()
end

-- UALink's descriptor
local u = {
  opcode = ProtoField.uint8("tnic_ualink.opcode", "Opcode", base.DEC, OPCODES, 0xF0),
  op = ProtoField.uint8("tnic_ualink.op", "Operation", base.DEC, OPS, 0x0F),
  class = ProtoField.uint8("tnic_ualink.class", "Class", base.DEC, nil, 0x38),
  marked = ProtoField.bool("tnic_ualink.marked", "Congestion experienced", 8, nil, 0x04),
  first = ProtoField.bool("tnic_ualink.first", "First packet", 8, nil, 0x02),
  last = ProtoField.bool("tnic_ualink.last", "Last packet", 8, nil, 0x01),
  flits = ProtoField.uint16("tnic_ualink.flits", "Flits of 640 bytes"),
  psn = ProtoField.uint32("tnic_ualink.psn", "PSN"),
  msn = ProtoField.uint16("tnic_ualink.msn", "MSN"),
  index = ProtoField.uint16("tnic_ualink.index", "Index of the packet"),
  credit = ProtoField.uint16("tnic_ualink.credit", "Messages, or packets granted"),
  bytes = ProtoField.uint16("tnic_ualink.payload_bytes", "Payload bytes"),
  message = ProtoField.uint32("tnic_ualink.message_bytes", "Bytes of the message, or marked"),
  bitmap = ProtoField.uint64("tnic_ualink.bitmap", "Received beyond PSN", base.HEX),
}
local ualink = proto("tnic_ualink", "UALink flits", u)

function ualink.dissector(buffer, pinfo, root)
  if buffer:len() < 28 then
    return 0
  end
  pinfo.cols.protocol = "UALINK"
  local opcode = buffer(0, 1):bitfield(0, 4)
  local tree = root:add(ualink, buffer(0, 20))
  tree:add(u.opcode, buffer(0, 1))
  tree:add(u.op, buffer(0, 1))
  for _, field in ipairs({ u.class, u.marked, u.first, u.last }) do
    tree:add(field, buffer(1, 1))
  end
  tree:add(u.flits, buffer(2, 2))
  tree:add(u.psn, buffer(4, 4))
  local at = 8
  for _, field in ipairs({ u.msn, u.index, u.credit, u.bytes }) do
    tree:add(field, buffer(at, 2))
    at = at + 2
  end
  tree:add(u.message, buffer(16, 4))
  if opcode == 1 or opcode == 2 then
    tree:add(u.bitmap, buffer(20, 8))
  end
  pinfo.cols.info = (OPCODES[opcode] or opcode) .. " PSN=" .. buffer(4, 4):uint() .. " flits=" .. buffer(2, 2):uint()
  return buffer:len()
end

-- credits in MAC control, whose opcode Wireshark does not know
local c = {
  class = ProtoField.uint8("tnic_credit.class", "Class"),
  cells = ProtoField.uint16("tnic_credit.cells", "Cells that came free so far"),
}
local credits = proto("tnic_credit", "Transparent NIC testbed, credits", c)
local MAC_CONTROL, CREDITS = 0x8808, 0xFFFE

function credits.dissector(buffer, pinfo, root)
  if buffer:len() < 34 or buffer(12, 2):uint() ~= MAC_CONTROL or buffer(14, 2):uint() ~= CREDITS then
    return
  end
  pinfo.cols.info = "Credits"
  local tree = root:add(credits, buffer(14, 20))
  for class = 0, 7 do
    if buffer(16, 2):bitfield(15 - class, 1) == 1 then
      local one = tree:add(credits, buffer(18 + 2 * class, 2), "Class " .. class)
      one:add(c.class, buffer(17, 1), class)
      one:add(c.cells, buffer(18 + 2 * class, 2))
    end
  end
end

-- emulation trailer
local e = {
  cut = ProtoField.bool("tnic_trailer.cut", "Payload not all here", 8, nil, 0x01),
  damaged = ProtoField.bool("tnic_trailer.damaged", "Damaged on a wire", 8, nil, 0x02),
  kept = ProtoField.uint16("tnic_trailer.kept_bytes", "Payload bytes kept"),
  first_bit = ProtoField.uint64("tnic_trailer.first_bit_ps", "First bit at the far end [ps]"),
  link_seq = ProtoField.uint64("tnic_trailer.link_seq", "Link sequence"),
  frame = ProtoField.uint16("tnic_trailer.frame_bytes", "Modelled frame bytes"),
  payload = ProtoField.uint16("tnic_trailer.payload_bytes", "Modelled payload bytes"),
  byte_time = ProtoField.uint32("tnic_trailer.byte_time_ps", "Byte time on this wire [ps]"),
  crc = ProtoField.uint32("tnic_trailer.payload_crc", "Payload CRC32C", base.HEX),
  check = ProtoField.uint32("tnic_trailer.check", "Trailer CRC32C", base.HEX),
}
local trailer = proto("tnic_trailer", "Emulation trailer", e)
local TRAILER, MAGIC = 40, 0x544E5442

function trailer.dissector(buffer, _, root)
  local at = buffer:len() - TRAILER
  if at < 60 or buffer(at, 4):uint() ~= MAGIC then
    return
  end
  local tree = root:add(trailer, buffer(at, TRAILER))
  tree:add(e.cut, buffer(at + 5, 1))
  tree:add(e.damaged, buffer(at + 5, 1))
  tree:add(e.kept, buffer(at + 6, 2))
  tree:add(e.first_bit, buffer(at + 8, 8))
  tree:add(e.link_seq, buffer(at + 16, 8))
  tree:add(e.frame, buffer(at + 24, 2))
  tree:add(e.payload, buffer(at + 26, 2))
  tree:add(e.byte_time, buffer(at + 28, 4))
  tree:add(e.crc, buffer(at + 32, 4))
  tree:add(e.check, buffer(at + 36, 4))
end

register_postdissector(credits)
register_postdissector(trailer)
local ethertype, udp = DissectorTable.get("ethertype"), DissectorTable.get("udp.port")
ethertype:add(0x88B5, thin)
ethertype:add(0x88B6, telemetry)
ethertype:add(0xFE5C, compressed)
ethertype:add(0xFE0A, ualink)
udp:add(34997, thin)
udp:add(3333, sue)
udp:add(34998, sockets)
udp:add(4793, uet)
