#pragma once

#include <nanobind/nanobind.h>

namespace guard {

void bind_word_bounds(nanobind::module_& module);  // adds word_bounds(text, classify)

}  // namespace guard
