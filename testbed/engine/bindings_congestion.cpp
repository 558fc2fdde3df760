// Congestion-control parts by themselves, to be stepped by hand: what their tests are made of.
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "../../nic_emulator/congestion.hpp"
#include "bindings.hpp"

namespace nb = nanobind;

namespace tb {

namespace {

/// A part with the clock of its caller, which must not run backwards.
class CongestionPart {
 public:
  CongestionPart(const std::string& name, const std::map<std::string, std::int64_t>& values,
                 const CongestionContext& context) {
    if (context.byte_time_ps == 0 || context.mtu_bytes == 0 || context.mtu_bytes > 1U << 14) {
      throw nb::value_error("byte_time_ps is at least 1, mtu_bytes 1 to 16384");
    }
    PartParameters given(name, values);
    part_ = CongestionParts::get(name)(context, given);
    given.finish();
  }
  CongestionControl& at(ps_t now_ps) {
    if (now_ps < now_ps_ || now_ps >= kNever) throw nb::value_error("now_ps must not go back, nor reach NEVER_PS");
    now_ps_ = now_ps;
    return *part_;
  }
  [[nodiscard]] std::uint64_t window_bytes() const { return part_->window_bytes(); }

 private:
  std::unique_ptr<CongestionControl> part_;
  ps_t now_ps_ = 0;
};

}  // namespace

void bind_congestion(nb::module_& m) {
  m.attr("NO_WINDOW") = kNoWindow;
  m.def("congestion_names", &CongestionParts::names);
  nb::enum_<Loss>(m, "Loss")
      .value("MISSING", Loss::kMissing)
      .value("TRIMMED", Loss::kTrimmed)
      .value("TIMEOUT", Loss::kTimeout);
  nb::class_<CongestionPart>(m, "CongestionPart")
      .def(
          "__init__",
          [](CongestionPart* self, const std::string& name, const std::map<std::string, std::int64_t>& parameters,
             std::uint32_t byte_time_ps, std::uint32_t mtu_bytes) {
            new (self) CongestionPart(name, parameters, CongestionContext{byte_time_ps, mtu_bytes});
          },
          nb::arg("name"), nb::arg("parameters"), nb::arg("byte_time_ps") = CongestionContext{}.byte_time_ps,
          nb::arg("mtu_bytes") = CongestionContext{}.mtu_bytes)
      .def(
          "sent", [](CongestionPart& part, ps_t now_ps, std::uint64_t bytes) { part.at(now_ps).sent(now_ps, bytes); },
          nb::arg("now_ps"), nb::arg("bytes"))
      .def(
          "acknowledged",
          [](CongestionPart& part, ps_t now_ps, std::uint64_t bytes, std::uint64_t marked_bytes, ps_t rtt_ps,
             std::uint64_t in_flight_bytes) {
            part.at(now_ps).acknowledged({now_ps, rtt_ps, bytes, marked_bytes, in_flight_bytes});
          },
          nb::arg("now_ps"), nb::arg("bytes"), nb::arg("marked_bytes"), nb::arg("rtt_ps"), nb::arg("in_flight_bytes"))
      .def(
          "lost",
          [](CongestionPart& part, Loss how, ps_t now_ps, std::uint64_t bytes) {
            part.at(now_ps).lost(how, now_ps, bytes);
          },
          nb::arg("how"), nb::arg("now_ps"), nb::arg("bytes"))
      .def(
          "notified", [](CongestionPart& part, ps_t now_ps) { part.at(now_ps).notified(now_ps); }, nb::arg("now_ps"))
      .def("window_bytes", &CongestionPart::window_bytes)
      .def(
          "ps_per_kib", [](CongestionPart& part, ps_t now_ps) { return part.at(now_ps).ps_per_kib(now_ps); },
          nb::arg("now_ps"));
}

}  // namespace tb
