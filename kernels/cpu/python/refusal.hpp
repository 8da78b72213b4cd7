// Refusals: a call that fits no overload gets a TypeError of one line, which says what they accept.
#pragma once
#include <nanobind/nanobind.h>

#include <array>
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

[[noreturn]] inline void refuse(const char* takes, const std::string& given) {
  throw nanobind::type_error((std::string(takes) + ", not (" + given + ")").c_str());
}
inline void add_kind(nanobind::handle value, std::string* given) {
  if (value.is(nanobind::ellipsis())) return;
  *given += (given->empty() ? "" : ", ") + kind_of(value);
}

// Adds the last overload of a method. It takes up to four arguments, of which `names` are the first
// three. With more, or with *args or **kwargs, nanobind would call each of the method's overloads
// in a slower way, which costs a tenth of a short call.
template <typename Of>
void refuse_others(nanobind::class_<Of>& of, const char* name, const char* takes,
                   std::array<const char*, 3> names) {
  const auto arg = [](const char* of) { return nanobind::arg(of).none() = nanobind::ellipsis(); };
  of.def(
      name,
      [takes](Of&, const Otherwise& a, const Otherwise& b, const Otherwise& c, const Otherwise& d) {
        std::string given;
        for (const Otherwise* one : {&a, &b, &c, &d}) add_kind(one->first, &given);
        refuse(takes, given);
      },
      arg(names[0]), arg(names[1]), arg(names[2]), arg("_4"));
}

// Adds the last overload of a module's function.
inline void refuse_others(nanobind::module_& of, const char* name, const char* takes) {
  using namespace nanobind::literals;
  of.def(
      name,
      [takes](const Otherwise& first, const nanobind::args& rest, const nanobind::kwargs& named) {
        std::string given;
        add_kind(first.first, &given);
        for (const nanobind::handle value : rest) add_kind(value, &given);
        for (const auto& [name, value] : named)
          given += (given.empty() ? "" : ", ") + nanobind::cast<std::string>(name) + "=" +
                   kind_of(value);
        refuse(takes, given);
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
