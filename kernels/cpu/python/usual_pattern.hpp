// Usual patterns: regular expressions that every dialect reads alike.
#pragma once
#include <string_view>

namespace guard {

// Whether a pattern is ASCII and has characters, escapes of classes and of punctuation, classes of
// characters and of their ranges, groups, alternatives, greedy quantifiers and anchors alone; nests
// little, and repeats little. Such a one is valid by ECMA-262 and by a metaschema's `regex`, and
// has no back-reference. False: somebody else must look. O(bytes).
bool is_usual_pattern(std::string_view text);

}  // namespace guard
