// The extension module `testbed.engine._engine`: the twin, the virtual clock, and small functions for tests.
#include "bindings.hpp"

#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <variant>

#include "../../nic_emulator/nic_model.hpp"
#include "../switches/switch_model.hpp"
#include "crc32c.hpp"
#include "distribution.hpp"
#include "process.hpp"
#include "rng.hpp"
#include "virtual_clock.hpp"
#include "wire.hpp"

namespace nb = nanobind;

namespace tb {

namespace {

template <typename T>
nb::bytes raw(const std::vector<T>& items) {
  return nb::bytes(items.data(), items.size() * sizeof(T));
}

std::map<std::string, Counters> all_counters(Group& group) {
  std::map<std::string, Counters> all;
  for (const auto& entity : group.entities()) all[entity->name()] = entity->counters();
  return all;
}

using NodeKey = std::variant<std::uint32_t, std::string>;

/// A node of a group by name or number.
std::uint32_t node_of(const Group& group, const NodeKey& node) {
  for (const auto& entity : group.entities()) {
    const auto* name = std::get_if<std::string>(&node);
    if (name != nullptr ? entity->name() == *name : entity->id() == std::get<std::uint32_t>(node)) return entity->id();
  }
  throw std::invalid_argument("no node of this group has that name or number");
}

/// What a control plane orders of the switches of a group; `look(self, act)` calls `act(group)` when nobody else does.
template <typename Class, typename Look>
void bind_orders(Class& bound, Look look) {
  using Self = typename Class::Type;
  bound.def(
      "apply_update",
      [look](Self& self, const NodeKey& node, ps_t time_ps, const nb::dict& tables) {
        ForwardingTables read = read_tables(tables);
        look(self, [&](Group& group) { apply_update(group, node_of(group, node), {time_ps, std::move(read)}); });
      },
      nb::arg("node"), nb::arg("time_ps"), nb::arg("tables"));
  bound.def(
      "apply_packet_out",
      [look](Self& self, const NodeKey& node, ps_t time_ps, std::uint32_t port, const nb::bytes& frame) {
        PacketOut out = read_packet_out(time_ps, port, frame);
        look(self, [&](Group& group) { apply_packet_out(group, node_of(group, node), std::move(out)); });
      },
      nb::arg("node"), nb::arg("time_ps"), nb::arg("port"), nb::arg("frame"));
}

class Twin {
 public:
  explicit Twin(const Plan& plan) : group_(plan, {}), sources_(plan.sources()) {
    group_.stop_when_done(sources_);
    group_.start();
  }
  [[nodiscard]] Telemetry& telemetry() { return group_.telemetry; }
  /// Process events before `until_ps`; true while there is something left to do.
  bool run(ps_t until_ps) {
    group_.run(until_ps);
    return group_.sources_done() < sources_ && group_.next_event_ps() < kNever;
  }
  [[nodiscard]] bool done() const { return group_.sources_done() >= sources_; }
  Group group_;
  std::uint32_t sources_;
};

/// The orchestrator's side of the clock's shared memory.
class Clock {
 public:
  Clock(int fd, const Plan& plan, const std::vector<std::uint32_t>& group_of, bool create)
      : groups_(*std::max_element(group_of.begin(), group_of.end()) + 1),
        segment_(fd, groups_, static_cast<std::uint32_t>(2 * plan.links.size()), create) {
    if (!create) return;
    segment_.header().sources = plan.sources();
    const std::vector<ps_t> reach = reach_matrix(plan, group_of, groups_);
    const std::vector<ps_t> echo = echo_delays(plan, group_of);
    for (std::uint32_t wire = 0; wire < echo.size(); ++wire) segment_.echo(wire) = echo[wire];
    for (std::uint32_t i = 0; i < groups_; ++i) {
      for (std::uint32_t j = 0; j < groups_; ++j) segment_.reach(i, j) = reach[std::size_t{i} * groups_ + j];
    }
  }
  [[nodiscard]] bool ready() { return segment_.header().ready.load() == groups_; }
  /// Give the token to the group with the earliest event.
  void start() {
    const std::uint64_t* next = segment_.next_all();
    segment_.wake(static_cast<std::uint32_t>(std::min_element(next, next + groups_) - next));
  }
  nb::dict progress() {
    std::uint64_t hops = 0, messages = 0, wakes = 0, foreign = 0, clock = 0;
    for (std::uint32_t group = 0; group < groups_; ++group) {
      GroupLine& line = segment_.line(group);
      hops += line.hops;
      messages += line.messages;
      wakes += line.wakes;
      foreign += line.foreign;
      clock = std::max(clock, line.clock_ps);
    }
    nb::dict all;
    all["virtual_ps"] = clock;
    all["hops"] = hops;
    all["messages"] = messages;
    all["wakes"] = wakes;
    all["foreign_frames"] = foreign;
    all["beat"] = segment_.header().beat.load();
    all["holder"] = segment_.header().holder.load();
    all["quit"] = segment_.header().quit.load();
    return all;
  }
  std::uint32_t groups_;
  ClockSegment segment_;
};

void bind_twin(nb::module_& m) {
  auto twin_class = nb::class_<Twin>(m, "Twin");
  bind_orders(twin_class, [](Twin& twin, auto act) { act(twin.group_); });
  twin_class.def(nb::init<const Plan&>(), nb::keep_alive<1, 2>())
      .def("run", &Twin::run, nb::arg("until_ps"), nb::call_guard<nb::gil_scoped_release>())
      .def(
          "trace_queues",
          [](Twin& twin, ps_t until_ps, std::size_t limit) { twin.telemetry().follow(until_ps, limit); },
          nb::arg("until_ps"), nb::arg("limit"))
      .def(
          "trace_packets",
          [](Twin& twin, const std::vector<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>>& packets) {
            for (const auto& [src, dst, psn] : packets) twin.telemetry().trace(src, dst, psn & kPsnMask);
          },
          nb::arg("packets"))
      .def_prop_ro("done", &Twin::done)
      .def_prop_ro("now_ps", [](const Twin& twin) { return twin.group_.now_ps(); })
      .def_prop_ro("next_event_ps", [](const Twin& twin) { return twin.group_.next_event_ps(); })
      .def_prop_ro("hops", [](const Twin& twin) { return twin.group_.hops(); })
      .def_prop_ro("messages", [](const Twin& twin) { return twin.group_.messages_completed(); })
      .def_prop_ro("frames_in_use", [](const Twin& twin) { return twin.group_.frames_in_use(); })
      .def("tx_records", [](const Twin& twin) { return raw(twin.group_.tx_records); })
      .def("rx_records", [](const Twin& twin) { return raw(twin.group_.rx_records); })
      .def("queue_samples", [](Twin& twin) { return raw(twin.telemetry().queue_samples); })
      .def("hop_samples", [](Twin& twin) { return raw(twin.telemetry().hop_samples); })
      .def("flow_samples", [](Twin& twin) { return raw(twin.telemetry().flow_samples); })
      .def("int_samples", [](Twin& twin) { return raw(twin.telemetry().int_samples); })
      .def("punt_samples", [](Twin& twin) { return raw(twin.telemetry().punt_samples); })
      .def_prop_ro("int_interval", [](Twin& twin) { return twin.telemetry().int_interval(); })
      .def("counters", [](Twin& twin) { return all_counters(twin.group_); });
}

void bind_clock(nb::module_& m) {
  nb::enum_<Quit>(m, "Quit")
      .value("RUNNING", Quit::kRunning)
      .value("DONE", Quit::kDone)
      .value("DEADLOCK", Quit::kDeadlock)
      .value("ERROR", Quit::kError)
      .value("STOPPED", Quit::kStopped);
  nb::class_<Clock>(m, "Clock")
      .def(nb::init<int, const Plan&, const std::vector<std::uint32_t>&, bool>(), nb::arg("fd"), nb::arg("plan"),
           nb::arg("group_of"), nb::arg("create"))
      .def_prop_ro("ready", &Clock::ready)
      .def_prop_ro("ready_count", [](Clock& clock) { return clock.segment_.header().ready.load(); })
      .def("start", &Clock::start)
      .def("quit", [](Clock& clock, Quit reason) { clock.segment_.quit(reason); })
      .def("set_punt_latency_ps",
           [](Clock& clock, ps_t latency_ps) { clock.segment_.header().punt_latency_ps = latency_ps; })
      .def_prop_ro("held", [](Clock& clock) { return clock.segment_.header().held.load() != 0; })
      .def_prop_ro("barrier_ps", [](Clock& clock) { return clock.segment_.header().barrier_ps.load(); })
      .def(
          "release",
          [](Clock& clock, ps_t barrier_ps, std::uint32_t orders) { clock.segment_.release(barrier_ps, orders); },
          nb::arg("barrier_ps"), nb::arg("orders"))
      .def(
          "lower",
          [](Clock& clock, std::uint32_t group, ps_t time_ps) {
            if (group >= clock.groups_) throw nb::value_error("no such group");
            clock.segment_.lower(group, time_ps);
          },
          nb::arg("group"), nb::arg("time_ps"))
      .def("reach_ps",
           [](Clock& clock, std::uint32_t from, std::uint32_t to) { return clock.segment_.reach(from, to); })
      .def("set_reach_ps", [](Clock& clock, std::uint32_t from, std::uint32_t to,
                              std::uint64_t value) { clock.segment_.reach(from, to) = value; })
      .def("echo_ps", [](Clock& clock, std::uint32_t wire) { return clock.segment_.echo(wire); })
      .def("progress", &Clock::progress);
  nb::class_<MemberPlace>(m, "MemberPlace")
      .def(
          "__init__",
          [](MemberPlace* self, std::string netns, std::vector<std::string> interfaces) {
            new (self) MemberPlace{std::move(netns), std::move(interfaces)};
          },
          nb::arg("netns"), nb::arg("interfaces"));
  auto whole = nb::class_<Group>(m, "Group");
  bind_orders(whole, [](Group& group, auto act) { act(group); });
  auto virtual_group = nb::class_<VirtualGroup>(m, "VirtualGroup");
  bind_orders(virtual_group, [](VirtualGroup& group, auto act) {
    const nb::gil_scoped_release release;
    group.between_turns(act);
  });
  virtual_group
      .def(
          "__init__",
          [](VirtualGroup* self, const Plan& plan, std::vector<std::uint32_t> group_of, std::uint32_t number,
             Clock& clock, const std::vector<MemberPlace>& places, std::uint32_t snap_bytes, int punts_fd) {
            new (self) VirtualGroup(plan, std::move(group_of), number, clock.segment_, places, snap_bytes, punts_fd);
          },
          nb::arg("plan"), nb::arg("group_of"), nb::arg("number"), nb::arg("clock"), nb::arg("places"),
          nb::arg("snap_bytes") = 0xFFFFFFFFU, nb::arg("punts_fd") = -1, nb::keep_alive<1, 2>(), nb::keep_alive<1, 5>())
      .def("run", &VirtualGroup::run, nb::call_guard<nb::gil_scoped_release>())
      .def(
          "resume",
          [](VirtualGroup& group, const Plan& plan, ps_t now_ps, const nb::callable& prepare) {
            const std::uint32_t entity = group.group().entities().front()->id();
            const auto with_orders = [&](Group& all) { prepare(nb::cast(&all, nb::rv_policy::reference)); };
            group.resume(frames_to(plan, entity, now_ps, with_orders), now_ps);
          },
          nb::arg("plan"), nb::arg("now_ps"), nb::arg("prepare"))
      .def("tx_records", [](VirtualGroup& g) { return raw(g.group().tx_records); })
      .def("rx_records", [](VirtualGroup& g) { return raw(g.group().rx_records); })
      .def("int_samples", [](VirtualGroup& g) { return raw(g.group().telemetry.int_samples); })
      .def("flow_samples", [](VirtualGroup& g) { return raw(g.group().telemetry.flow_samples); })
      .def("punt_samples", [](VirtualGroup& g) { return raw(g.group().telemetry.punt_samples); })
      .def_prop_ro("hops", [](VirtualGroup& g) { return g.group().hops(); })
      .def("counters", [](VirtualGroup& g) { return all_counters(g.group()); })
      .def("snapshot", [](VirtualGroup& g) {
        const nb::gil_scoped_release release;
        return g.between_turns([](Group& group) {
          return std::make_tuple(group.now_ps(), group.messages_completed(), all_counters(group));
        });
      });
}

void bind_functions(nb::module_& m) {
  m.def("prepare_process", &prepare_process, nb::arg("name"), nb::arg("cpu"), nb::arg("priority"));
  m.def("philox", [](std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d, std::uint64_t key) {
    const PhiloxBlock block = philox4x32({a, b, c, d}, key);
    return nb::make_tuple(block[0], block[1], block[2], block[3]);
  });
  m.def("random_at", [](std::uint64_t seed, std::uint32_t entity, std::uint32_t purpose, std::uint64_t counter) {
    return RandomStream(seed, entity, purpose).at(counter);
  });
  m.def("exponential_ps", &exponential_ps, nb::arg("random"), nb::arg("mean_ps"));
  m.def("quantile_ps", [](const std::vector<QuantileTable::Point>& points, std::uint64_t random) {
    return QuantileTable(points).draw(random);
  });
  m.def("crc32c", [](const nb::bytes& data) { return crc32c(0, data.c_str(), data.size()); });
  m.def("crc32c_portable", [](const nb::bytes& data) { return crc32c_portable(0, data.c_str(), data.size()); });
  m.def(
      "encode",
      [](Frame frame, std::uint32_t snap_bytes, ps_t first_bit_ps, std::uint64_t link_seq, std::uint32_t byte_time_ps) {
        require_whole(frame, 1U << 14);
        if (!carries(frame)) throw nb::value_error("the frame's format cannot say this");
        std::vector<unsigned char> bytes(encoded_bytes(frame, snap_bytes) + 64);
        bytes.resize(encode(frame, snap_bytes, bytes));
        note_wire(frame, byte_time_ps);
        stamp(bytes, frame, first_bit_ps, link_seq);
        return raw(bytes);
      },
      nb::arg("frame"), nb::arg("snap_bytes") = 0xFFFFFFFFU, nb::arg("first_bit_ps") = 0, nb::arg("link_seq") = 0,
      nb::arg("byte_time_ps") = 0);
  m.def("carries", [](const Frame& frame) { return carries(frame); });
  m.def("least_frame_bytes", &least_frame_bytes, nb::arg("frame"));
  m.def("least_bytes", [](WireFormat format) {
    const FormatBytes least = least_bytes(format);
    return nb::make_tuple(least.first, least.other, least.ack);
  });
  m.def("decode", [](const nb::bytes& data) {
    const std::span<const unsigned char> bytes{reinterpret_cast<const unsigned char*>(data.c_str()), data.size()};
    Frame frame;
    Trailer trailer;
    IntStack stack;
    const Decoded decoded = decode(bytes, frame, trailer, stack);
    if (decoded == Decoded::kForeign) return nb::make_tuple("foreign", nb::none(), nb::none());
    if (decoded == Decoded::kDamaged) return nb::make_tuple("damaged", nb::none(), nb::none());
    nb::dict about;
    about["first_bit_ps"] = trailer.first_bit_ps;
    about["link_seq"] = trailer.link_seq;
    about["byte_time_ps"] = trailer.byte_time_ps;
    about["intact"] = payload_intact(bytes, frame, trailer);
    return nb::make_tuple("frame", frame, about);
  });
}

}  // namespace

}  // namespace tb

NB_MODULE(_engine, module) {
  module.attr("NEVER_PS") = tb::kNever;
  nb::exception<tb::ClockError>(module, "ClockError", PyExc_RuntimeError);
  nb::exception<tb::StreamError>(module, "StreamError", PyExc_RuntimeError);
  nb::exception<tb::LosslessDropError>(module, "LosslessDropError", PyExc_RuntimeError);
  nb::exception<tb::DeadlockError>(module, "DeadlockError", PyExc_RuntimeError);
  tb::bind_models(module);
  tb::bind_congestion(module);
  tb::bind_twin(module);
  tb::bind_clock(module);
  tb::bind_functions(module);
}
