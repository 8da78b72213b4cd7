#pragma once

#include <nanobind/nanobind.h>

void bind_plain(nanobind::module_& module);  // adds is_plainly_valid(schema, rules, booleans)
