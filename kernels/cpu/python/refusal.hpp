// Refusals: a call that fits no overload gets a TypeError of one line, which says what they accept.
#pragma once
#include <nanobind/nanobind.h>

#include <string>

namespace guard {

// Matches any first argument, but only after all overloads have failed, with and without
// conversion.
struct Otherwise {
  nanobind::object first;
};

inline std::string kind_of(nanobind::handle value) {
  if (value.is_none()) return "None";
  return nanobind::cast<std::string>(nanobind::handle(value.type()).attr("__name__"));
}

[[noreturn]] inline void refuse(const char* takes, const Otherwise& otherwise,
                                const nanobind::args& rest, const nanobind::kwargs& named) {
  std::string given;
  const auto add = [&](const std::string& one) { given += (given.empty() ? "" : ", ") + one; };
  if (!otherwise.first.is(nanobind::ellipsis())) add(kind_of(otherwise.first));
  for (const nanobind::handle value : rest) add(kind_of(value));
  for (const auto& [name, value] : named)
    add(nanobind::cast<std::string>(name) + "=" + kind_of(value));
  throw nanobind::type_error((std::string(takes) + ", not (" + given + ")").c_str());
}

// Adds the last overload of a method, or of a module's function.
template <typename Of>
void refuse_others(nanobind::class_<Of>& of, const char* name, const char* takes) {
  using namespace nanobind::literals;
  of.def(
      name,
      [takes](Of&, const Otherwise& first, const nanobind::args& rest,
              const nanobind::kwargs& named) { refuse(takes, first, rest, named); },
      "_"_a.none() = nanobind::ellipsis(), "args"_a, "kwargs"_a);
}
inline void refuse_others(nanobind::module_& of, const char* name, const char* takes) {
  using namespace nanobind::literals;
  of.def(
      name,
      [takes](const Otherwise& first, const nanobind::args& rest, const nanobind::kwargs& named) {
        refuse(takes, first, rest, named);
      },
      "_"_a.none() = nanobind::ellipsis(), "args"_a, "kwargs"_a);
}

}  // namespace guard

template <>
struct nanobind::detail::type_caster<guard::Otherwise> {
  NB_TYPE_CASTER(guard::Otherwise, const_name("object"))
  template <typename Flags>
  bool from_python(handle src, Flags flags, cleanup_list*) noexcept {
    value.first = borrow(src);
    return flags & static_cast<Flags>(cast_flags::convert);
  }
};
