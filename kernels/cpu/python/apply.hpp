// Binds apply.hpp; the module's one definition is in bindings.cpp.
#pragma once
#include <nanobind/nanobind.h>

void bind_apply(nanobind::module_& module);  // adds apply_bitmask(logits, bitmask)
