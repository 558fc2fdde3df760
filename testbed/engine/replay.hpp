// What reached one entity of a fabric before a time: enough to bring another copy of it to the same state.
#pragma once
#include <functional>
#include <vector>

#include "group.hpp"
#include "plan.hpp"

namespace tb {

/// A frame that was sent to the entity, as a wire would have carried it.
struct Reached {
  std::uint32_t port = 0;  // of the entity
  Frame frame;
  IntHops hops;  // where the frame has telemetry
  ps_t event_ps = 0;
};

/// Run a whole fabric until `until_ps`, after `prepare`, and write down every frame that was sent to one entity by
/// then, in the order in which they were sent. Throws what the models throw.
std::vector<Reached> frames_to(const Plan& plan, std::uint32_t entity, ps_t until_ps,
                               const std::function<void(Group&)>& prepare);

}  // namespace tb
