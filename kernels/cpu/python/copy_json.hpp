#pragma once

#include <nanobind/nanobind.h>

void bind_copy(nanobind::module_& module);  // adds copy_json(value, depth, most)
