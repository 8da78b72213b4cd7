// Binds masks/apply_mask.hpp and attention/attend.hpp; the module's one definition is in
// module.cpp.
#pragma once
#include <nanobind/nanobind.h>

void bind_apply(nanobind::module_& module);  // adds apply_bitmask and attend
