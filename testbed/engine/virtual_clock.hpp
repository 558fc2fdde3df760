// The virtual clock: processes that run one model in lock-step over shared memory.
//
// Rules.
//  1. Exactly one process holds the token; only it touches the shared arrays, runs events and sends frames.
//  2. `next[g]` is the time of group g's earliest event, frames on their way to it included: a sender lowers it.
//  3. Group g may act before its horizon: min over the others of next[j] + reach[j][g], where reach is the shortest
//     delay of any chain of frames from j to g. Each frame it sends lowers the horizon to the earliest answer: its
//     event at the neighbour plus echo[wire], the shortest chain back, in which no switch sends where it came from.
//  4. The holder drains its socket up to the frames counted as sent to it before it acts, and no frame may lie in its
//     past: that is asserted for each one, since comparing results would not find every overstated reach.
//  5. The token goes to the group with the earliest event. That group can always act, since every reach is above zero.
//  6. No event at `barrier_ps` or later is processed. A holder that finds nothing earlier holds the clock: virtual time
//     stands still until the orchestrator, which may have written orders and lowered `next` for those concerned, moves
//     the barrier. Whoever has the token next looks for orders before it acts.
// WARNING: `Group::send`, `Port::lookahead_ps`, `reach_matrix` and `echo_delays` must agree on when a frame becomes an
// event, and `NodeModel::turnaround_ps` on what an event can cause.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "group.hpp"
#include "packet_io.hpp"
#include "plan.hpp"
#include "replay.hpp"

namespace tb {

inline constexpr std::uint64_t kClockMagic = 0x31304B434F4C4356ULL;

/// Why a run is over.
enum class Quit : std::uint32_t { kRunning = 0, kDone = 1, kDeadlock = 2, kError = 3, kStopped = 4 };

/// One group's part of the shared memory: two cache lines.
///
/// How it waits for the token: on its futex, or, with no event of its own, for the frame that comes before it.
/// The latter saves both futex calls, and is safe because only a frame can make it the holder: `next` is kNever. The
/// giver sets the futex word and then reads `waits_for_frame`; the waiter sets `waits_for_frame` and then reads the
/// word; both in sequentially consistent order, so one of them sees the other.
struct alignas(128) GroupLine {
  std::atomic<std::uint32_t> futex;  // 1: the token is here
  std::atomic<std::uint32_t> waits_for_frame;
  std::uint32_t pid;
  std::uint32_t reserved;
  std::uint64_t frames_to;     // sent to this group; written by the holder
  std::uint64_t frames_taken;  // of these, taken from the socket; written by the group as holder
  std::uint64_t clock_ps;      // where its event loop is; for progress only
  std::uint64_t hops;          // frames sent
  std::uint64_t wakes;         // times the token came
  std::uint64_t messages;      // messages completed here
  std::uint64_t foreign;       // frames that are not ours
};
static_assert(sizeof(GroupLine) == 128);

struct ClockHeader {
  std::uint64_t magic;
  std::uint32_t groups;
  std::uint32_t wires;
  std::uint32_t sources;
  std::uint32_t sources_done;
  std::atomic<std::uint32_t> quit;    // Quit
  std::atomic<std::uint32_t> ready;   // groups that wait for the start
  std::atomic<std::uint64_t> beat;    // hand-offs
  std::atomic<std::uint32_t> holder;  // group with the token
  std::atomic<std::uint32_t> held;    // 1: the clock stands at the barrier
  std::atomic<std::uint64_t> barrier_ps;
  std::uint64_t punt_latency_ps;      // from a frame's way to the CPU to a hold; 0: nobody looks at it
  std::atomic<std::uint32_t> orders;  // written so far
  std::uint32_t reserved[15];
};
static_assert(sizeof(ClockHeader) == 128);

/// The shared memory of a run: header, lines, next, sent by wire, echo by wire, reach.
class ClockSegment {
 public:
  /// Size for so many groups and wires [bytes].
  static std::size_t bytes(std::uint32_t groups, std::uint32_t wires);
  /// Map the memory behind `fd`; `create` lays it out. Throws std::system_error, std::invalid_argument.
  ClockSegment(int fd, std::uint32_t groups, std::uint32_t wires, bool create);
  ~ClockSegment();
  ClockSegment(const ClockSegment&) = delete;
  ClockSegment& operator=(const ClockSegment&) = delete;

