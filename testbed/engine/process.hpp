// What a process of an emulation does to itself: name, place, priority, and to end with its parent.
#pragma once
#include <string>

namespace tb {

/// Name the calling process, bind its life to its parent's and pin it to `cpu` (negative: anywhere). Gives it
/// a handler for SIGUSR1, which ends waits, and SCHED_FIFO `priority` if it may have it, else the best nice value it
/// may have; returns which.
std::string prepare_process(const std::string& name, int cpu, int priority);

}  // namespace tb
