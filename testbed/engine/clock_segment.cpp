// Shared memory of the virtual clock, and the shortest delays between groups.
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <ctime>
#include <functional>
#include <queue>
#include <stdexcept>
#include <system_error>

#include "virtual_clock.hpp"

namespace tb {

namespace {

long futex(std::atomic<std::uint32_t>* word, int operation, std::uint32_t value, const timespec* timeout) {
  return syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(word), operation, value, timeout, nullptr, 0);
}

}  // namespace

std::size_t ClockSegment::bytes(std::uint32_t groups, std::uint32_t wires) {
  const std::size_t words = std::size_t{groups} + std::size_t{2} * wires + std::size_t{groups} * groups;
  return sizeof(ClockHeader) + groups * sizeof(GroupLine) + words * sizeof(std::uint64_t);
}

ClockSegment::ClockSegment(int fd, std::uint32_t groups, std::uint32_t wires, bool create)
    : size_(bytes(groups, wires)) {
  if (create && ftruncate(fd, static_cast<off_t>(size_)) != 0) {
    throw std::system_error(errno, std::generic_category(), "size of the clock's shared memory");
  }
  base_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base_ == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "map the clock's shared memory");
  auto* bytes = static_cast<unsigned char*>(base_);
  header_ = reinterpret_cast<ClockHeader*>(bytes);
  lines_ = reinterpret_cast<GroupLine*>(bytes + sizeof(ClockHeader));
  next_ = reinterpret_cast<std::uint64_t*>(bytes + sizeof(ClockHeader) + groups * sizeof(GroupLine));
  sent_ = next_ + groups;
  echo_ = sent_ + wires;
  reach_ = echo_ + wires;
  if (create) {
    header_->magic = kClockMagic;
    header_->groups = groups;
    header_->wires = wires;
    header_->barrier_ps = kNever;
    for (std::uint32_t group = 0; group < groups; ++group) next_[group] = kNever;
  } else if (header_->magic != kClockMagic || header_->groups != groups || header_->wires != wires) {
    throw std::invalid_argument("the clock's shared memory belongs to another plan or version");
  }
}

ClockSegment::~ClockSegment() { munmap(base_, size_); }

void ClockSegment::wake(std::uint32_t group) {
  header_->holder.store(group, std::memory_order_relaxed);
  header_->beat.fetch_add(1, std::memory_order_relaxed);
  GroupLine& line = lines_[group];
  line.futex.store(1);
  const bool frame_wakes = line.waits_for_frame.load() != 0 && line.frames_to > line.frames_taken;
  if (!frame_wakes) futex(&line.futex, FUTEX_WAKE, 1, nullptr);
}

bool ClockSegment::wait(std::uint32_t group, int milliseconds) {
  std::atomic<std::uint32_t>& word = lines_[group].futex;
  const timespec timeout{milliseconds / 1000, (milliseconds % 1000) * 1000000L};
  while (word.load(std::memory_order_acquire) == 0) {
    if (futex(&word, FUTEX_WAIT, 0, &timeout) != 0 && errno == ETIMEDOUT) return false;
  }
  word.store(0, std::memory_order_relaxed);
  return true;
}

void ClockSegment::hold() {
  header_->held.store(1);
  const timespec timeout{0, 500'000'000L};
  while (header_->held.load() == 1 && header_->quit.load() == 0) futex(&header_->held, FUTEX_WAIT, 1, &timeout);
}

void ClockSegment::release(ps_t barrier_ps, std::uint32_t orders) {
  header_->barrier_ps.store(barrier_ps);
  header_->orders.store(orders);
  header_->held.store(0);
  futex(&header_->held, FUTEX_WAKE, INT_MAX, nullptr);
}

void ClockSegment::lower(std::uint32_t group, ps_t time_ps) {
  next_[group] = std::min<std::uint64_t>(next_[group], time_ps);
  if (lines_[group].waits_for_frame.load() != 0) kill(static_cast<pid_t>(lines_[group].pid), SIGUSR1);
}

