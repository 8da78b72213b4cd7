// Lowers nodes by the keywords of nearly all schemas, straight into drafts. Lowering._lower
// (schemas/lowering.py) does the same in Python for every keyword, as records;
// tests/schemas/test_lowering.py compares the two. Keywords that are unknown here are left to it.
#include "python/lower_fast.hpp"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "constraints/goals.hpp"
#include "python/gil.hpp"
#include "python/give_way.hpp"
#include "python/objects.hpp"
#include "python/read_records.hpp"
#include "python/schema_positions.hpp"
#include "python/twins.hpp"

namespace nb = nanobind;
using namespace nb::literals;

// What all nodes of a compile share (lowering.tables).
struct guard::LoweringTables {
  // None where all schemas are in one resource, and its references were followed in C++.
  nb::object homes, targets, idle;
  bool formats, annotate;
  const KeywordTable &kinds, &how, &known_formats;  // Lowering's own, which are never released
  nb::dict format_trees, known;
  nb::object parse;  // reads a pattern
};

namespace {

using guard::attribute;
using guard::Draft;
using guard::Drafts;
using guard::found;
using guard::give_way;
using guard::Id;
using guard::JsonTree;
using guard::Keyword;
using guard::KeywordTable;
using guard::LoweringTables;
using guard::NodeLowering;
using guard::Op;
using guard::owned;
using guard::SchemaPositions;
using guard::Twins;
using Index = JsonTree::Index;
using Kind = JsonTree::Kind;
using Record = std::vector<Draft>;  // a node's drafts
using TextSet = std::unordered_set<std::string_view, guard::TextHash>;
namespace types = guard::types;

enum { kScalar = 1, kPoints = 2, kHolds = 3 };  // lowering._KINDS has the same numbers
enum How {                                      // lowering._FAST has the same numbers
  kType = 1,
  kEnum,
  kConst,
  kAdditional,
  kItems,
  kAll,
  kAny,
  kOne,
  kLeast,
  kMost,
  kAbove,
  kBelow,
  kLength,
  kCount,
  kSize,
  kNot,
  kPrefix,
  kBeyond,
  kUnique,
  kFormat,
  kPattern
};
constexpr Id kTrue = guard::kTruePosition, kFalse = guard::kFalsePosition;  // nodes
constexpr long kEverything = types::kNull | types::kBoolean | types::kNumber | types::kString |
                             types::kArray | types::kObject;

Draft& add(Record& record, Op op) { return record.emplace_back(Draft{.atom = {.op = op}}); }
void add_bounds(Record& record, Op op, long least, long most) {
  guard::Atom& a = add(record, op).atom;
  a.lo = static_cast<std::int32_t>(least),
  a.hi = most < 0 ? guard::kInf : static_cast<std::int32_t>(most);
}

// The keywords and attributes that are looked up by name. Python strings are never released.
struct Words {
  struct Range {
    Keyword least, most;
    Op op;
    long type;
  };
  Keyword ref = guard::keyword_of("$ref");
  Keyword nullable = guard::keyword_of("nullable");
  Keyword items = guard::keyword_of("items");
  Keyword prefix = guard::keyword_of("prefixItems");
  Keyword patterns = guard::keyword_of("patternProperties");
  Keyword properties = guard::keyword_of("properties");
  Keyword required = guard::keyword_of("required");
  PyObject* ref_text = PyUnicode_InternFromString("$ref");
  PyObject* dialect = PyUnicode_InternFromString("dialect");
  PyObject* position = PyUnicode_InternFromString("position");
  Range length{guard::keyword_of("minLength"), guard::keyword_of("maxLength"), Op::Length,
               types::kString};
  Range count{guard::keyword_of("minItems"), guard::keyword_of("maxItems"), Op::Count,
              types::kArray};
  Range size{guard::keyword_of("minProperties"), guard::keyword_of("maxProperties"), Op::Size,
             types::kObject};
};
const Words& words() {
  static const Words all;
  return all;
}

// What a schema right below another says, as far as it tells whether two are alike.
enum class Kin { Own, Reference, Scalar };
struct Said {
  Kin kin;
  std::size_t words = 0;  // of a scalar
};

// Classifies a schema: a plain scalar, a reference, or one with subschemas or with keywords that
// are looked up elsewhere. Counts a scalar's keywords.
Said said_by(const JsonTree& tree, Index schema, const KeywordTable& kinds) {
  Said out{Kin::Scalar};
  for (Index i = schema + 1; i < tree[schema].end; i = tree[i].end) {
    const int what = kinds[tree[i].word];
    if (what == kScalar)
      ++out.words;
    else if (what == kPoints)
      out.kin = Kin::Reference;
    else if (what == kHolds || tree.key(i).starts_with('$'))
      return {Kin::Own};
  }
  return out;
}

// What a plain scalar says as bytes: the dialect's number, then each of its keywords with its
// value. False: one of these is a list or an object.
bool is_told(const JsonTree& tree, Index schema, const KeywordTable& kinds, std::uint32_t dialect,
             std::string* out) {
  out->assign(reinterpret_cast<const char*>(&dialect), sizeof dialect);
  for (Index i = schema + 1; i < tree[schema].end; i = tree[i].end) {
    const JsonTree::Node& n = tree[i];
    if (kinds[n.word] != kScalar) continue;
    if (n.kind == Kind::List || n.kind == Kind::Object || n.kind == Kind::Other) return false;
    *out += static_cast<char>(n.word);
    *out += tree.said(i);
  }
  return true;
}

// The position whose record a schema's has: its own, or that of the first that says the same.
// `around` is the dialect of the schema around it.
Id twin_of(const LoweringTables& tables, Twins& twins, Id position, std::uint32_t around) {
  const SchemaPositions::Place& place = twins.positions()[position];
  const JsonTree& tree = twins.positions().tree(place.document);
  const Said said = said_by(tree, place.node, tables.kinds);
  if (said.kin == Kin::Own) return position;
  if (said.kin == Kin::Reference) {
    if (said.words > 0) return position;
    const Id led = twins.positions().led_to(position);
    if (tables.idle.is_none()) return led >= 0 ? led : position;
    const nb::object id = owned(PyLong_FromLong(position));
    const nb::object key = owned(PyTuple_Pack(2, id.ptr(), words().ref_text));
    const int idle = PySet_Contains(tables.idle.ptr(), key.ptr());
    if (idle < 0) throw nb::python_error();
    if (!idle && led >= 0) return led;
    PyObject* leads = idle ? nullptr : found(tables.targets.ptr(), key.ptr());
    return leads ? nb::cast<Id>(attribute(leads, words().position)) : position;
  }
  std::string& bytes = twins.scratch();
  return is_told(tree, place.node, tables.kinds, around, &bytes) ? twins.first_of(bytes, position)
                                                                 : position;
}

class Nodes {
 public:
  Nodes(const LoweringTables& tables, Twins& twins, nb::handle front)
      : tables_(tables), twins_(twins), positions_(twins.positions()), front_(front) {}

