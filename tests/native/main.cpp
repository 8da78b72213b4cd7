// Native unit tests of the engine's lower rooms. Every call of the engine runs under a clock, so
// each test begins with one.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
