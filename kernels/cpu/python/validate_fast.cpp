// Is a schema plainly valid? One walk, with one rule for each keyword. True for most real schemas,
// and never for one that its metaschema rejects. metaschemas.py defines the rules. A schema that is
// not plain is left to a validator, which also words the errors.
#include "python/validate_fast.hpp"

#include <cstring>
#include <string_view>

#include "python/give_way.hpp"
#include "python/json_tree.hpp"
#include "python/usual_pattern.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

enum Rule {  // metaschemas.Rule has the same numbers
  kAsk = 0,
  kText = 1,
  kFlag = 2,
  kCount = 3,
  kNumber = 4,
  kPositive = 5,
  kList = 6,
  kNames = 7,
  kType = 8,
  kSchema = 9,
  kSchemas = 10,
  kEither = 11,
  kMap = 12,
  kPattern = 13,
  kPatterns = 14,
  kReference = 15,
  kIdentifier = 16,
  kUri = 17,
  kSchemaOrFlag = 18,
  kSomeNames = 19,
};

constexpr std::string_view kTypes[] = {"null",   "boolean", "integer", "number",
                                       "string", "array",   "object"};
using guard::JsonTree;
using Index = JsonTree::Index;
using Kind = JsonTree::Kind;

constexpr std::uint32_t kMostNames = 64;  // compared one by one

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// A URI or a relative reference of letters and "$-._~/", with a fragment of the same.
bool is_reference(std::string_view text, bool absolute, bool fragment) {
  bool has_scheme = false;
  for (const std::string_view scheme : {"http://", "https://"})
    if (!has_scheme && text.starts_with(scheme)) {
      text.remove_prefix(scheme.size());
      has_scheme = true;
    }
  if (text.empty() || (has_scheme ? !is_letter(text[0]) : absolute || text.starts_with("//")))
    return false;
  for (const char c : text) {
    if (c == '#' && fragment)
      fragment = false;
    else if (!is_letter(c) && !std::strchr("$-._~/", c))
      return false;
  }
  return true;
}

class Plain {
 public:
  Plain(const JsonTree& tree, const guard::KeywordTable& rules, bool booleans)
      : tree_(tree), rules_(rules), booleans_(booleans) {}

  bool schema(Index at) const {
    if (tree_.is_boolean(at)) return booleans_;
    if (!tree_.is_object(at)) return false;
    for (Index i = at + 1; i < tree_[at].end; i = tree_[i].end)
      if (const int rule = rules_[tree_[i].word]; rule >= 0 && !holds(rule, i)) return false;
    return true;
  }

 private:
  bool holds(int rule, Index at) const {
    const Kind kind = tree_[at].kind;
    switch (rule) {
      case kText: return kind == Kind::Text || kind == Kind::OddText;
      case kFlag: return tree_.is_boolean(at);
      case kCount: return kind == Kind::Integer && tree_.integer(at) >= 0;
      case kNumber: return kind == Kind::Integer || kind == Kind::Long || kind == Kind::Float;
      case kPositive:
        return kind == Kind::Float ? tree_.real(at) > 0
                                   : kind == Kind::Integer && tree_.integer(at) > 0;
      case kList: return kind == Kind::List;
      case kNames: return names(at, [](std::string_view) { return true; });
      case kSomeNames:
        return tree_[at].size > 0 && names(at, [](std::string_view) { return true; });
      case kType: return is_type(text(at)) || (tree_[at].size > 0 && names(at, is_type));
      case kSchema: return schema(at);
      case kSchemas: return schemas(at);
      case kEither: return schema(at) || schemas(at);
      case kMap: return map(at, [](Index) { return true; });
      case kPattern: return guard::is_usual_pattern(text(at));
      case kPatterns:
        return map(at, [&](Index i) { return guard::is_usual_pattern(tree_.key(i)); });
      case kReference: return is_reference(text(at), false, true);
      case kIdentifier: return is_reference(text(at), false, false);
      case kUri: return is_reference(text(at), true, true);
      case kSchemaOrFlag: return tree_.is_boolean(at) || schema(at);
      default: return false;
    }
  }

  // The bytes of a text; for any other value, an empty view, which no rule accepts.
  std::string_view text(Index at) const {
    return tree_[at].kind == Kind::Text ? tree_.bytes(at) : std::string_view();
  }

  static bool is_type(std::string_view name) {
    for (const std::string_view type : kTypes)
      if (type == name) return true;
    return false;
  }

  // Is it a list of distinct texts? Not inlined, because its array would take stack space at each
  // level of a schema.
  template <typename May>
  [[gnu::noinline]] bool names(Index at, May&& may) const {
    if (!tree_.is_list(at) || tree_[at].size > kMostNames) return false;
    std::string_view seen[kMostNames];
    std::size_t count = 0;
    for (Index i = at + 1; i < tree_[at].end; i = tree_[i].end) {
      if (tree_[i].kind != Kind::Text || !may(tree_.bytes(i))) return false;
      for (std::size_t other = 0; other < count; ++other)
        if (seen[other] == tree_.bytes(i)) return false;
      seen[count++] = tree_.bytes(i);
    }
    return true;
  }

  bool schemas(Index at) const {
    if (!tree_.is_list(at) || tree_[at].size == 0) return false;
    for (Index i = at + 1; i < tree_[at].end; i = tree_[i].end, guard::give_way())
      if (!schema(i)) return false;
    return true;
  }

  template <typename May>
  bool map(Index at, May&& may) const {
    if (!tree_.is_object(at)) return false;
    for (Index i = at + 1; i < tree_[at].end; i = tree_[i].end, guard::give_way())
      if (!may(i) || !schema(i)) return false;
    return true;
  }

  const JsonTree& tree_;
  const guard::KeywordTable& rules_;
  bool booleans_;
};

}  // namespace

void bind_plain(nb::module_& module) {
  module.def(
      "is_plainly_valid",
      [](const JsonTree& tree, const guard::KeywordTable& rules, bool booleans) {
        return Plain(tree, rules, booleans).schema(0);
      },
      "tree"_a, "rules"_a, "booleans"_a);
}
