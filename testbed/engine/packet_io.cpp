#include "packet_io.hpp"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace tb {

namespace {

constexpr std::uint32_t kNoPort = 0xFFFFFFFFU;

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

void set(int fd, int level, int option, int value, const char* name) {
  if (setsockopt(fd, level, option, &value, sizeof value) != 0) fail(std::string("setsockopt ") + name);
}

}  // namespace

PacketSocket::PacketSocket(const std::vector<std::string>& interfaces, std::size_t receive_buffer_bytes)
    : names_(interfaces), only_port_(kNoPort) {
  fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd_ < 0) fail("AF_PACKET socket");
  set(fd_, SOL_SOCKET, SO_RCVBUFFORCE, static_cast<int>(receive_buffer_bytes), "SO_RCVBUFFORCE");
  set(fd_, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, "PACKET_IGNORE_OUTGOING");
  const timeval patience{0, kPatienceMilliseconds * 1000};
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) fail("setsockopt SO_RCVTIMEO");
  for (const std::string& name : interfaces) {
    const int index = name.empty() ? 0 : static_cast<int>(if_nametoindex(name.c_str()));
    if (index == 0 && !name.empty()) fail("interface " + name);
    index_.push_back(index);
    if (index == 0) continue;
    if (port_by_index_.size() <= static_cast<std::size_t>(index))
      port_by_index_.resize(static_cast<std::size_t>(index) + 1, kNoPort);
    port_by_index_[static_cast<std::size_t>(index)] = static_cast<std::uint32_t>(index_.size() - 1);
  }
  const auto plugged = std::count_if(index_.begin(), index_.end(), [](int index) { return index != 0; });
  sockaddr_ll all{};
  all.sll_family = AF_PACKET;
  all.sll_protocol = htons(ETH_P_ALL);
  if (plugged == 1) {
    only_port_ = port_by_index_.back();
    all.sll_ifindex = index_[only_port_];
  }
  if (bind(fd_, reinterpret_cast<sockaddr*>(&all), sizeof all) != 0) fail("bind AF_PACKET");
}

PacketSocket::~PacketSocket() {
  if (fd_ >= 0) close(fd_);
}

void PacketSocket::send(std::uint32_t port, std::span<const unsigned char> bytes) {
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = index_[port];
  for (;;) {
    const ssize_t sent = only_port_ != kNoPort
                             ? ::send(fd_, bytes.data(), bytes.size(), 0)
                             : sendto(fd_, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
    if (sent == static_cast<ssize_t>(bytes.size())) return;
    if (sent < 0 && errno == EINTR) continue;
    fail("send on " + names_[port]);
  }
}

PacketSocket::Received PacketSocket::receive(std::span<unsigned char> room, bool patient) {
  sockaddr_ll from{};
  socklen_t length = sizeof from;
  for (;;) {
    const bool addressed = only_port_ == kNoPort;
    const ssize_t got =
        recvfrom(fd_, room.data(), room.size(), patient ? 0 : MSG_DONTWAIT,
                 addressed ? reinterpret_cast<sockaddr*>(&from) : nullptr, addressed ? &length : nullptr);
    if (got < 0 && errno == EINTR && !patient) continue;
    if (got < 0 && (errno == EAGAIN || errno == EINTR || errno == ENETDOWN)) return {};
    if (got < 0) fail("receive");
    if (!addressed) return {static_cast<std::size_t>(got), only_port_, true};
    const auto index = static_cast<std::size_t>(from.sll_ifindex);
    const std::uint32_t port = index < port_by_index_.size() ? port_by_index_[index] : kNoPort;
    return {static_cast<std::size_t>(got), port, port != kNoPort};
  }
}

bool PacketSocket::wait(int milliseconds) const {
  pollfd one{fd_, POLLIN, 0};
  return poll(&one, 1, milliseconds) > 0;
}

std::uint32_t PacketSocket::kernel_drops() const {
  tpacket_stats stats{};
  socklen_t length = sizeof stats;
  if (getsockopt(fd_, SOL_PACKET, PACKET_STATISTICS, &stats, &length) != 0) return 0;
  return stats.tp_drops;
}

}  // namespace tb
