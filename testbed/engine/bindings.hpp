// What the parts of the extension module share.
#pragma once
#include <nanobind/nanobind.h>

namespace tb {

/// Frames, stages, configurations of NICs and switches, nodes written in Python, the plan.
void bind_models(nanobind::module_& module);

}  // namespace tb
