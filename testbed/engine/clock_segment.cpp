// Shared memory of the virtual clock, and the shortest delays between groups.
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
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
  const std::size_t words = std::size_t{groups} + wires + std::size_t{groups} * groups;
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
  reach_ = sent_ + wires;
  if (create) {
    header_->magic = kClockMagic;
    header_->groups = groups;
    header_->wires = wires;
    for (std::uint32_t group = 0; group < groups; ++group) next_[group] = kNever;
  } else if (header_->magic != kClockMagic || header_->groups != groups || header_->wires != wires) {
    throw std::invalid_argument("the clock's shared memory belongs to another plan or version");
  }
}

ClockSegment::~ClockSegment() { munmap(base_, size_); }

void ClockSegment::wake(std::uint32_t group) {
  header_->holder.store(group, std::memory_order_relaxed);
  header_->beat.fetch_add(1, std::memory_order_relaxed);
  lines_[group].futex.store(1, std::memory_order_release);
  futex(&lines_[group].futex, FUTEX_WAKE, 1, nullptr);
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

void ClockSegment::quit(Quit reason) {
  auto running = static_cast<std::uint32_t>(Quit::kRunning);
  header_->quit.compare_exchange_strong(running, static_cast<std::uint32_t>(reason));
  for (std::uint32_t group = 0; group < header_->groups; ++group) {
    lines_[group].futex.store(1, std::memory_order_release);
    futex(&lines_[group].futex, FUTEX_WAKE, INT_MAX, nullptr);
  }
}

std::vector<ps_t> reach_matrix(const Plan& plan, const std::vector<std::uint32_t>& group_of, std::uint32_t groups) {
  struct Edge {
    std::uint32_t to;
    ps_t delay_ps;
  };
  std::vector<std::vector<Edge>> edges(plan.nodes.size());
  for (const PlanLink& link : plan.links) {
    Port port;
    port.byte_time_ps = link.byte_time_ps;
    port.latency_ps = link.latency_ps;
    port.peer_ingress = plan.nodes[link.b].model->ingress();
    edges[link.a].push_back({link.b, port.lookahead_ps()});
    port.peer_ingress = plan.nodes[link.a].model->ingress();
    edges[link.b].push_back({link.a, port.lookahead_ps()});
  }
  std::vector<ps_t> reach(std::size_t{groups} * groups, kNever);
  using Item = std::pair<ps_t, std::uint32_t>;
  for (std::uint32_t from = 0; from < plan.nodes.size(); ++from) {
    // Dijkstra from `from`; the way back to its own group counts from the first step outside.
    std::vector<ps_t> distance(plan.nodes.size(), kNever);
    std::priority_queue<Item, std::vector<Item>, std::greater<>> open;
    for (const Edge& edge : edges[from]) open.emplace(edge.delay_ps, edge.to);
    while (!open.empty()) {
      const auto [so_far, node] = open.top();
      open.pop();
      if (so_far >= distance[node]) continue;
      distance[node] = so_far;
      const bool home = group_of[node] == group_of[from];
      ps_t& entry = reach[std::size_t{group_of[from]} * groups + group_of[node]];
      entry = std::min(entry, so_far);
      if (home && node == from) continue;
      for (const Edge& edge : edges[node]) open.emplace(so_far + edge.delay_ps, edge.to);
    }
  }
  return reach;
}

}  // namespace tb