  [[nodiscard]] ClockHeader& header() { return *header_; }
  [[nodiscard]] GroupLine& line(std::uint32_t group) { return lines_[group]; }
  [[nodiscard]] std::uint64_t& next(std::uint32_t group) { return next_[group]; }
  [[nodiscard]] std::uint64_t& sent(std::uint32_t wire) { return sent_[wire]; }
  [[nodiscard]] std::uint64_t& reach(std::uint32_t from, std::uint32_t to) {
    return reach_[std::size_t{from} * header_->groups + to];
  }
  [[nodiscard]] std::uint64_t& echo(std::uint32_t wire) { return echo_[wire]; }
  [[nodiscard]] const std::uint64_t* next_all() const { return next_; }
  /// Give the token to `group`.
  void wake(std::uint32_t group);
  /// Wait for the token at most `milliseconds`; false on time-out.
  bool wait(std::uint32_t group, int milliseconds);
  /// End the run for `reason` unless it has ended, and wake everybody.
  void quit(Quit reason);
  /// Stand still until the orchestrator calls `release`, or the run is over.
  void hold();
  /// Let the clock go on until `barrier_ps`; `orders` have been written by then.
  void release(ps_t barrier_ps, std::uint32_t orders);
  /// A held clock: a group has something to do at a time.
  void lower(std::uint32_t group, ps_t time_ps);

 private:
  void* base_ = nullptr;
  std::size_t size_ = 0;
  ClockHeader* header_ = nullptr;
  GroupLine* lines_ = nullptr;
  std::uint64_t* next_ = nullptr;
  std::uint64_t* sent_ = nullptr;
  std::uint64_t* echo_ = nullptr;
  std::uint64_t* reach_ = nullptr;
};

/// Shortest delays between groups [ps], row-major; `group_of[entity]`. The diagonal is the shortest way back.
std::vector<ps_t> reach_matrix(const Plan& plan, const std::vector<std::uint32_t>& group_of, std::uint32_t groups);

/// For each wire the shortest time from the event of a frame at its far end to an event that it may cause in the
/// sender's group [ps].
std::vector<ps_t> echo_delays(const Plan& plan, const std::vector<std::uint32_t>& group_of);

/// Data that cannot be trusted: a lost, damaged or late frame, or a broken rule of the clock.
class ClockError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Buffers for frames' bytes.
class BufferPool {
 public:
  explicit BufferPool(std::size_t bytes) : bytes_((bytes + 63) & ~std::size_t{63}) {}
  std::uint32_t take() {
    if (free_.empty()) grow();
    const std::uint32_t number = free_.back();
    free_.pop_back();
    return number;
  }
  void give(std::uint32_t number) { free_.push_back(number); }
  [[nodiscard]] unsigned char* at(std::uint32_t number) {
    return slabs_[number / kSlab].get() + (number % kSlab) * bytes_;
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  std::uint32_t& length(std::uint32_t number) { return length_[number]; }

 private:
  static constexpr std::uint32_t kSlab = 64;
  void grow();
  std::size_t bytes_;
  std::vector<std::unique_ptr<unsigned char[]>> slabs_;
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> length_;
};

/// Where the interfaces of an entity are.
struct MemberPlace {
  std::string netns;                    // path of its network namespace; empty: the process's own
  std::vector<std::string> interfaces;  // by port; empty: no link, or one inside the process
};

/// What stands before a frame's bytes in the file of those that went to a CPU; in the machine's byte order.
struct PuntHead {
  ps_t time_ps;
  std::uint32_t entity;
  std::uint32_t port;  // by which it came
  std::uint32_t bytes;
  std::uint32_t reserved;
};
static_assert(sizeof(PuntHead) == 24);

/// One process's part of a run under the virtual clock.
class VirtualGroup final : public FrameIo {
 public:
  /// `places[i]` says where member i (in order of entity number) lives; what goes to a CPU is appended to `punts_fd`,
  /// unless that is -1.
  VirtualGroup(const Plan& plan, std::vector<std::uint32_t> group_of, std::uint32_t number, ClockSegment& clock,
               const std::vector<MemberPlace>& places, std::uint32_t snap_bytes, int punts_fd = -1);
  /// Run until the run is over, and return why; or until there are orders, which the caller reads and carries out
  /// before it calls again (kRunning). Throws ClockError, StreamError, std::system_error.
  Quit run();
  /// Take the place of a process that has ended while the clock is held at `now_ps`: everything that its entity has
  /// received so far is given to this one, which comes to the same state by it. Before `run`, in a group of one entity;
  /// throws std::invalid_argument otherwise.
  void resume(const std::vector<Reached>& frames, ps_t now_ps);
  [[nodiscard]] Group& group() { return group_; }
  /// Look at the group from another thread while it runs: `look(group)` sees it between two turns. May wait for one.
  template <typename Look>
  auto between_turns(Look look) {
    const std::lock_guard still(turning_);
    return look(group_);
  }

