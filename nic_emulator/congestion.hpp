// Congestion control of a stream: how many bytes may be in flight, and how fast they may leave. A part is one file in
// congestion/ with a class, and an entry in `CongestionParts`. Integers only.
//
// A part has no timer of its own: what it does at a time it does when it is next asked, for all the times that have
// passed; nobody sees its state in between.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>

#include "../testbed/engine/types.hpp"
#include "parts.hpp"

namespace tb {

inline constexpr std::uint64_t kNoWindow = std::numeric_limits<std::uint64_t>::max();

/// What an acknowledgement tells. Bytes are payload.
struct Acknowledged {
  ps_t now_ps = 0;
  ps_t rtt_ps = 0;                    // from handing the packet that caused it to the send stages; 0: not known
  std::uint64_t bytes = 0;            // that are newly known to have arrived
  std::uint64_t marked_bytes = 0;     // of them, arrived with congestion experienced
  std::uint64_t in_flight_bytes = 0;  // that are still outstanding
};

/// How a loss was found.
enum class Loss : std::uint8_t { kMissing = 0, kTrimmed = 1, kTimeout = 2 };

class CongestionControl {
 public:
  CongestionControl() = default;
  virtual ~CongestionControl() = default;
  CongestionControl(const CongestionControl&) = delete;
  CongestionControl& operator=(const CongestionControl&) = delete;

  /// A packet of so many bytes starts on its way to the wire.
  virtual void sent(ps_t /*now_ps*/, std::uint64_t /*bytes*/) {}
  virtual void acknowledged(const Acknowledged& /*ack*/) {}
  /// A packet of so many bytes was lost.
  virtual void lost(Loss /*how*/, ps_t /*now_ps*/, std::uint64_t /*bytes*/) {}
  /// The receiver has sent a congestion notification packet.
  virtual void notified(ps_t /*now_ps*/) {}
  /// Bytes that may be outstanding.
  [[nodiscard]] virtual std::uint64_t window_bytes() const { return kNoWindow; }
  /// The least time between the starts of two packets, for each 1024 bytes that the first takes on the wire, headers
  /// and gap included; 0: as fast as the line.
  [[nodiscard]] virtual std::uint64_t ps_per_kib(ps_t /*now_ps*/) { return 0; }
};

/// What a stream is sent over.
struct CongestionContext {
  std::uint32_t byte_time_ps = 20;
  std::uint32_t mtu_bytes = 4096;  // payload of a full packet
};

using CongestionFactory = std::unique_ptr<CongestionControl> (*)(const CongestionContext&, PartParameters&);
using CongestionParts = Parts<CongestionFactory>;

}  // namespace tb
