#pragma once
#include <nanobind/nanobind.h>

namespace guard {
void bind_vocabulary(nanobind::module_& module);  // adds Vocabulary
}
