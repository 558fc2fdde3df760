#include "virtual_clock.hpp"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "wire.hpp"

namespace tb {

namespace {

constexpr std::size_t kReceiveBufferBytes = 64U << 20;
constexpr int kLossMilliseconds = 200;
constexpr int kWaitMilliseconds = 500;

std::vector<std::uint32_t> members_of(const std::vector<std::uint32_t>& group_of, std::uint32_t number) {
  std::vector<std::uint32_t> members;
  for (std::uint32_t entity = 0; entity < group_of.size(); ++entity) {
    if (group_of[entity] == number) members.push_back(entity);
  }
  if (members.empty()) throw std::invalid_argument("group " + std::to_string(number) + " has no entity");
  return members;
}

void enter_namespace(const std::string& path) {
  if (path.empty()) return;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || setns(fd, CLONE_NEWNET) != 0) {
    const int error = errno;
    if (fd >= 0) close(fd);
    throw std::system_error(error, std::generic_category(), "enter network namespace " + path);
  }
  close(fd);
}

}  // namespace

void BufferPool::grow() {
  const auto first = static_cast<std::uint32_t>(slabs_.size()) * kSlab;
  slabs_.push_back(std::make_unique<unsigned char[]>(kSlab * bytes_));
  length_.resize(first + kSlab);
  for (std::uint32_t i = kSlab; i-- > 0;) free_.push_back(first + i);
}

VirtualGroup::VirtualGroup(const Plan& plan, std::vector<std::uint32_t> group_of, std::uint32_t number,
                           ClockSegment& clock, const std::vector<MemberPlace>& places, std::uint32_t snap_bytes,
                           int punts_fd)
    : group_(plan, members_of(group_of, number)),
      clock_(clock),
      group_of_(std::move(group_of)),
      number_(number),
      snap_bytes_(snap_bytes),
      punts_fd_(punts_fd),
      buffers_(plan.max_frame_bytes() + kMinFrameBytes + kTrailerBytes),
      socket_of_(plan.nodes.size(), 0) {
  const std::vector<std::uint32_t> members = members_of(group_of_, number);
  if (places.size() != members.size()) throw std::invalid_argument("one place for each entity of the group");
  for (const std::uint32_t member : members) plan.nodes[member].model->check_real_frames();
  group_.set_io(this);
  for (std::size_t i = 0; i < members.size(); ++i) open_member(plan, members[i], places[i]);
}

void VirtualGroup::open_member(const Plan& plan, std::uint32_t entity, const MemberPlace& place) {
  enter_namespace(place.netns);
  socket_of_[entity] = sockets_.size();
  sockets_.push_back(std::make_unique<PacketSocket>(place.interfaces, kReceiveBufferBytes));
  const auto& ports = group_.entity(entity)->ports();
  std::vector<Inlet>& inlets = inlets_.emplace_back();
  for (std::uint32_t number = 0; number < ports.size(); ++number) {
    const Port& port = ports[number];
    const bool outside = port.wire != kNoWire && port.peer == nullptr;
    if (outside && (number >= place.interfaces.size() || place.interfaces[number].empty())) {
      throw std::invalid_argument("port " + std::to_string(number) + " of " + plan.nodes[entity].name +
                                  " has no interface");
    }
    const std::uint32_t incoming = outside ? port.wire ^ 1U : kNoWire;
    inlets.push_back({entity, number, incoming, 0, plan.nodes[entity].model->ingress()});
  }
}

