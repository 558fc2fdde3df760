// The floor under the virtual clock: processes that pass real frames on over veth, with no clock and no model.
//
// K processes, each in a network namespace of its own and all on one CPU, stand in a ring (or in a chain, whose
// ends turn frames round). Each receives with one packet socket, as the testbed's processes do, and sends the
// frame on. W frames circulate: with W = 1 every hop is a wake-up, with many it is the cost per frame.
//
//   bare_chain SHAPE PROCESSES WINDOW FRAME_BYTES MILLISECONDS CPU   ->  one line of JSON
//
// It ends its own children only, and its namespaces end with them.

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr int kMaxProcesses = 512;
constexpr std::uint16_t kEthertype = 0x88B5;
constexpr int kSocketBytes = 8 << 20;
constexpr int kMtuBytes = 9216;
constexpr int kHeaderBytes = 14;
constexpr int kPriority = 10;
constexpr auto kWarmUp = std::chrono::milliseconds(200);
constexpr auto kDeadline = std::chrono::seconds(20);

enum class Phase : std::uint32_t { kNamespaces, kInterfaces, kRun, kStop, kDrain };

struct alignas(64) Worker {
  std::atomic<std::uint64_t> hops{0};   // frames received; only this worker writes it
  std::atomic<std::uint32_t> steps{0};  // how many phases it has finished
  std::uint64_t held_pkts = 0;          // frames it still had at the end
  bool fifo = false;
};

struct Shared {
  std::atomic<Phase> phase{Phase::kNamespaces};
  std::array<Worker, kMaxProcesses> workers;
};

struct Options {
  bool ring;
  int processes;
  int window_pkts;
  int frame_bytes;
  int milliseconds;
  int cpu;
};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "bare_chain: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

void check(bool good, const char* what) {
  if (!good) fail(what);
}

void write_file(const char* path, const char* text) {
  if (std::FILE* file = std::fopen(path, "w")) {  // absent where the kernel has no IPv6
    std::fputs(text, file);
    std::fclose(file);
  }
}

void bring_up(const char* interface) {
  const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
  if (ioctl(control, SIOCGIFFLAGS, &request) == 0) {  // the ends of a chain have one interface
    request.ifr_flags |= IFF_UP | IFF_NOARP;
    check(ioctl(control, SIOCSIFFLAGS, &request) == 0, "SIOCSIFFLAGS");
  }
  close(control);
}

int open_socket() {
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(kEthertype));
  check(fd >= 0, "socket(AF_PACKET)");
  const int one = 1;
  const timeval patience{.tv_sec = 0, .tv_usec = 50'000};  // how soon an idle worker sees the end
  check(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBytes, sizeof kSocketBytes) == 0, "SO_RCVBUFFORCE");
  check(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &kSocketBytes, sizeof kSocketBytes) == 0, "SO_SNDBUFFORCE");
  check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0, "SO_RCVTIMEO");
  check(setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one) == 0, "PACKET_QDISC_BYPASS");
  setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
  return fd;
}

sockaddr_ll address_of(unsigned ifindex) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(kEthertype);
  address.sll_ifindex = static_cast<int>(ifindex);
  return address;
}

bool pin(int cpu) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(cpu, &only);
  check(sched_setaffinity(0, sizeof only, &only) == 0, "sched_setaffinity");
  const sched_param priority{.sched_priority = kPriority};
  return sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
}

void wait_for(const Shared& shared, Phase phase) {
  while (shared.phase.load() < phase) usleep(500);
}

class Forwarder {
 public:
  Forwarder(Shared& shared, Worker& worker, int frame_bytes)
      : shared_(shared), worker_(worker), frame_bytes_(frame_bytes), fd_(open_socket()) {
    in_ = if_nametoindex("in");
    out_ = if_nametoindex("out");
    to_in_ = address_of(in_ != 0 ? in_ : out_);    // the head of a chain turns round
    to_out_ = address_of(out_ != 0 ? out_ : in_);  // so does its tail
  }

