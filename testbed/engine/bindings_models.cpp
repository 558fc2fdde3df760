// Python names for the plan and the configurations of its nodes.
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "../../nic_emulator/nic_model.hpp"
#include "../switches/switch_model.hpp"
#include "../switches/voq_model.hpp"
#include "bindings.hpp"
#include "plan.hpp"
#include "python_entity.hpp"

namespace nb = nanobind;

namespace tb {

namespace {

void bind_frame(nb::module_& m) {
  nb::enum_<Opcode>(m, "Opcode")
      .value("DATA", Opcode::kData)
      .value("ACK", Opcode::kAck)
      .value("NACK", Opcode::kNack)
      .value("TRIMMED", Opcode::kTrimmed)
      .value("PAUSE", Opcode::kPause)
      .value("CREDIT", Opcode::kCredit)
      .value("CNP", Opcode::kCnp)
      .value("NOT_READY", Opcode::kNotReady);
  nb::enum_<Op>(m, "Op")
      .value("PUT", Op::kPut)
      .value("PUT_SIGNAL", Op::kPutSignal)
      .value("SEND", Op::kSend)
      .value("GET_REQUEST", Op::kGetRequest)
      .value("GET_RESPONSE", Op::kGetResponse);
  nb::enum_<WireFormat>(m, "WireFormat")
      .value("THIN", WireFormat::kThin)
      .value("ROCE_V2", WireFormat::kRoceV2)
      .value("MAC_CONTROL", WireFormat::kMacControl)
      .value("THIN_UDP", WireFormat::kThinUdp)
      .value("TCP", WireFormat::kTcp)
      .value("UDP", WireFormat::kUdp)
      .value("UET", WireFormat::kUet)
      .value("SUE", WireFormat::kSue)
      .value("SUE_COMPRESSED", WireFormat::kSueCompressed)
      .value("UALINK", WireFormat::kUalink);
  nb::class_<Frame>(m, "Frame")
      .def(nb::init<>())
      .def_rw("frame_bytes", &Frame::frame_bytes)
      .def_rw("payload_bytes", &Frame::payload_bytes)
      .def_rw("message_bytes", &Frame::message_bytes)
      .def_rw("psn", &Frame::psn)
      .def_rw("msn", &Frame::msn)
      .def_rw("index", &Frame::index)
      .def_rw("src", &Frame::src)
      .def_rw("dst", &Frame::dst)
      .def_rw("entropy", &Frame::entropy)
      .def_rw("credit", &Frame::credit)
      .def_rw("ack_bits", &Frame::ack_bits)
      .def_rw("opcode", &Frame::opcode)
      .def_rw("format", &Frame::format)
      .def_rw("op", &Frame::op)
      .def_prop_rw("traffic_class", &Frame::traffic_class,
                   [](Frame& f, std::uint32_t priority) { f.dscp = static_cast<std::uint8_t>((priority & 7U) << 3); })
      .def_rw("dscp", &Frame::dscp)
      .def_rw("flags", &Frame::flags);
}

void bind_nic(nb::module_& m) {
  m.def("reliability_names", &ReliabilityParts::names);
  nb::class_<StageConfig>(m, "StageConfig")
      .def(nb::init<>())
      .def_rw("name", &StageConfig::name)
      .def_rw("latency_ps", &StageConfig::latency_ps)
      .def_rw("occupancy_ps", &StageConfig::occupancy_ps)
      .def_rw("occupancy_ps_per_kib", &StageConfig::occupancy_ps_per_kib)
      .def_rw("stall_interval_ps", &StageConfig::stall_interval_ps)
      .def_rw("servers", &StageConfig::servers)
      .def_rw("per_card", &StageConfig::per_card)
      .def_rw("reads_payload", &StageConfig::reads_payload)
      .def_rw("coalesce_ps", &StageConfig::coalesce_ps)
      .def_rw("wake_after_ps", &StageConfig::wake_after_ps)
      .def("set_wake",
           [](StageConfig& s, std::vector<QuantileTable::Point> p) { s.wake = QuantileTable(std::move(p)); })
      .def("set_jitter",
           [](StageConfig& s, std::vector<QuantileTable::Point> p) { s.jitter = QuantileTable(std::move(p)); })
      .def("set_stall",
           [](StageConfig& s, std::vector<QuantileTable::Point> p) { s.stall = QuantileTable(std::move(p)); });
  nb::class_<NicConfig>(m, "NicConfig")
      .def(nb::init<>())
      .def_rw("format", &NicConfig::format)
      .def_rw("cards", &NicConfig::cards)
      .def_rw("mtu_bytes", &NicConfig::mtu_bytes)
      .def_rw("first_header_bytes", &NicConfig::first_header_bytes)
      .def_rw("other_header_bytes", &NicConfig::other_header_bytes)
      .def_rw("ack_bytes", &NicConfig::ack_bytes)
      .def_rw("unit_bytes", &NicConfig::unit_bytes)
      .def_rw("unit_header_bytes", &NicConfig::unit_header_bytes)
      .def_rw("flit_bytes", &NicConfig::flit_bytes)
      .def_rw("flit_payload_bytes", &NicConfig::flit_payload_bytes)
      .def_rw("data_class", &NicConfig::data_class)
      .def_rw("ack_class", &NicConfig::ack_class)
      .def_rw("data_dscp", &NicConfig::data_dscp)
      .def_rw("ack_dscp", &NicConfig::ack_dscp)
      .def_rw("virtual_channels", &NicConfig::virtual_channels)
      .def_rw("int_enabled", &NicConfig::int_enabled)
      .def_rw("batch_bytes", &NicConfig::batch_bytes)
      .def_rw("batch_header_bytes", &NicConfig::batch_header_bytes)
      .def_rw("batch_delay_ps", &NicConfig::batch_delay_ps)
      .def_rw("reliability", &NicConfig::reliability)
      .def_rw("nacks", &NicConfig::nacks)
      .def_rw("ordered", &NicConfig::ordered)
      .def_rw("reorder_window_pkts", &NicConfig::reorder_window_pkts)
      .def_rw("window_pkts", &NicConfig::window_pkts)
      .def_rw("ack_every_pkts", &NicConfig::ack_every_pkts)
      .def_rw("retry_limit", &NicConfig::retry_limit)
      .def_rw("rto_ps", &NicConfig::rto_ps)
      .def_rw("tlp_ps", &NicConfig::tlp_ps)
      .def_rw("receive_depth", &NicConfig::receive_depth)
      .def_rw("rnr_timer_ps", &NicConfig::rnr_timer_ps)
      .def_rw("rnr_retry_limit", &NicConfig::rnr_retry_limit)
      .def_rw("congestion", &NicConfig::congestion)
      .def_rw("congestion_parameters", &NicConfig::congestion_parameters)
      .def_rw("cnp_interval_ps", &NicConfig::cnp_interval_ps)
      .def_rw("paths", &NicConfig::paths)
      .def_rw("avoid_marked", &NicConfig::avoid_marked)
      .def_rw("tx_depth_pkts", &NicConfig::tx_depth_pkts)
      .def_rw("tx_depth_bytes", &NicConfig::tx_depth_bytes)
      .def_rw("ack_latency_ps", &NicConfig::ack_latency_ps)
      .def_rw("ingress_latency_ps", &NicConfig::ingress_latency_ps)
      .def_rw("pause_reaction_ps", &NicConfig::pause_reaction_ps)
      .def_rw("restarts", &NicConfig::restarts)
      .def("set_stages", [](NicConfig& c, const std::string& where, std::vector<StageConfig> stages) {
        const std::map<std::string, std::vector<StageConfig> NicConfig::*> places{
            {"post", &NicConfig::post},     {"send", &NicConfig::send},     {"receive", &NicConfig::receive},
            {"notify", &NicConfig::notify}, {"signal", &NicConfig::signal}, {"local", &NicConfig::local},
            {"bridge", &NicConfig::bridge}};
        const auto found = places.find(where);
        if (found == places.end()) throw nb::value_error(("no stage stands at " + where).c_str());
        c.*(found->second) = std::move(stages);
      });
}

void bind_workload(nb::module_& m) {
  nb::enum_<Arrivals>(m, "Arrivals")
      .value("NONE", Arrivals::kNone)
      .value("PERIODIC", Arrivals::kPeriodic)
      .value("POISSON", Arrivals::kPoisson)
      .value("CLOSED", Arrivals::kClosed)
      .value("PING_PONG", Arrivals::kPingPong)
      .value("ROUNDS", Arrivals::kRounds);
  nb::class_<WorkloadConfig>(m, "WorkloadConfig")
      .def(nb::init<>())
      .def_rw("arrivals", &WorkloadConfig::arrivals)
      .def_rw("destinations", &WorkloadConfig::destinations)
      .def_rw("others_of", &WorkloadConfig::others_of)
      .def_rw("message_bytes", &WorkloadConfig::message_bytes)
      .def_rw("start_ps", &WorkloadConfig::start_ps)
      .def_rw("interval_ps", &WorkloadConfig::interval_ps)
      .def_rw("measure_until_ps", &WorkloadConfig::measure_until_ps)
      .def_rw("window", &WorkloadConfig::window)
      .def_rw("post_until_ps", &WorkloadConfig::post_until_ps)
      .def_rw("common_times", &WorkloadConfig::common_times)
      .def_rw("reply", &WorkloadConfig::reply)
      .def_rw("op", &WorkloadConfig::op)
      .def_rw("batch", &WorkloadConfig::batch);
}

/// Replaces tables at a time; `given` is the tables with `time_ps` beside them.
TableUpdate read_update(const nb::dict& given) {
  TableUpdate update;
  nb::dict tables;
  bool timed = false;
  for (const auto& [key, value] : given) {
    if (nb::cast<std::string>(key) != "time_ps") {
      tables[key] = value;
      continue;
    }
    update.time_ps = nb::cast<ps_t>(value);
    timed = true;
  }
  if (!timed) throw nb::value_error("an update has a time_ps");
  update.tables = read_tables(tables);
  return update;
}

/// The fields that all switches have.
template <typename Config>
nb::class_<Config> bind_forwarding(nb::module_& m, const char* name) {
  return nb::class_<Config>(m, name)
      .def(nb::init<>())
      .def_rw("groups", &Config::groups)
      .def_rw("route", &Config::route)
      .def_rw("weights", &Config::weights)
      .def_rw("watched", &Config::watched)
      .def_rw("ingress_routes", &Config::ingress_routes)
      .def_rw("punt_latency_ps", &Config::punt_latency_ps)
      .def_prop_rw("updates", nullptr,
                   [](Config& c, const std::vector<nb::dict>& all) {
                     c.updates.clear();
                     for (const nb::dict& one : all) c.updates.push_back(read_update(one));
                   })
      .def_prop_rw("port_states", nullptr,
                   [](Config& c, const std::vector<std::tuple<ps_t, std::uint32_t, std::uint32_t>>& all) {
                     c.port_states.clear();
                     for (const auto& [time, port, up] : all) {
                       if (up > 1) throw nb::value_error("a port state is [time_ps, port, 0 or 1]");
                       c.port_states.push_back({time, port, up == 1});
                     }
                   })
      .def_prop_rw("restarts", nullptr,
                   [](Config& c, const std::vector<std::pair<ps_t, ps_t>>& all) {
                     c.restarts.clear();
                     for (const auto& [from, until] : all) c.restarts.push_back({from, until});
                   })
      .def_prop_rw("packet_outs", nullptr,
                   [](Config& c, const std::vector<std::tuple<ps_t, std::uint32_t, nb::bytes>>& all) {
                     c.packet_outs.clear();
                     for (const auto& [time, port, frame] : all) {
                       c.packet_outs.push_back(read_packet_out(time, port, frame));
                     }
                   })
      .def_prop_rw(
          "hash_seed", [](const Config& c) { return c.paths.hash_seed; },
          [](Config& c, std::uint64_t value) { c.paths.hash_seed = value; })
      .def_prop_rw(
          "path_choice", [](const Config& c) { return c.paths.choice; },
          [](Config& c, PathChoice value) { c.paths.choice = value; })
      .def_prop_rw(
          "flowlet_gap_ps", [](const Config& c) { return c.paths.flowlet_gap_ps; },
          [](Config& c, ps_t value) { c.paths.flowlet_gap_ps = value; })
      .def_prop_rw(
          "flowlet_entries", [](const Config& c) { return c.paths.flowlet_entries; },
          [](Config& c, std::uint32_t value) { c.paths.flowlet_entries = value; })
      .def_prop_rw(
          "load_quantum_bytes", [](const Config& c) { return c.paths.load_quantum_bytes; },
          [](Config& c, std::uint64_t value) { c.paths.load_quantum_bytes = value; })
      .def_prop_rw(
          "ecn",
          [](const Config& c) {
            std::vector<std::tuple<std::uint64_t, std::uint64_t, std::uint32_t>> all;
            all.reserve(c.ecn.size());
            for (const EcnConfig& ecn : c.ecn) all.emplace_back(ecn.kmin_bytes, ecn.kmax_bytes, ecn.pmax_ppm);
            return all;
          },
          [](Config& c, const std::vector<std::tuple<std::uint64_t, std::uint64_t, std::uint32_t>>& all) {
            c.ecn.clear();
            for (const auto& [kmin, kmax, pmax] : all) c.ecn.push_back({kmin, kmax, pmax});
          })
      .def_rw("ecn_at_enqueue", &Config::ecn_at_enqueue)
      .def_rw("class_of_pcp", &Config::class_of_pcp)
      .def_rw("class_of_dscp", &Config::class_of_dscp);
}

void bind_switch(nb::module_& m) {
  m.attr("NO_ROUTE") = kNoRoute;
  m.attr("DROP_ROUTE") = kDropRoute;
  m.attr("CPU_ROUTE") = kCpuRoute;
  nb::enum_<PathChoice>(m, "PathChoice")
      .value("HASH", PathChoice::kHash)
      .value("FLOWLET", PathChoice::kFlowlet)
      .value("LEAST_LOADED", PathChoice::kLeastLoaded)
      .value("SPRAY", PathChoice::kSpray)
      .value("ROUND_ROBIN", PathChoice::kRoundRobin);
  bind_forwarding<SwitchConfig>(m, "SwitchConfig")
      .def_rw("pipeline_latency_ps", &SwitchConfig::pipeline_latency_ps)
      .def_rw("cut_through", &SwitchConfig::cut_through)
      .def_rw("buffer_bytes", &SwitchConfig::buffer_bytes)
      .def_rw("cell_bytes", &SwitchConfig::cell_bytes)
      .def_rw("alpha_log2", &SwitchConfig::alpha_log2)
      .def_rw("reserved_bytes", &SwitchConfig::reserved_bytes)
      .def_rw("ingress_alpha_log2", &SwitchConfig::ingress_alpha_log2)
      .def_rw("pg_reserved_bytes", &SwitchConfig::pg_reserved_bytes)
      .def_rw("lossless_classes", &SwitchConfig::lossless_classes)
      .def_rw("lossless_alpha_log2", &SwitchConfig::lossless_alpha_log2)
      .def_rw("headroom_bytes", &SwitchConfig::headroom_bytes)
      .def_rw("headroom_pool_bytes", &SwitchConfig::headroom_pool_bytes)
      .def_rw("xon_offset_bytes", &SwitchConfig::xon_offset_bytes)
      .def_rw("pause_quanta", &SwitchConfig::pause_quanta)
      .def_rw("pfc_generation_ps", &SwitchConfig::pfc_generation_ps)
      .def_rw("pause_reaction_ps", &SwitchConfig::pause_reaction_ps)
      .def_rw("assert_lossless", &SwitchConfig::assert_lossless)
      .def_rw("watchdog_detection_ps", &SwitchConfig::watchdog_detection_ps)
      .def_rw("watchdog_restoration_ps", &SwitchConfig::watchdog_restoration_ps)
      .def_rw("credit_bytes", &SwitchConfig::credit_bytes)
      .def_rw("dwrr_quantum_bytes", &SwitchConfig::dwrr_quantum_bytes)
      .def_rw("shaper_ps_per_kib", &SwitchConfig::shaper_ps_per_kib)
      .def_rw("shaper_burst_bytes", &SwitchConfig::shaper_burst_bytes)
      .def_rw("trim_bytes", &SwitchConfig::trim_bytes)
      .def_rw("trim_class", &SwitchConfig::trim_class)
      .def_rw("int_enabled", &SwitchConfig::int_enabled)
      .def_rw("sflow_interval", &SwitchConfig::sflow_interval);
  bind_forwarding<VoqSwitchConfig>(m, "VoqSwitchConfig")
      .def_rw("pipeline_latency_ps", &VoqSwitchConfig::pipeline_latency_ps)
      .def_rw("pause_reaction_ps", &VoqSwitchConfig::pause_reaction_ps)
      .def_rw("buffer_bytes", &VoqSwitchConfig::buffer_bytes)
      .def_rw("voq_limit_bytes", &VoqSwitchConfig::voq_limit_bytes)
      .def_rw("credit_bytes", &VoqSwitchConfig::credit_bytes)
      .def_rw("credit_latency_ps", &VoqSwitchConfig::credit_latency_ps)
      .def_rw("fabric_latency_ps", &VoqSwitchConfig::fabric_latency_ps)
      .def_rw("egress_buffer_bytes", &VoqSwitchConfig::egress_buffer_bytes)
      .def_rw("credit_speedup_permille", &VoqSwitchConfig::credit_speedup_permille);
}

/// What a link has beside its rate and latency; an unknown name is an error.
void read_features(const nb::dict& features, PlanLink& link) {
  const auto both = [&link](auto&& set) {
    set(link.forward);
    set(link.backward);
  };
  for (const auto& [key, value] : features) {
    const auto name = nb::cast<std::string>(key);
    const nb::handle given = value;
    if (name == "loss_base_2p64") {
      both([&](Impairment& wire) { wire.loss_base_2p64 = nb::cast<std::uint64_t>(given); });
    } else if (name == "loss_per_byte_2p64") {
      both([&](Impairment& wire) { wire.loss_per_byte_2p64 = nb::cast<std::uint64_t>(given); });
    } else if (name == "llr") {
      both([&](Impairment& wire) { wire.llr = nb::cast<bool>(given); });
    } else if (name == "llr_latency_ps") {
      both([&](Impairment& wire) { wire.llr_latency_ps = nb::cast<ps_t>(given); });
    } else if (name == "reorder_2p64") {
      both([&](Impairment& wire) { wire.reorder_2p64 = nb::cast<std::uint64_t>(given); });
    } else if (name == "reorder_delay_ps") {
      both([&](Impairment& wire) { wire.reorder_delay_ps = nb::cast<ps_t>(given); });
    } else if (name == "duplicate_2p64") {
      both([&](Impairment& wire) { wire.duplicate_2p64 = nb::cast<std::uint64_t>(given); });
    } else if (name == "cbfc") {
      link.cbfc = nb::cast<bool>(given);
    } else if (name == "faults") {
      for (const nb::handle item : given) {
        auto fault = nb::cast<std::vector<std::uint64_t>>(item);
        if (fault.size() == 4) fault.push_back(0);
        if (fault.size() != 5 || fault[0] > 1) {
          throw nb::value_error("a fault is [0 or 1, from_ps, until_ps, loss_base_2p64, loss_per_byte_2p64 or none]");
        }
        (fault[0] == 0 ? link.forward : link.backward).faults.push_back({fault[1], fault[2], fault[3], fault[4]});
      }
    } else if (name == "dark") {
      for (const nb::handle item : given) {
        const auto dark = nb::cast<std::vector<std::uint64_t>>(item);
        if (dark.size() != 3 || dark[0] > 1) throw nb::value_error("a dark time is [0 or 1, from_ps, until_ps]");
        (dark[0] == 0 ? link.forward : link.backward).dark.push_back({dark[1], dark[2]});
      }
    } else if (name == "slow") {
      for (const nb::handle item : given) {
        const auto slow = nb::cast<std::vector<std::uint64_t>>(item);
        if (slow.size() != 5 || slow[0] > 1 || slow[3] > UINT32_MAX) {
          throw nb::value_error("a slow time is [0 or 1, from_ps, until_ps, byte_time_ps, extra_latency_ps]");
        }
        (slow[0] == 0 ? link.forward : link.backward)
            .slow.push_back({slow[1], slow[2], static_cast<std::uint32_t>(slow[3]), slow[4]});
      }
    } else {
      throw nb::value_error(("a link has no " + name).c_str());
    }
  }
}

}  // namespace

ForwardingTables read_tables(const nb::dict& given) {
  ForwardingTables tables;
  for (const auto& [key, value] : given) {
    const auto name = nb::cast<std::string>(key);
    if (name == "groups") {
      tables.groups = nb::cast<decltype(tables.groups)>(value);
    } else if (name == "weights") {
      tables.weights = nb::cast<decltype(tables.weights)>(value);
    } else if (name == "watched") {
      tables.watched = nb::cast<decltype(tables.watched)>(value);
    } else if (name == "route") {
      tables.route = nb::cast<decltype(tables.route)>(value);
    } else if (name == "ingress_routes") {
      tables.ingress_routes = nb::cast<decltype(tables.ingress_routes)>(value);
    } else {
      throw nb::value_error(("tables have no " + name).c_str());
    }
  }
  return tables;
}

void bind_models(nb::module_& m) {
  bind_frame(m);
  bind_nic(m);
  bind_workload(m);
  bind_switch(m);
  nb::class_<Plan>(m, "Plan")
      .def(nb::init<std::uint64_t>(), nb::arg("seed"))
      .def("add_nic",
           [](Plan& plan, std::string name, NicConfig config, std::vector<WorkloadConfig> workloads) {
             return plan.add_node(std::move(name), std::make_shared<NicModel>(std::move(config), std::move(workloads)));
           })
      .def("add_switch",
           [](Plan& plan, std::string name, SwitchConfig config) {
             return plan.add_node(std::move(name), std::make_shared<SwitchModel>(std::move(config)));
           })
      .def("add_voq_switch",
           [](Plan& plan, std::string name, VoqSwitchConfig config) {
             return plan.add_node(std::move(name), std::make_shared<VoqSwitchModel>(std::move(config)));
           })
      .def(
          "add_python",
          [](Plan& plan, std::string name, nb::object factory, ps_t delay_ps, bool last_bit,
             std::uint32_t max_frame_bytes) {
            return plan.add_node(std::move(name),
                                 std::make_shared<PythonNode>(std::move(factory), delay_ps, last_bit, max_frame_bytes));
          },
          nb::arg("name"), nb::arg("factory"), nb::arg("ingress_delay_ps"), nb::arg("last_bit"),
          nb::arg("max_frame_bytes") = 9216)
      .def(
          "add_link",
          [](Plan& plan, std::uint32_t a, std::uint16_t a_port, std::uint32_t b, std::uint16_t b_port,
             std::uint32_t byte_time_ps, ps_t latency_ps, const nb::dict& features) {
            PlanLink link{a, b, a_port, b_port, byte_time_ps, latency_ps, false, {}, {}};
            read_features(features, link);
            plan.add_link(link);
          },
          nb::arg("a"), nb::arg("a_port"), nb::arg("b"), nb::arg("b_port"), nb::arg("byte_time_ps"),
          nb::arg("latency_ps"), nb::arg("features") = nb::dict())
      .def_prop_ro("node_names",
                   [](const Plan& plan) {
                     std::vector<std::string> names;
                     names.reserve(plan.nodes.size());
                     for (const PlanNode& node : plan.nodes) names.push_back(node.name);
                     return names;
                   })
      .def_prop_ro("wires", [](const Plan& plan) { return 2 * plan.links.size(); })
      .def_prop_ro("sources", &Plan::sources);
}

}  // namespace tb