  // Lowers these nodes, and of those that they lead to and that were never lowered, what
  // Goals::lacking would ask for next: each call of Python takes as long as a few nodes. The first
  // call goes on below them: what it lowers no later mask waits for.
  Drafts lower(const std::vector<Id>& nodes) {
    Drafts out;
    try {
      lower(nodes, out);
    } catch (const guard::Limit& limit) {
      out.limit = limit;  // thrown again where the engine takes the drafts
      return out;
    }
    try {
      if (twins_.is_first_call()) lower_beforehand(out);
    } catch (const guard::Limit&) {
      return out;  // the limit is told to the call that needs the node
    }
    return out;
  }

 private:
  void lower(const std::vector<Id>& nodes, Drafts& out) {
    std::vector<std::pair<Id, int>> todo;
    for (Id node : nodes) todo.push_back({node, guard::Goals::Ahead::kDeepest});
    const std::size_t asked = nodes.size();
    twins_.begin_call();
    for (std::size_t at = 0; at < todo.size(); ++at, give_way()) {
      const auto [node, depth] = todo[at];
      Twins::Visit visit = twins_.visit(node);
      if (visit.depth < 0) {
        if (twins_.is_given(node) && at >= asked) continue;
        visit.record = out.each.size();
        out.each.push_back(record(node));  // before the node, so that an error leaves them alike
        out.nodes.push_back(node);
      } else if (visit.depth >= depth) {
        continue;
      }
      twins_.set_visit(node, {visit.record, depth});
      follow(out.each[visit.record], depth, &todo);
    }
  }