void ClockSegment::quit(Quit reason) {
  auto running = static_cast<std::uint32_t>(Quit::kRunning);
  header_->quit.compare_exchange_strong(running, static_cast<std::uint32_t>(reason));
  futex(&header_->held, FUTEX_WAKE, INT_MAX, nullptr);
  for (std::uint32_t group = 0; group < header_->groups; ++group) {
    lines_[group].futex.store(1);
    futex(&lines_[group].futex, FUTEX_WAKE, INT_MAX, nullptr);
    if (lines_[group].waits_for_frame.load() != 0) kill(static_cast<pid_t>(lines_[group].pid), SIGUSR1);
  }
}

namespace {

using Item = std::pair<ps_t, std::uint32_t>;
using Earliest = std::priority_queue<Item, std::vector<Item>, std::greater<>>;

/// One direction of a link; its number is the wire's.
struct Edge {
  std::uint32_t from;
  std::uint32_t to;
  ps_t delay_ps;
  bool control;  // MAC control frames may come this way
};

std::vector<Edge> edges_of(const Plan& plan) {
  std::vector<Edge> edges;
  for (const PlanLink& link : plan.links) {
    const Port there = plan.port_of(link, true), back = plan.port_of(link, false);
    edges.push_back({link.a, link.b, there.lookahead_ps(), there.sends_control});
    edges.push_back({link.b, link.a, back.lookahead_ps(), back.sends_control});
  }
  return edges;
}

std::vector<std::vector<std::uint32_t>> leaving(const Plan& plan, const std::vector<Edge>& edges) {
  std::vector<std::vector<std::uint32_t>> by_node(plan.nodes.size());
  for (std::uint32_t wire = 0; wire < edges.size(); ++wire) by_node[edges[wire].from].push_back(wire);
  return by_node;
}

}  // namespace

std::vector<ps_t> reach_matrix(const Plan& plan, const std::vector<std::uint32_t>& group_of, std::uint32_t groups) {
  const std::vector<Edge> edges = edges_of(plan);
  const auto out = leaving(plan, edges);
  std::vector<ps_t> reach(std::size_t{groups} * groups, kNever);
  for (std::uint32_t from = 0; from < plan.nodes.size(); ++from) {
    std::vector<ps_t> distance(plan.nodes.size(), kNever);
    Earliest open;
    for (const std::uint32_t wire : out[from]) open.emplace(edges[wire].delay_ps, edges[wire].to);
    while (!open.empty()) {
      const auto [so_far, node] = open.top();
      open.pop();
      if (so_far >= distance[node]) continue;
      distance[node] = so_far;
      ps_t& entry = reach[std::size_t{group_of[from]} * groups + group_of[node]];
      entry = std::min(entry, so_far);
      for (const std::uint32_t wire : out[node]) open.emplace(so_far + edges[wire].delay_ps, edges[wire].to);
    }
  }
  return reach;
}

std::vector<ps_t> echo_delays(const Plan& plan, const std::vector<std::uint32_t>& group_of) {
  const std::vector<Edge> edges = edges_of(plan);
  const auto out = leaving(plan, edges);
  std::vector<ps_t> echo(edges.size(), kNever);
  std::vector<ps_t> turnaround;
  turnaround.reserve(plan.nodes.size());
  for (const PlanNode& node : plan.nodes) turnaround.push_back(node.model->turnaround_ps());
  std::vector<ps_t> distance(edges.size());
  for (std::uint32_t start = 0; start < edges.size(); ++start) {
    // Dijkstra over wires: what came over a wire leaves by another one at once, by its reverse after a turnaround;
    // a control frame may set its reverse free at once.
    const std::uint32_t home = group_of[edges[start].from];
    std::fill(distance.begin(), distance.end(), kNever);
    Earliest open;
    open.emplace(0, start);
    while (!open.empty()) {
      const auto [so_far, wire] = open.top();
      open.pop();
      if (so_far >= distance[wire]) continue;
      distance[wire] = so_far;
      const std::uint32_t node = edges[wire].to;
      if (wire != start && group_of[node] == home) {
        echo[start] = so_far;
        break;
      }
      for (const std::uint32_t next : out[node]) {
        const ps_t wait_ps = next == (wire ^ 1U) && !edges[wire].control ? turnaround[node] : 0;
        if (wait_ps < kNever) open.emplace(so_far + wait_ps + edges[next].delay_ps, next);
      }
    }
  }
  return echo;
}

}  // namespace tb
