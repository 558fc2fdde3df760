#include "process.hpp"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <csignal>
#include <system_error>

namespace tb {

std::string prepare_process(const std::string& name, int cpu, int priority) {
  prctl(PR_SET_NAME, name.c_str());
  // A signal that only ends a wait.
  struct sigaction wake{};
  wake.sa_handler = [](int) {};
  sigaction(SIGUSR1, &wake, nullptr);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
    throw std::system_error(errno, std::generic_category(), "PR_SET_PDEATHSIG");
  if (cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
      throw std::system_error(errno, std::generic_category(), "pin to a CPU");
  }
  sched_param param{};
  param.sched_priority = priority;
  if (sched_setscheduler(0, SCHED_FIFO, &param) == 0) return "SCHED_FIFO " + std::to_string(priority);
  for (int nice = -20; nice < 0; ++nice) {
    if (setpriority(PRIO_PROCESS, 0, nice) == 0) return "nice " + std::to_string(nice);
  }
  return "default";
}

}  // namespace tb