  void inject(int window_pkts) {
    std::memset(buffer_.data(), 0xFF, 6);
    std::memset(buffer_.data() + 6, 0x02, 6);
    buffer_[12] = kEthertype >> 8;
    buffer_[13] = kEthertype & 0xFF;
    for (int i = 0; i < window_pkts; ++i) send(to_out_, frame_bytes_);
  }

  void run() {
    while (shared_.phase.load(std::memory_order_relaxed) == Phase::kRun) {
      sockaddr_ll from{};
      const ssize_t got = receive(from, 0);
      if (got < 0) continue;
      worker_.hops.store(worker_.hops.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      const bool forward = static_cast<unsigned>(from.sll_ifindex) == in_;
      send(forward ? to_out_ : to_in_, static_cast<int>(got));
    }
  }

  void drain() {
    sockaddr_ll from{};
    while (receive(from, MSG_DONTWAIT) >= 0) ++worker_.held_pkts;
  }

 private:
  ssize_t receive(sockaddr_ll& from, int flags) {
    socklen_t size = sizeof from;
    return recvfrom(fd_, buffer_.data(), buffer_.size(), flags, reinterpret_cast<sockaddr*>(&from), &size);
  }

  void send(const sockaddr_ll& to, int bytes) {
    const auto* address = reinterpret_cast<const sockaddr*>(&to);
    check(sendto(fd_, buffer_.data(), static_cast<std::size_t>(bytes), 0, address, sizeof to) == bytes, "sendto");
  }

  Shared& shared_;
  Worker& worker_;
  int frame_bytes_;
  int fd_;
  unsigned in_ = 0;
  unsigned out_ = 0;
  sockaddr_ll to_in_{};
  sockaddr_ll to_out_{};
  alignas(64) std::array<std::uint8_t, kMtuBytes + kHeaderBytes> buffer_{};
};

[[noreturn]] void work(Shared& shared, int index, const Options& options, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  Worker& worker = shared.workers[static_cast<std::size_t>(index)];
  check(unshare(CLONE_NEWNET) == 0, "unshare(CLONE_NEWNET): root is needed");
  write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
  write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
  worker.steps = 1;
  wait_for(shared, Phase::kInterfaces);
  bring_up("in");
  bring_up("out");
  Forwarder forwarder(shared, worker, options.frame_bytes);
  worker.fifo = pin(options.cpu);
  worker.steps = 2;
  wait_for(shared, Phase::kRun);
  if (index == 0) forwarder.inject(options.window_pkts);
  forwarder.run();
  worker.steps = 3;
  wait_for(shared, Phase::kDrain);
  forwarder.drain();
  worker.steps = 4;
  _exit(0);
}

// All veth pairs by one `ip -batch`, each made right between its two namespaces.
void wire(const std::vector<pid_t>& pids, bool ring) {
  std::FILE* batch = popen("ip -batch -", "w");  // NOLINT(bugprone-command-processor): a fixed command
  check(batch != nullptr, "popen(ip)");
  const std::size_t links = ring ? pids.size() : pids.size() - 1;
  for (std::size_t i = 0; i < links; ++i) {
    std::fprintf(batch,
                 "link add name out mtu %d numtxqueues 1 numrxqueues 1 netns %d type veth "
                 "peer name in mtu %d numtxqueues 1 numrxqueues 1 netns %d\n",
                 kMtuBytes, pids[i], kMtuBytes, pids[(i + 1) % pids.size()]);
  }
  check(pclose(batch) == 0, "ip -batch");
}

void await(const Shared& shared, int processes, std::uint32_t steps) {
  const auto until = std::chrono::steady_clock::now() + kDeadline;
  for (int i = 0; i < processes; ++i) {
    while (shared.workers[static_cast<std::size_t>(i)].steps.load() < steps) {
      if (std::chrono::steady_clock::now() > until || waitpid(-1, nullptr, WNOHANG) > 0) {
        std::fprintf(stderr, "bare_chain: process %d did not reach step %u\n", i, steps);
        std::exit(1);  // the others end with us
      }
      usleep(500);
    }
  }
}

std::uint64_t total_hops(const Shared& shared, int processes) {
  std::uint64_t sum = 0;
  for (int i = 0; i < processes; ++i) {
    sum += shared.workers[static_cast<std::size_t>(i)].hops.load(std::memory_order_relaxed);
  }
  return sum;
}

double measure(const Shared& shared, const Options& options) {
  std::this_thread::sleep_for(kWarmUp);
  const auto began = std::chrono::steady_clock::now();
  const std::uint64_t before = total_hops(shared, options.processes);
  std::this_thread::sleep_for(std::chrono::milliseconds(options.milliseconds));
  const std::uint64_t hops = total_hops(shared, options.processes) - before;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  return static_cast<double>(hops) / took.count();
}

void report(const Shared& shared, const Options& options, double hops_per_s) {
  std::uint64_t held = 0;
  bool fifo = true;
  for (int i = 0; i < options.processes; ++i) {
    held += shared.workers[static_cast<std::size_t>(i)].held_pkts;
    fifo = fifo && shared.workers[static_cast<std::size_t>(i)].fifo;
  }
  std::printf("{\"hops_per_s\": %.0f, \"lost_pkts\": %lld, \"fifo\": %s}\n", hops_per_s,
              static_cast<long long>(options.window_pkts) - static_cast<long long>(held), fifo ? "true" : "false");
}

int whole(const char* text) {
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  return end != text && *end == '\0' && value > 0 && value < 1'000'000'000 ? static_cast<int>(value) : -1;
}

Options parse(int count, char** values) {
  const std::string_view shape = count == 7 ? values[1] : "";
  if (shape != "ring" && shape != "chain") {
    std::fputs("usage: bare_chain ring|chain PROCESSES WINDOW FRAME_BYTES MILLISECONDS CPU\n", stderr);
    std::exit(2);
  }
  const Options options{.ring = shape == "ring",
                        .processes = whole(values[2]),
                        .window_pkts = whole(values[3]),
                        .frame_bytes = whole(values[4]),
                        .milliseconds = whole(values[5]),
                        .cpu = static_cast<int>(std::strtol(values[6], nullptr, 10))};
  const bool good = options.processes >= 2 && options.processes <= kMaxProcesses && options.window_pkts >= 1 &&
                    options.frame_bytes >= 64 && options.frame_bytes <= kMtuBytes + kHeaderBytes &&
                    options.milliseconds >= 1;
  if (!good) {
    std::fputs("bare_chain: a number is out of range\n", stderr);
    std::exit(2);
  }
  return options;
}

}  // namespace

int main(int count, char** values) {
  const Options options = parse(count, values);
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  check(memory != MAP_FAILED, "mmap");
  Shared& shared = *new (memory) Shared;
  const pid_t me = getpid();
  std::vector<pid_t> pids;
  for (int i = 0; i < options.processes; ++i) {
    const pid_t pid = fork();
    check(pid >= 0, "fork");
    if (pid == 0) work(shared, i, options, me);
    pids.push_back(pid);
  }
  await(shared, options.processes, 1);
  wire(pids, options.ring);
  shared.phase = Phase::kInterfaces;
  await(shared, options.processes, 2);
  shared.phase = Phase::kRun;
  const double hops_per_s = measure(shared, options);
  shared.phase = Phase::kStop;
  await(shared, options.processes, 3);
  shared.phase = Phase::kDrain;
  await(shared, options.processes, 4);
  report(shared, options, hops_per_s);
  for (const pid_t pid : pids) waitpid(pid, nullptr, 0);
  return 0;
}