  // Lowers nodes below those that were lowered, the nearest first, as long as a first mask hardly
  // takes longer by it. A large one, such as a long enum, is left to the mask that needs it.
  void lower_beforehand(Drafts& out) {
    constexpr std::size_t kNodes = 64;   // in all
    constexpr std::size_t kWords = 512;  // names and values, in all
    constexpr Index kLarge = 1024;       // parts of a schema, with those below it
    std::size_t words = 0;
    for (std::size_t at = 0; at < out.each.size(); ++at)
      for (std::size_t d = 0; d < out.each[at].size(); ++d)
        for (std::size_t i = 0; i < out.each[at][d].atom.nodes.size(); ++i) {
          if (out.each.size() >= kNodes || words >= kWords) return;
          const Id node = out.each[at][d].atom.nodes[i];
          if (node <= kFalse || parts(node) > kLarge || twins_.is_given(node)) continue;
          out.each.push_back(record(node));
          out.nodes.push_back(node);
          for (const Draft& draft : out.each.back())
            words += draft.names.size() + draft.values.size();
        }
  }
  Index parts(Id node) const {
    const SchemaPositions::Place& place = positions_[node];
    return positions_.tree(place.document)[place.node].end - place.node;
  }

  static void follow(const Record& record, int depth, std::vector<std::pair<Id, int>>* todo) {
    TextSet required;
    if (depth == 0)
      for (const Draft& d : record)
        if (d.atom.op == Op::Required) required.insert(d.names.begin(), d.names.end());
    for (const Draft& d : record) {
      const Op op = d.atom.op;
      const bool is_open =
          depth > 0 && (op == Op::Properties || op == Op::Patterns || op == Op::Additional);
      for (std::size_t i = 0; i < d.atom.nodes.size(); ++i) {
        const Id node = d.atom.nodes[i];
        if (node <= kFalse) continue;
        if (guard::applies_in_place(op))
          todo->push_back({node, depth});
        else if (depth > 0 && op == Op::Items)
          todo->push_back({node, depth - 1});
        else if (is_open || (op == Op::Properties && required.contains(d.names[i])))
          todo->push_back({node, 0});
      }
    }
  }

  Record record(Id node) {
    if (node < guard::kFirstPosition) return in_full(node);
    const std::string* said = twins_.said(node);  // null: no plain scalar
    Record out;
    if (!is_lowered(node, said != nullptr, out)) return kept(node, *said);
    return out;
  }

  Record in_full(Id node) {
    return guard::read_record(guard::in_python([&] { return lowering().attr("_lower")(node); }),
                              node);
  }

  // The record of a plain scalar that only Python can lower: the same in every schema.
  Record kept(Id node, const std::string& said) {
    const nb::object key =
        nb::make_tuple(nb::bytes(said.data(), said.size()), nb::bool_(tables_.formats));
    if (PyObject* known = found(tables_.known.ptr(), key.ptr()))
      return guard::read_record(known, node);
    const nb::object schema = tree().copy(schema_);  // a few scalars
    const nb::object record =
        guard::in_python([&] { return lowering().attr("_lower")(node, schema); });
    guard::in_python([&] { return lowering().attr("_keep")(key, record); });
    return guard::read_record(record, node);
  }

