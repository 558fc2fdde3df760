// Raw Ethernet on the interfaces of the network namespace that the process lives in.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace tb {

/// One AF_PACKET socket for all interfaces of a namespace. Errors are std::system_error.
class PacketSocket {
 public:
  /// `interfaces[p]` is the name of port p's interface; empty names are ports without a link.
  PacketSocket(const std::vector<std::string>& interfaces, std::size_t receive_buffer_bytes);
  ~PacketSocket();
  PacketSocket(const PacketSocket&) = delete;
  PacketSocket& operator=(const PacketSocket&) = delete;

  void send(std::uint32_t port, std::span<const unsigned char> bytes);
  struct Received {
    std::size_t bytes = 0;
    std::uint32_t port = 0;
    bool known_port = false;
  };
  /// The next frame, if asked for after a wait of at most `kPatienceMilliseconds`; 0 bytes if there is none. A signal
  /// ends the wait.
  Received receive(std::span<unsigned char> room, bool patient);
  static constexpr long kPatienceMilliseconds = 100;
  /// Wait for a frame at most `milliseconds`; false if none came.
  [[nodiscard]] bool wait(int milliseconds) const;
  /// Frames that the kernel dropped on this socket since the last call.
  [[nodiscard]] std::uint32_t kernel_drops() const;

 private:
  int fd_ = -1;
  std::vector<std::string> names_;  // port -> interface
  std::vector<int> index_;          // port -> interface index
  std::vector<std::uint32_t> port_by_index_;
  std::uint32_t only_port_;  // the port of a socket with one interface, which needs no addresses
};

}  // namespace tb