  ps_t send(const Entity& from, std::uint32_t port, Frame* frame, ps_t first_bit_ps, ps_t event_ps) override;
  void duplicate(Frame* frame) override;
  void rewrite(Frame* frame) override;
  void adopt(Frame* frame, std::span<const unsigned char> bytes) override;
  void punt(const Entity& from, std::uint32_t port, const Frame& frame, ps_t now_ps) override;
  void release(Frame* frame) override {
    buffers_.give(frame->buffer);
    frame->buffer = kNoBuffer;
  }

 private:
  struct Inlet {  // where frames of one of our sockets come from
    std::uint32_t entity;
    std::uint32_t port;
    std::uint32_t wire;  // the incoming direction
    std::uint64_t received;
    Ingress ingress;
  };
  [[nodiscard]] const IntStack* stack_of(const Frame& frame) {
    if (frame.telemetry == kNoTelemetry) return nullptr;
    written_stack_ = {telemetry_hops(frame), group_.telemetry.int_stacks.at(telemetry_place(frame)).hop};
    return &written_stack_;
  }
  void open_member(const Plan& plan, std::uint32_t entity, const MemberPlace& place);
  void drain();
  std::uint64_t drain_socket(std::size_t socket, std::uint64_t missing);
  std::uint64_t take_or_leave(std::size_t socket, std::uint32_t buffer, const PacketSocket::Received& got);
  void take(Inlet& inlet, std::uint32_t buffer);
  [[nodiscard]] ps_t horizon();
  void turn();
  bool pass_on();
  bool wait_for_token();
  void get_ready();

  Group group_;
  std::mutex turning_;  // held while entities change; nobody else wants it unless a control plane reads counters
  ClockSegment& clock_;
  std::vector<std::uint32_t> group_of_;
  std::uint32_t number_;
  std::uint32_t snap_bytes_;
  int punts_fd_;
  BufferPool buffers_;
  std::vector<std::unique_ptr<PacketSocket>> sockets_;  // one for each member with interfaces
  std::vector<std::size_t> socket_of_;                  // entity id -> socket
  std::vector<std::vector<Inlet>> inlets_;              // socket, port
  IntStack written_stack_;                              // of the frame that is being written
  ps_t clock_ps_ = 0;                                   // events before this are processed
  std::uint32_t reported_done_ = 0;
  std::uint32_t orders_read_ = 0;
  bool started_ = false;
  bool ready_ = false;
  bool mute_ = false;  // what is sent has been sent before
  bool holds_token_ = false;
};

}  // namespace tb