  // False: it is plain, and Python must lower it.
  bool is_lowered(Id node, bool is_plain, Record& record) {
    enter(node);
    const Index schema = schema_;
    record.reserve(std::min<std::size_t>(tree()[schema].size, 6));
    if (dialect_->ref_alone && member(words().ref)) {
      record = in_full(node);
      return true;
    }
    if (const Index at = member(words().properties); at && is_keyword(at)) properties(record, at);
    if (const Index at = member(words().required); at && is_keyword(at) && !required(record, at))
      entry(record, node, at);
    for (Index at = schema + 1; at < tree()[schema].end; at = tree()[at].end) {
      const int how = tables_.how[tree()[at].word];
      if (how < 0 || !is_keyword(at)) continue;
      if (how > 0 && is_added(record, static_cast<How>(how), at)) continue;
      if (is_plain) return false;
      entry(record, node, at);
    }
    return true;
  }

  // Made when the first node asks for it.
  nb::object lowering() const { return front_.attr("lowering"); }

  const JsonTree& tree() const { return *tree_; }
  Index member(Keyword word) const { return tree().member(schema_, word); }
  bool is_keyword(Index at) const { return dialect_->keywords[tree()[at].word] >= 0; }

  // Enters a schema and its resource. Most nodes are in the same resource as the previous one.
  void enter(Id node) {
    schema_ = positions_[node].node;
    document_ = positions_[node].document;
    tree_ = &positions_.tree(document_);
    if (tables_.homes.is_none()) {
      dialect_ = positions_.alone();
      return;
    }
    PyObject* home = PyList_GetItem(tables_.homes.ptr(), node);
    if (home == home_) return;
    dialect_ = &guard::tables_of(attribute(home, words().dialect).ptr());
    home_ = home;
  }

  void entry(Record& record, Id node, Index at) {
    const nb::list entries;
    const nb::object keyword = tree().key_object(at), value = python_value(at);
    guard::in_python([&] { return lowering().attr("_entry")(entries, node, keyword, value); });
    Record more = guard::read_record(entries, node);
    std::move(more.begin(), more.end(), std::back_inserter(record));
  }

  // A keyword's value. That of an enum or a const has no schemas that were placed by identity.
  nb::object python_value(Index at) const {
    const int how = tables_.how[tree()[at].word];
    return how == kEnum || how == kConst ? tree().copy(at) : tree().value(at);
  }

  // Adds a keyword's drafts to the record. False: the keyword needs the Python version, and nothing
  // was added.
  bool is_added(Record& record, How how, Index at) {
    switch (how) {
      case kType: return type(record, at);
      case kEnum: {
        std::vector<guard::Literal> values;
        if (!are_added(values, at)) return false;
        add(record, Op::Enum).values = std::move(values);
        return true;
      }
      case kConst: {
        if (!is_literal(at)) return false;
        add(record, Op::Const).values.push_back(literal(at));
        return true;
      }
      case kAdditional: return additional(record, at);
      case kItems: {
        if (tree().is_list(at)) return prefix(record, at);
        const Index first = member(words().prefix);
        const bool is_prefixed = first && is_keyword(first) && tree().is_list(first);
        return item(record, is_prefixed ? tree()[first].size : 0, -1, at);
      }
      case kPrefix: return prefix(record, at);
      case kBeyond: {
        const Index first = member(words().items);
        return !first || !tree().is_list(first) || item(record, tree()[first].size, -1, at);
      }
      case kFormat: return format(record, at);
      case kPattern: pattern(record, at); return true;
      case kUnique:
        if (tree()[at].kind == Kind::True) add(record, Op::Unique);
        return true;
      case kNot: add(record, Op::Not).atom.nodes.push_back(node(at)); return true;
      case kAll: return several(record, Op::All, at);
      case kAny: return several(record, Op::Any, at);
      case kOne: return several(record, Op::One, at);
      case kLeast:
      case kAbove: return bound(record, Op::Min, at, how == kAbove);
      case kMost:
      case kBelow: return bound(record, Op::Max, at, how == kBelow);
      case kLength: return range(record, words().length, at);
      case kCount: return range(record, words().count, at);
      case kSize: return range(record, words().size, at);
    }
    throw nb::value_error("an unknown way to lower a keyword");
  }

