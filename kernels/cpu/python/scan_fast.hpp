#pragma once
#include <nanobind/nanobind.h>

// Adds scanned() to the module.
void bind_scan(nanobind::module_& module);