ps_t VirtualGroup::send(const Entity& from, std::uint32_t port_number, Frame* frame, ps_t first_bit_ps, ps_t event_ps) {
  const Port& port = from.ports()[port_number];
  if (mute_) {
    group_.give_back(frame);
    return kNever;
  }
  if (frame->buffer == kNoBuffer) {
    frame->buffer = buffers_.take();
    const std::span<unsigned char> room{buffers_.at(frame->buffer), buffers_.bytes()};
    buffers_.length(frame->buffer) = static_cast<std::uint32_t>(encode(*frame, snap_bytes_, room, stack_of(*frame)));
  }
  const std::span<unsigned char> bytes{buffers_.at(frame->buffer), buffers_.length(frame->buffer)};
  stamp(bytes, *frame, first_bit_ps, clock_.sent(port.wire));
  sockets_[socket_of_[from.id()]]->send(port_number, bytes);
  ++clock_.sent(port.wire);
  ++clock_.line(group_of_[port.peer_entity]).frames_to;
  release(frame);
  group_.give_back(frame);
  const std::uint32_t peer = group_of_[port.peer_entity];
  clock_.next(peer) = std::min<ps_t>(clock_.next(peer), event_ps);
  return event_ps + clock_.echo(port.wire);
}

// What the controller makes of it takes effect from the hold on, so nobody acts beyond that. The orchestrator hands it
// over then: the controller is not to know of it sooner.
void VirtualGroup::punt(const Entity& from, std::uint32_t port, const Frame& frame, ps_t now_ps) {
  ClockHeader& header = clock_.header();
  if (mute_ || punts_fd_ < 0 || header.punt_latency_ps == 0) return;
  std::vector<unsigned char> bytes(buffers_.bytes());
  if (frame.buffer != kNoBuffer) {
    const unsigned char* first = buffers_.at(frame.buffer);
    bytes.assign(first, first + buffers_.length(frame.buffer));
  } else {
    bytes.resize(encode(frame, snap_bytes_, bytes, stack_of(frame)));
  }
  stamp(bytes, frame, now_ps, 0);
  const PuntHead head{now_ps, from.id(), port, static_cast<std::uint32_t>(bytes.size()), 0};
  const auto* head_bytes = reinterpret_cast<const unsigned char*>(&head);
  bytes.insert(bytes.begin(), head_bytes, head_bytes + sizeof head);
  if (write(punts_fd_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    throw std::system_error(errno, std::generic_category(), "write down a frame for the CPU");
  }
  const ps_t hold_ps = std::min<ps_t>(header.barrier_ps.load(), now_ps + header.punt_latency_ps);
  header.barrier_ps.store(hold_ps);
  group_.stop_before(hold_ps);
}

void VirtualGroup::adopt(Frame* frame, std::span<const unsigned char> bytes) {
  if (bytes.size() > buffers_.bytes()) throw ClockError("a frame of the CPU is larger than any of a card");
  frame->buffer = buffers_.take();
  std::copy(bytes.begin(), bytes.end(), buffers_.at(frame->buffer));
  buffers_.length(frame->buffer) = static_cast<std::uint32_t>(bytes.size());
}

void VirtualGroup::duplicate(Frame* frame) {
  const std::uint32_t original = frame->buffer;
  frame->buffer = buffers_.take();
  std::copy_n(buffers_.at(original), buffers_.length(original), buffers_.at(frame->buffer));
  buffers_.length(frame->buffer) = buffers_.length(original);
}

void VirtualGroup::rewrite(Frame* frame) {
  std::uint32_t& length = buffers_.length(frame->buffer);
  const std::span<unsigned char> room{buffers_.at(frame->buffer), buffers_.bytes()};
  length = static_cast<std::uint32_t>(tb::rewrite(*frame, room, length, stack_of(*frame)));
}

void VirtualGroup::drain() {
  for (std::size_t socket = 0; socket < sockets_.size(); ++socket) {
    std::uint64_t missing = 0;
    for (const Inlet& inlet : inlets_[socket]) {
      if (inlet.wire != kNoWire) missing += clock_.sent(inlet.wire) - inlet.received;
    }
    while (missing > 0) missing -= drain_socket(socket, missing);
  }
  clock_.line(number_).frames_taken = clock_.line(number_).frames_to;
}

std::uint64_t VirtualGroup::drain_socket(std::size_t socket, std::uint64_t missing) {
  const std::uint32_t buffer = buffers_.take();
  const auto got = sockets_[socket]->receive({buffers_.at(buffer), buffers_.bytes()}, false);
  if (got.bytes == 0) {
    buffers_.give(buffer);
    if (sockets_[socket]->wait(kLossMilliseconds)) return 0;
    throw ClockError(std::to_string(missing) + " frame(s) counted as sent did not arrive; the kernel dropped " +
                     std::to_string(sockets_[socket]->kernel_drops()) + " on this socket");
  }
  return take_or_leave(socket, buffer, got);
}

// Takes what the socket gave, if it is ours; returns how many of our frames that were.
std::uint64_t VirtualGroup::take_or_leave(std::size_t socket, std::uint32_t buffer, const PacketSocket::Received& got) {
  buffers_.length(buffer) = static_cast<std::uint32_t>(got.bytes);
  const bool ours = got.known_port && got.port < inlets_[socket].size() && inlets_[socket][got.port].wire != kNoWire;
  const std::uint64_t before = ours ? inlets_[socket][got.port].received : 0;
  if (ours) take(inlets_[socket][got.port], buffer);
  if (ours && inlets_[socket][got.port].received > before) return 1;
  ++clock_.line(number_).foreign;
  buffers_.give(buffer);
  return 0;
}

void VirtualGroup::take(Inlet& inlet, std::uint32_t buffer) {
  const std::span<const unsigned char> bytes{buffers_.at(buffer), buffers_.length(buffer)};
  Frame* frame = group_.take_frame();
  Trailer trailer;
  IntStack stack;
  const Decoded decoded = decode(bytes, *frame, trailer, stack);
  if (decoded == Decoded::kForeign) {
    group_.give_back(frame);
    return;
  }
  const auto where = [&] { return group_.entity(inlet.entity)->name() + " port " + std::to_string(inlet.port); };
  if (decoded == Decoded::kDamaged) throw ClockError("a frame reached " + where() + " damaged");
  if (trailer.link_seq != inlet.received) {
    throw ClockError(where() + ": frame " + std::to_string(trailer.link_seq) + " came where " +
                     std::to_string(inlet.received) + " was due: a frame was lost, repeated or reordered");
  }
  ++inlet.received;
  if (has_telemetry(bytes)) group_.keep_stack(frame, stack);
  note_wire(*frame, trailer.byte_time_ps);
  const ps_t event_ps = Port::event_ps(inlet.ingress, *frame, trailer.first_bit_ps);
  if (event_ps < clock_ps_) {
    throw ClockError(where() + ": a frame for " + std::to_string(event_ps) + " ps came when the clock stood at " +
                     std::to_string(clock_ps_) + " ps");
  }
  frame->buffer = buffer;
  if (group_.entity(inlet.entity)->owns(frame->dst)) {
    if (!payload_intact(bytes, *frame, trailer)) throw ClockError("a payload reached " + where() + " changed");
    release(frame);
  }
  group_.deliver(inlet.entity, inlet.port, frame, event_ps);
}

ps_t VirtualGroup::horizon() {
  const std::uint32_t groups = clock_.header().groups;
  ps_t least = kNever;
  for (std::uint32_t other = 0; other < groups; ++other) {
    if (other != number_) least = std::min(least, clock_.next(other) + clock_.reach(other, number_));
  }
  return least;
}

void VirtualGroup::turn() {
  const std::lock_guard turning(turning_);
  GroupLine& line = clock_.line(number_);
  ++line.wakes;
  drain();
  const ClockHeader& header = clock_.header();
  group_.stop_when_done(reported_done_ + header.sources - header.sources_done);  // then nobody waits for anything
  group_.run(std::min<ps_t>(horizon(), header.barrier_ps.load(std::memory_order_relaxed)));
  clock_ps_ = std::max(clock_ps_, std::min(group_.limit_ps(), kNever));
  clock_.next(number_) = group_.next_event_ps();
  line.clock_ps = group_.now_ps();
  line.hops = group_.hops();
  line.messages = group_.messages_completed();
  clock_.header().sources_done += group_.sources_done() - reported_done_;
  reported_done_ = group_.sources_done();
}

// Returns whether the token stays here.
bool VirtualGroup::pass_on() {
  ClockHeader& header = clock_.header();
  if (header.sources_done == header.sources) {
    clock_.quit(Quit::kDone);
    return true;
  }
  const std::uint64_t* next = clock_.next_all();
  auto first = std::min_element(next, next + header.groups);
  while (*first >= header.barrier_ps.load(std::memory_order_relaxed)) {
    if (header.barrier_ps.load() >= kNever) {
      clock_.quit(Quit::kDeadlock);
      return true;
    }
    clock_.hold();
    if (header.quit.load() != 0) return true;
    first = std::min_element(next, next + header.groups);
  }
  const auto group = static_cast<std::uint32_t>(first - next);
  if (group == number_) return true;
  clock_.wake(group);
  return false;
}

bool VirtualGroup::wait_for_token() {
  GroupLine& line = clock_.line(number_);
  if (clock_.next(number_) >= kNever && sockets_.size() == 1) {
    line.waits_for_frame.store(1);
    if (line.futex.load() == 0 && clock_.header().quit.load() == 0) {
      const std::uint32_t buffer = buffers_.take();
      const auto got = sockets_[0]->receive({buffers_.at(buffer), buffers_.bytes()}, true);
      const std::lock_guard turning(turning_);
      if (got.bytes == 0) {
        buffers_.give(buffer);
      } else {
        take_or_leave(0, buffer, got);
      }
    }
    line.waits_for_frame.store(0);
  }
  return clock_.wait(number_, kWaitMilliseconds);
}

void VirtualGroup::resume(const std::vector<Reached>& frames, ps_t now_ps) {
  if (group_.entities().size() != 1 || started_) throw std::invalid_argument("one entity, not started, is resumed");
  const std::uint32_t entity = group_.entities().front()->id();
  mute_ = true;
  group_.start();
  started_ = true;
  for (const Reached& reached : frames) {
    Frame* frame = group_.take_frame();
    *frame = reached.frame;
    frame->cookie = frame->ingress = frame->queue = 0;
    if (frame->telemetry != kNoTelemetry) {
      const std::uint32_t place = group_.telemetry.int_stacks.take();
      group_.telemetry.int_stacks.at(place) = reached.hops;
      frame->telemetry = place + telemetry_hops(reached.frame) * kTelemetryHop;
    }
    group_.deliver(entity, reached.port, frame, reached.event_ps);
  }
  while (group_.next_event_ps() < now_ps) group_.run(now_ps);
  mute_ = false;
  clock_ps_ = now_ps;
  reported_done_ = group_.sources_done();
  for (Inlet& inlet : inlets_.front()) {
    if (inlet.wire != kNoWire) inlet.received = clock_.sent(inlet.wire);
  }
}

void VirtualGroup::get_ready() {
  clock_.line(number_).pid = static_cast<std::uint32_t>(getpid());
  if (!started_) {
    const std::lock_guard turning(turning_);
    group_.start();
    started_ = true;
  }
  clock_.next(number_) = group_.next_event_ps();
  clock_.header().ready.fetch_add(1);
  ready_ = true;
}

Quit VirtualGroup::run() {
  if (!ready_) get_ready();
  const ClockHeader& header = clock_.header();
  while (header.quit.load(std::memory_order_relaxed) == 0) {
    if (!holds_token_ && !wait_for_token()) continue;
    if (header.quit.load(std::memory_order_relaxed) != 0) break;
    holds_token_ = true;
    if (const std::uint32_t orders = header.orders.load(); orders != orders_read_) {
      orders_read_ = orders;
      return Quit::kRunning;
    }
    turn();
    holds_token_ = pass_on();
  }
  return static_cast<Quit>(header.quit.load());
}

}  // namespace tb
