#pragma once
#include <nanobind/nanobind.h>

// Adds named_nodes() to the module.
void bind_lower(nanobind::module_& module);