  // Adds the texts of a list, each once, in order. False: one of them is no text that JSON can
  // write.
  bool are_added(std::vector<std::string>& out, Index list) const {
    if (!tree().is_list(list)) return false;
    constexpr std::size_t kFew = 8;  // texts that are compared one by one
    TextSet seen;
    const auto is_new = [&](std::string_view text) {
      if (out.size() < kFew) return std::find(out.begin(), out.end(), text) == out.end();
      if (seen.empty()) seen.insert(out.begin(), out.end());
      return seen.insert(text).second;
    };
    out.reserve(tree()[list].size);
    for (Index i = list + 1; i < tree()[list].end; i = tree()[i].end, give_way()) {
      if (tree()[i].kind != Kind::Text) return false;
      if (is_new(tree().bytes(i))) out.emplace_back(tree().bytes(i));
    }
    return true;
  }

  // Adds the values of a list, each once, in order. False: one of them is no literal.
  bool are_added(std::vector<guard::Literal>& out, Index list) const {
    if (!tree().is_list(list) || tree()[list].size == 0) return false;
    TextSet seen;  // bytes of written(), with the letter before them
    for (Index i = list + 1; i < tree()[list].end; i = tree()[i].end, give_way())
      if (!is_literal(i)) return false;
    out.reserve(tree()[list].size);
    seen.reserve(tree()[list].size);
    for (Index i = list + 1; i < tree()[list].end; i = tree()[i].end, give_way())
      if (seen.insert(tree().said(i)).second) out.push_back(literal(i));
    return true;
  }
  // Is it a text, an integer of 64 bits, a boolean or null?
  bool is_literal(Index at) const {
    const Kind kind = tree()[at].kind;
    return kind == Kind::Text || kind == Kind::Integer || kind == Kind::Null ||
           tree().is_boolean(at);
  }
  guard::Literal literal(Index at) const {
    switch (tree()[at].kind) {
      case Kind::Text: return {.kind = guard::Value::String, .text = std::string(tree().bytes(at))};
      case Kind::Integer:
        return {.kind = guard::Value::Number, .number = decimal_of(tree().integer(at))};
      case Kind::True: return {.kind = guard::Value::True};
      case Kind::False: return {.kind = guard::Value::False};
      default: return {.kind = guard::Value::Null};
    }
  }
  // An integer as digits without trailing zeros and the number of these zeros.
  static guard::Decimal decimal_of(std::int64_t n) {
    guard::Decimal out;
    if (n == 0) return out;
    out.negative = n < 0;
    out.digits =
        std::to_string(n < 0 ? 0 - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n));
    for (; out.digits.back() == '0'; out.digits.pop_back()) ++out.exp;
    return out;
  }

  // An integer that is neither negative nor beyond 32 bits; for anything else, a negative number.
  long count_of(Index at) const {
    if (tree()[at].kind != Kind::Integer) return -1;
    const std::int64_t n = tree().integer(at);
    return n < 0 || n >= guard::kInf ? -1 : static_cast<long>(n);
  }

  bool type(Record& record, Index at) const {
    if (member(words().nullable)) return false;
    long mask = 0;
    if (tree().is_list(at))
      for (Index i = at + 1; i < tree()[at].end; i = tree()[i].end) mask |= type_of(i);
    else
      mask = type_of(at);
    if (mask & types::kNumber) mask &= ~(types::kInteger | types::kIntegerText);
    if ((mask & kEverything) != kEverything)
      add(record, Op::Type).atom.lo = static_cast<std::int32_t>(mask);
    return true;
  }
  long type_of(Index at) const {
    static constexpr std::pair<std::string_view, long> kBits[] = {
        {"string", types::kString}, {"object", types::kObject},   {"array", types::kArray},
        {"number", types::kNumber}, {"boolean", types::kBoolean}, {"null", types::kNull}};
    for (const auto& [known, bit] : kBits)
      if (tree().bytes(at) == known) return bit;
    return dialect_->integer;
  }

