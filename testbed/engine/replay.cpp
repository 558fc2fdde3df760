#include "replay.hpp"

#include <stdexcept>

namespace tb {

namespace {

/// Sits on the wires to one entity: notes a frame, and passes it on.
class Tap final : public FrameIo {
 public:
  Tap(Group& group, std::uint32_t entity, std::vector<Reached>& seen) : group_(group), entity_(entity), seen_(seen) {}
  ps_t send(const Entity& from, std::uint32_t port_number, Frame* frame, ps_t /*first_bit_ps*/,
            ps_t event_ps) override {
    const Port& port = from.ports()[port_number];
    Reached& reached = seen_.emplace_back();
    reached.port = port.peer_port;
    reached.frame = *frame;
    reached.event_ps = event_ps;
    if (frame->telemetry != kNoTelemetry) reached.hops = group_.telemetry.int_stacks.at(telemetry_place(*frame));
    group_.deliver(entity_, port.peer_port, frame, event_ps);
    return event_ps;  // whoever is running stops before the entity could answer
  }
  void duplicate(Frame* /*frame*/) override {}
  void rewrite(Frame* /*frame*/) override {}
  void release(Frame* /*frame*/) override {}

 private:
  Group& group_;
  std::uint32_t entity_;
  std::vector<Reached>& seen_;
};

}  // namespace

std::vector<Reached> frames_to(const Plan& plan, std::uint32_t entity, ps_t until_ps,
                               const std::function<void(Group&)>& prepare) {
  if (entity >= plan.nodes.size()) throw std::invalid_argument("no such entity");
  std::vector<Reached> seen;
  Group group(plan, {});
  Tap tap(group, entity, seen);
  group.set_io(&tap);
  group.lead_out(entity);
  group.stop_when_done(plan.sources());
  group.start();
  prepare(group);
  while (group.next_event_ps() < until_ps && group.sources_done() < plan.sources()) group.run(until_ps);
  return seen;
}

}  // namespace tb
