#pragma once
#include <nanobind/nanobind.h>

// Adds lowered() to the module.
void bind_lower(nanobind::module_& module);