  // Adds a bound that is a 64-bit integer. False: the bound is something else.
  bool bound(Record& record, Op op, Index at, bool open) const {
    if (dialect_->boolean_bounds || tree()[at].kind != Kind::Integer) return false;
    guard::Atom& a = add(record, op).atom;
    a.open = open;
    a.number = decimal_of(tree().integer(at));
    return true;
  }

  // Adds one entry for a pair of counting keywords, such as minLength and maxLength, at the
  // position of the first.
  bool range(Record& record, const Words::Range& range, Index at) const {
    const Index low = member(range.least), high = member(range.most);
    if (low && tree()[at].word == range.most) return true;
    const long least = low ? count_of(low) : 0, most = high ? count_of(high) : -1;
    if (least < 0 || (high && most < 0)) return false;
    if (high && most < least)
      add(record, Op::Type).atom.lo = static_cast<std::int32_t>(kEverything & ~range.type);
    else if (least || high)
      add_bounds(record, range.op, least, most);
    return true;
  }

  void properties(Record& record, Index schemas) {
    Draft d{.atom = {.op = Op::Properties}};
    d.names.reserve(tree()[schemas].size);
    d.atom.nodes.reserve(tree()[schemas].size);
    for (Index i = schemas + 1; i < tree()[schemas].end; i = tree()[i].end, give_way())
      if (!tree()[i].has_odd_key) {
        d.names.emplace_back(tree().key(i));
        d.atom.nodes.push_back(node(i));
      }
    if (!d.names.empty()) record.push_back(std::move(d));
  }

  bool required(Record& record, Index names) const {
    Draft d{.atom = {.op = Op::Required}};
    if (!are_added(d.names, names)) return false;
    if (!d.names.empty()) record.push_back(std::move(d));
    return true;
  }

  bool additional(Record& record, Index at) {
    if (member(words().patterns)) return false;
    const Id below = node(at);
    if (below == kTrue && !tables_.annotate) return true;
    Draft& d = add(record, Op::Additional);
    d.atom.nodes.push_back(below);
    if (const Index declared = member(words().properties); declared && is_keyword(declared))
      for (Index i = declared + 1; i < tree()[declared].end; i = tree()[i].end, give_way())
        if (!tree()[i].has_odd_key) d.names.emplace_back(tree().key(i));
    return true;
  }

  // False: the format's language was never made.
  bool format(Record& record, Index at) {
    const bool is_known = tree()[at].kind == Kind::Text &&
                          tables_.known_formats[guard::keyword_of(tree().bytes(at))] >= 0;
    if (!tables_.formats || !is_known) return true;
    const nb::object key = nb::make_tuple(tree().value(at), dialect_->name);
    PyObject* language = found(tables_.format_trees.ptr(), key.ptr());
    if (language)
      add(record, Op::Format)
          .patterns.push_back({.object = guard::Kept::hold(language), .whole = true});
    return language != nullptr;
  }

  void pattern(Record& record, Index at) {
    const nb::object read = guard::in_python([&] { return tables_.parse(tree().value(at)); });
    add(record, Op::Pattern)
        .patterns.push_back({.object = guard::Kept::hold(read.attr("tree")), .whole = false});
  }

  // Adds what items from one index on, up to another or all, must meet.
  bool item(Record& record, long from, long to, Index schema) {
    const Id below = node(schema);
    if (below == kTrue && !tables_.annotate) return true;
    add_bounds(record, Op::Items, from, to);
    record.back().atom.nodes.push_back(below);
    return true;
  }
  bool prefix(Record& record, Index schemas) {
    long index = 0;
    for (Index i = schemas + 1; i < tree()[schemas].end; i = tree()[i].end, ++index, give_way())
      item(record, index, index + 1, i);
    return true;
  }

  bool several(Record& record, Op op, Index schemas) {
    std::vector<Id>& nodes = add(record, op).atom.nodes;
    for (Index i = schemas + 1; i < tree()[schemas].end; i = tree()[i].end, give_way())
      nodes.push_back(node(i));
    return true;
  }

  // The node of a direct subschema (Lowering.child). Most are plain scalars. Equal ones share a
  // node, since a schema may repeat one hundreds of times.
  Id node(Index schema) {
    if (!tree().is_object(schema))
      return tree()[schema].kind == JsonTree::Kind::True ? kTrue : kFalse;
    if (tree()[schema].size == 0) return kTrue;
    const Id position = positions_.at(document_, schema);
    if (position < 0) throw nb::value_error("a schema has no place");
    return twin_of(tables_, twins_, position, dialect_->number);
  }

  const LoweringTables& tables_;
  Twins& twins_;
  const SchemaPositions& positions_;
  nb::handle front_;
  PyObject* home_ = nullptr;  // borrowed from homes
  const guard::DialectTables* dialect_ = nullptr;
  const JsonTree* tree_ = nullptr;
  std::uint32_t document_ = 0;
  Index schema_ = 0;
};

}  // namespace

guard::NodeLowering::NodeLowering(nb::object front, nb::object tables, nb::object twins,
                                  nb::handle lock)
    : front_(std::move(front)),
      tables_object_(std::move(tables)),
      twins_object_(std::move(twins)),
      acquire_(lock.attr("acquire")),
      release_(lock.attr("release")),
      tables_(nb::cast<const LoweringTables&>(tables_object_)),
      twins_(nb::cast<Twins&>(twins_object_)) {}

const guard::NodeLowering* guard::NodeLowering::of(nb::handle lower) {
  return nb::isinstance<NodeLowering>(lower) ? nb::inst_ptr<NodeLowering>(lower) : nullptr;
}

guard::Drafts guard::NodeLowering::lower(const std::vector<Id>& nodes) const {
  in_python([&] { acquire_(); });
  struct Held {
    const nb::object& release;
    ~Held() { release(); }  // of a lock that this thread holds: raises nothing
  } const held{release_};
  return Nodes(tables_, twins_, front_).lower(nodes);
}

void bind_lower(nb::module_& module) {
  nb::class_<Drafts>(module, "Drafts")
      .def_ro("nodes", &Drafts::nodes)
      .def("__eq__", &guard::are_equal);
  module.def(
      "read_records",
      [](const std::vector<Id>& nodes, const nb::list& records) {
        return guard::drafts_of(nodes, records);
      },
      "nodes"_a, "records"_a);
  nb::class_<LoweringTables>(module, "LoweringTables")
      .def(
          "__init__",
          [](LoweringTables* made, nb::object homes, nb::object targets, nb::object idle,
             bool formats, bool annotate, const KeywordTable& kinds, const KeywordTable& how,
             const KeywordTable& known_formats, nb::dict format_trees, nb::dict known,
             nb::object parse) {
            new (made) LoweringTables{std::move(homes),
                                      std::move(targets),
                                      std::move(idle),
                                      formats,
                                      annotate,
                                      kinds,
                                      how,
                                      known_formats,
                                      std::move(format_trees),
                                      std::move(known),
                                      std::move(parse)};
          },
          "homes"_a.none(), "targets"_a.none(), "idle"_a.none(), "formats"_a, "annotate"_a,
          "kinds"_a, "how"_a, "known_formats"_a, "format_trees"_a, "known"_a, "parse"_a);
  nb::class_<Twins>(module, "Twins")
      .def(nb::init<std::shared_ptr<SchemaPositions>>(), "positions"_a)
      .def("alike", &Twins::alike, "position"_a)
      .def(
          "first",
          [](Twins& self, const LoweringTables& tables, Id position,
             const guard::DialectTables& around) {
            return twin_of(tables, self, position, around.number);
          },
          "tables"_a, "position"_a, "around"_a);
  nb::class_<NodeLowering>(module, "NodeLowering")
      .def(nb::init<nb::object, nb::object, nb::object, nb::handle>(), "front"_a, "tables"_a,
           "twins"_a, "lock"_a)
      .def("__call__", &NodeLowering::lower, "nodes"_a);
}
