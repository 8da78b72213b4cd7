#include "python/read_records.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <tuple>
#include <unordered_map>

#include "python/gil.hpp"

namespace nb = nanobind;

namespace guard {
namespace {

constexpr std::size_t kMaxTrees = 20000;  // regex trees whose languages are cached by identity
constexpr std::size_t kSlice =
    1000;                          // parts that are read before others may have the GIL: some 50 µs
constexpr std::size_t kPart = 64;  // bytes of a text that count as a part
constexpr std::size_t kTrees = 8;  // patterns that are read before others may have the GIL

[[noreturn]] void bad(const char* what) { throw nb::type_error(what); }

std::int32_t int_of(nb::handle h) {
  const long v = PyLong_AsLong(h.ptr());
  if (v == -1 && PyErr_Occurred()) throw nb::python_error();
  if (v > kInf || v < -kInf) return v > 0 ? kInf : -kInf;
  return static_cast<std::int32_t>(v);
}
std::int32_t bound_of(nb::handle h) {  // -1: none
  const std::int32_t v = int_of(h);
  return v < 0 ? kInf : v;
}
nb::tuple tuple_of(nb::handle h) {
  if (!nb::isinstance<nb::tuple>(h)) bad("an entry of a record must be a tuple");
  return nb::borrow<nb::tuple>(h);
}

// Reads a text with marks, one byte for each position, where a quotation may begin and end.
std::shared_ptr<Quotable> quotable_of(nb::handle text, nb::handle starts, nb::handle ends) {
  auto out = std::make_shared<Quotable>();
  if (!nb::isinstance<nb::str>(text)) bad("what may be quoted must be a text");
  const Py_ssize_t n = PyUnicode_GetLength(text.ptr());
  const nb::bytes from = nb::cast<nb::bytes>(starts), to = nb::cast<nb::bytes>(ends);
  if (n < 0 || n >= kInf || from.size() != static_cast<std::size_t>(n) + 1 ||
      to.size() != from.size())
    bad("what may be quoted must be marked at each place");
  const std::unique_ptr<Py_UCS4, decltype(&PyMem_Free)> copy(PyUnicode_AsUCS4Copy(text.ptr()),
                                                             PyMem_Free);
  if (!copy) throw nb::python_error();
  const std::size_t size = static_cast<std::size_t>(n);
  out->text.assign(copy.get(), copy.get() + size);
  const auto* marks = static_cast<const std::uint8_t*>(to.data());
  out->ends.assign(marks, marks + size + 1);
  out->limits.assign(size + 1, 0);
  std::int32_t last = 0;  // end of the line
  for (std::size_t at = size + 1; at-- > 0;) {
    if (at < size && out->text[at] == U'\n') last = 0;
    if (out->ends[at]) last = std::max(last, static_cast<std::int32_t>(at));
    out->limits[at] = last;
  }
  const auto* begins = static_cast<const std::uint8_t*>(from.data());
  for (std::size_t at = 0; at < size; ++at)
    if (begins[at] && out->limits[at] > static_cast<std::int32_t>(at))
      out->places.push_back(static_cast<std::int32_t>(at));
  return out;
}

Tree tree_of(nb::handle h, int depth) {
  if (depth > 2000) throw Limit{"depth", -1, "a pattern nests deeper than 2,000"};
  const nb::tuple t = tuple_of(h);
  Tree out;
  const int kind = int_of(t[0]);
  const auto kid = [&](nb::handle k) { out.kids.push_back(tree_of(k, depth + 1)); };
  switch (kind) {
    case 0:
      out.kind = Tree::Set;
      for (nb::handle r : nb::borrow<nb::tuple>(t[1])) {
        const nb::tuple pair = tuple_of(r);
        out.ranges.push_back({static_cast<std::uint32_t>(int_of(pair[0])),
                              static_cast<std::uint32_t>(int_of(pair[1]))});
      }
      out.ranges = normalised(std::move(out.ranges));
      return out;
    case 1:
    case 2:
    case 7:
      out.kind = kind == 1 ? Tree::Cat : kind == 2 ? Tree::Alt : Tree::And;
      for (nb::handle k : nb::iter(t[1])) kid(k);
      return out;
    case 3:
      out.kind = Tree::Repeat;
      kid(t[1]);
      out.lo = int_of(t[2]);
      out.hi = bound_of(t[3]);
      return out;
    case 4:
      out.kind = Tree::Look;
      out.ahead = nb::cast<bool>(t[1]);
      out.negative = nb::cast<bool>(t[2]);
      kid(t[3]);
      return out;
    case 5: out.kind = Tree::Start; return out;
    case 6: out.kind = Tree::Finish; return out;
    case 8:
    case 9:
    case 10:
      out.kind = kind == 8 ? Tree::Not : kind == 9 ? Tree::Maybe : Tree::Punycode;
      kid(t[1]);
      return out;
    case 11:
      out.kind = Tree::Quotes;
      out.quotable = quotable_of(t[1], t[2], t[3]);
      return out;
    case 12:
      out.kind = Tree::Text;
      if (!nb::isinstance<nb::str>(t[1])) bad("what is said literally must be a text");
      out.ranges.reserve(static_cast<std::size_t>(PyUnicode_GetLength(t[1].ptr())));
      for (Py_ssize_t i = 0, n = PyUnicode_GetLength(t[1].ptr()); i < n; ++i) {
        const Py_UCS4 c = PyUnicode_ReadChar(t[1].ptr(), i);
        out.ranges.push_back({c, c});
      }
      return out;
    default: bad("an unknown kind of regex tree");
  }
}

Decimal decimal_of(nb::handle digits, nb::handle exp) {
  Decimal d;
  Py_ssize_t n;
  const char* s = PyUnicode_AsUTF8AndSize(digits.ptr(), &n);
  if (!s) throw nb::python_error();
  d.digits.assign(s, static_cast<std::size_t>(n));
  if (!d.digits.empty() && d.digits[0] == '-') d.negative = true, d.digits.erase(0, 1);
  d.exp = int_of(exp);
  if (d.digits.find_first_not_of("0123456789") != std::string::npos) bad("digits must be digits");
  d.digits.erase(0, std::min(d.digits.find_first_not_of('0'), d.digits.size()));
  while (!d.digits.empty() && d.digits.back() == '0') d.digits.pop_back(), ++d.exp;
  if (d.digits.empty()) d = {};
  return d;
}

}  // namespace

std::shared_ptr<const FormatSource> source_of(nb::handle given) {
  const nb::tuple t = tuple_of(given);
  auto out = std::make_shared<FormatSource>();
  for (nb::handle point : nb::borrow<nb::list>(t[0])) {
    std::vector<Id>& arcs = out->points.emplace_back();
    for (nb::handle arc : nb::borrow<nb::list>(point)) arcs.push_back(int_of(arc));
  }
  std::unordered_map<PyObject*, Id> known;  // maps each Python object to its tree
  for (nb::handle arc : nb::borrow<nb::list>(t[1])) {
    const nb::tuple a = tuple_of(arc);
    const auto [at, is_new] =
        known.try_emplace(nb::handle(a[0]).ptr(), static_cast<Id>(out->trees.size()));
    if (is_new) out->trees.push_back(tree_of(a[0], 0));
    out->arcs.push_back({at->second, int_of(a[1])});
  }
  for (nb::handle exit : nb::borrow<nb::list>(t[2])) {
    const nb::tuple e = tuple_of(exit);
    out->exits.push_back({static_cast<FormatExit::Kind>(int_of(e[0])), int_of(e[1]), int_of(e[2])});
  }
  out->is_checked = nb::cast<bool>(t[3]);
  for (nb::handle copy : nb::borrow<nb::list>(t[4])) out->copies.push_back(int_of(copy));
  if (!out->copies.empty() && out->copies.size() != out->arcs.size()) bad("each arc has a copy");
  return out;
}

std::shared_ptr<void> Kept::hold(nb::handle object) {
  return {object.inc_ref().ptr(), [](void* held) { put(held); }};
}

void Kept::give_back() {
  if (!waiting.load(std::memory_order_relaxed)) return;
  for (Node* node = waiting.exchange(nullptr); node;) {
    Node* next = node->next;
    nb::handle(static_cast<PyObject*>(node->object)).dec_ref();
    delete node;
    node = next;
  }
}

void Kept::put(void* object) {
  Node* node = new (std::nothrow) Node{object, waiting.load()};
  while (node && !waiting.compare_exchange_weak(node->next, node)) {}
}

// ---- reading, with the GIL ----------------------------------------------------------------------

namespace {

// Reads records. A large one is read in slices.
class Reader {
 public:
  std::vector<Draft> read(nb::handle record, Id node);

 private:
  Draft draft_of(nb::handle entry);
  Literal literal_of(nb::handle value, int depth);
  std::string text_of(nb::handle text);
  void part(std::size_t count = 1);

  std::size_t parts_ = 0;  // parts read since the GIL was last released
};

std::vector<Draft> Reader::read(nb::handle record, Id node) {
  const nb::list entries = nb::cast<nb::list>(record);
  std::vector<Draft> out;
  out.reserve(entries.size());
  for (nb::handle entry : entries) try {
      out.push_back(draft_of(entry));
    } catch (Limit& limit) {
      limit.node = node, limit.op = static_cast<Op>(int_of(tuple_of(entry)[0]));
      throw;
    }
  return out;
}

void Reader::part(std::size_t count) {
  parts_ += count;
  if (parts_ < kSlice) return;
  parts_ = 0;
  const WithoutGil others;  // safe: the records are referenced here and never change
}

std::string Reader::text_of(nb::handle text) {
  Py_ssize_t n;
  const char* s = PyUnicode_AsUTF8AndSize(text.ptr(), &n);
  if (!s) throw nb::python_error();
  std::string out(s, static_cast<std::size_t>(n));
  part(1 + out.size() / kPart);
  return out;
}

Literal Reader::literal_of(nb::handle h, int depth) {
  if (depth > 2000) throw Limit{"depth", -1, "a constant nests deeper than 2,000"};
  part();
  Literal out;
  if (h.is_none()) {
    out.kind = Value::Null;
  } else if (h.ptr() == Py_True || h.ptr() == Py_False) {
    out.kind = h.ptr() == Py_True ? Value::True : Value::False;
  } else if (nb::isinstance<nb::str>(h)) {
    out.kind = Value::String;
    out.text = text_of(h);
  } else if (nb::isinstance<nb::tuple>(h)) {
    const nb::tuple t = nb::borrow<nb::tuple>(h);
    out.kind = Value::Number;
    out.number = decimal_of(t[1], t[2]);
    part(out.number.digits.size() / kPart);
  } else if (nb::isinstance<nb::list>(h)) {
    out.kind = Value::Array;
    out.inside = std::make_shared<Literal::Inside>();
    for (nb::handle item : nb::borrow<nb::list>(h))
      out.inside->items.push_back(literal_of(item, depth + 1));
  } else if (nb::isinstance<nb::dict>(h)) {
    out.kind = Value::Object;
    out.inside = std::make_shared<Literal::Inside>();
    for (auto [key, item] : nb::borrow<nb::dict>(h)) {
      out.inside->names.push_back(text_of(key));
      out.inside->items.push_back(literal_of(item, depth + 1));
    }
  } else {
    bad("a constant must be JSON, its numbers tuples");
  }
  return out;
}

Draft Reader::draft_of(nb::handle entry) {
  const nb::tuple t = tuple_of(entry);
  const int op = int_of(t[0]);
  if (op < 2 || op > static_cast<int>(Op::UnevaluatedItems))
    throw Limit{"keywords", -1, "a keyword reached the engine that it does not know"};
  Draft out{.atom = {.op = static_cast<Op>(op)}};
  Atom& a = out.atom;
  part();
  const auto node = [&](nb::handle n) {
    const std::int32_t id = int_of(n);
    if (id < 0 || id >= 1 << 28) bad("a node must be an index");
    a.nodes.push_back(id);
    part();
  };
  const auto name = [&](nb::handle n) { out.names.push_back(text_of(n)); };
  const auto lang = [&](nb::handle tree, bool whole) {
    out.patterns.push_back({.object = Kept::hold(tree), .whole = whole});
  };
  const auto named_nodes = [&](nb::handle list) {
    for (nb::handle pair : nb::iter(list)) {
      const nb::tuple p = tuple_of(pair);
      name(p[0]);
      node(p[1]);
    }
  };
  switch (a.op) {
    case Op::Type: a.lo = int_of(t[1]); break;
    case Op::Const: out.values.push_back(literal_of(t[1], 0)); break;
    case Op::Enum:
      for (nb::handle v : nb::iter(t[1])) out.values.push_back(literal_of(v, 0));
      break;
    case Op::Ref:
    case Op::Not:
    case Op::Names: node(t[1]); break;
    case Op::All:
    case Op::Any:
    case Op::One:
      for (nb::handle n : nb::iter(t[1])) node(n);
      break;
    case Op::If:
      for (int i = 1; i <= 3; ++i) node(t[i]);
      break;
    case Op::Min:
    case Op::Max:
      a.number = decimal_of(t[1], t[2]);
      a.open = nb::cast<bool>(t[3]);
      break;
    case Op::Multiple:
      a.number = decimal_of(t[1], t[2]);
      if (a.number.digits.empty() || a.number.negative) bad("multipleOf must be above 0");
      break;
    case Op::Length:
    case Op::Size:
    case Op::Count:
      a.lo = int_of(t[1]);
      a.hi = bound_of(t[2]);
      break;
    case Op::Pattern: lang(t[1], false); break;
    case Op::Format: lang(t[2], true); break;
    case Op::Properties:
    case Op::DependentSchemas: named_nodes(t[1]); break;
    case Op::Patterns:
      for (nb::handle pair : nb::iter(t[1])) {
        const nb::tuple p = tuple_of(pair);
        lang(p[0], false);
        node(p[1]);
      }
      break;
    case Op::Additional:
      node(t[1]);
      for (nb::handle n : nb::iter(t[2])) name(n);
      for (nb::handle l : nb::iter(t[3])) lang(l, false);
      break;
    case Op::Required:
      for (nb::handle n : nb::iter(t[1])) name(n);
      break;
    case Op::DependentRequired:
      for (nb::handle pair : nb::iter(t[1])) {
        const nb::tuple p = tuple_of(pair);
        name(p[0]);
        auto& list = out.lists.emplace_back();
        for (nb::handle n : nb::iter(p[1])) list.push_back(text_of(n));
      }
      break;
    case Op::Items:
      a.lo = int_of(t[1]);
      a.hi = bound_of(t[2]);
      node(t[3]);
      break;
    case Op::Contains:
      node(t[1]);
      a.lo = int_of(t[2]);
      a.hi = bound_of(t[3]);
      break;
    case Op::Unique: break;
    case Op::UnevaluatedProperties: node(t[1]); break;
    case Op::UnevaluatedItems:
      node(t[1]);
      a.lo = nb::cast<bool>(t[2]);
      break;
  }
  return out;
}

}  // namespace

std::vector<Draft> read_record(nb::handle record, Id node) { return Reader().read(record, node); }

Drafts drafts_of(std::vector<Id> nodes, nb::handle given) {
  if (nb::isinstance<Drafts>(given)) {
    Drafts made = std::move(nb::cast<Drafts&>(given));
    if (made.limit) throw Limit(*made.limit);
    return made;
  }
  const nb::list records = nb::cast<nb::list>(given);
  if (records.size() != nodes.size())
    throw nb::type_error("lower must return a record for each node");
  Reader reader;
  Drafts out;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    out.each.push_back(reader.read(records[i], nodes[i]));
  out.nodes = std::move(nodes);
  return out;
}

namespace {

bool is_same(const Literal& a, const Literal& b) {
  if (a.kind != b.kind || a.text != b.text || a.number != b.number || !a.inside != !b.inside)
    return false;
  return !a.inside ||
         (a.inside->names == b.inside->names &&
          std::ranges::equal(a.inside->items, b.inside->items,
                             [](const Literal& x, const Literal& y) { return is_same(x, y); }));
}
bool is_same(const Pattern& a, const Pattern& b) {
  const nb::handle one(static_cast<PyObject*>(a.object.get()));
  return a.whole == b.whole && one.equal(nb::handle(static_cast<PyObject*>(b.object.get())));
}
bool is_same(const Draft& a, const Draft& b) {
  const auto said = [](const Atom& x) {
    return std::tie(x.op, x.lo, x.hi, x.open, x.number, x.nodes, x.names, x.langs, x.values,
                    x.lists);
  };
  return said(a.atom) == said(b.atom) && a.names == b.names && a.lists == b.lists &&
         std::ranges::equal(a.values, b.values,
                            [](const Literal& x, const Literal& y) { return is_same(x, y); }) &&
         std::ranges::equal(a.patterns, b.patterns,
                            [](const Pattern& x, const Pattern& y) { return is_same(x, y); });
}

}  // namespace

bool are_equal(const Drafts& a, const Drafts& b) {
  return a.nodes == b.nodes && !a.limit && !b.limit &&
         std::ranges::equal(a.each, b.each, [](const auto& x, const auto& y) {
           return std::ranges::equal(
               x, y, [](const Draft& one, const Draft& other) { return is_same(one, other); });
         });
}

template <class Drafted, class F>
void Definitions::each(Drafted& drafts, F f) {
  for (std::size_t i = 0; i < drafts.nodes.size(); ++i)
    for (auto& draft : drafts.each[i]) try {
        f(i, draft);
      } catch (Limit& limit) {
        limit.node = drafts.nodes[i], limit.op = draft.atom.op;
        throw;
      }
}

void Definitions::read_trees() {
  std::size_t read = 0;
  each(drafts_, [&](std::size_t, Draft& draft) {
    for (Pattern& p : draft.patterns) {
      if (!p.is_lacking || p.is_read) continue;
      p.tree = tree_of(static_cast<PyObject*>(p.object.get()), 0);
      p.is_read = true;
      if (++read % kTrees == 0) const WithoutGil others;
    }
  });
}

// ---- making, under the lock of the tables -------------------------------------------------------

bool Definitions::are_whole(const Tables& tables) {
  bool whole = true;
  each(drafts_, [&](std::size_t, Draft& draft) {
    for (Pattern& p : draft.patterns) {
      p.is_lacking = !p.is_read && !tables.patterns[p.whole].contains(p.object.get());
      whole = whole && !p.is_lacking;
    }
  });
  return whole;
}

namespace {

Id value_of(Lexicon& lexicon, const Literal& literal) {
  kernel_clock.tick();
  Value v;
  v.kind = literal.kind;
  v.number = literal.number;
  if (v.kind == Value::String) v.text = lexicon.name(literal.text);
  for (std::size_t i = 0; literal.inside && i < literal.inside->items.size(); ++i) {
    const Literal& item = literal.inside->items[i];
    if (v.kind == Value::Array) {
      v.items.push_back(value_of(lexicon, item));
    } else {
      const Id name = lexicon.name(literal.inside->names[i]);
      v.members.emplace_back(name, value_of(lexicon, item));
    }
  }
  std::sort(v.members.begin(), v.members.end());
  return lexicon.values.intern(std::move(v));
}

Id name_of(Lexicon& lexicon, const std::string& name) {
  kernel_clock.tick();
  return lexicon.name(name);
}

}  // namespace

namespace {

Atom atom_of(const Draft& draft, Tables& tables) {
  Lexicon& lexicon = tables.lexicon;
  Atom a = draft.atom;
  a.names.reserve(draft.names.size());
  for (const std::string& name : draft.names) a.names.push_back(name_of(lexicon, name));
  a.values.reserve(draft.values.size());
  for (const Literal& literal : draft.values) a.values.push_back(value_of(lexicon, literal));
  for (const auto& list : draft.lists) {
    auto& names = a.lists.emplace_back();
    for (const std::string& name : list) names.push_back(name_of(lexicon, name));
  }
  for (const Pattern& p : draft.patterns) {
    auto& known = tables.patterns[p.whole];
    const auto found = known.find(p.object.get());
    const Id id = found != known.end() ? found->second.first
                  : p.whole            ? lexicon.langs.whole(p.tree)
                                       : lexicon.langs.search(p.tree);
    if (known.size() < kMaxTrees) known.try_emplace(p.object.get(), id, p.object);
    a.langs.push_back(id);
  }
  return a;
}

}  // namespace

void Definitions::define(Compiled& engine) const {
  Goals& goals = engine.constraints.goals;
  std::vector<std::vector<Atom>> atoms(drafts_.nodes.size());
  each(drafts_, [&](std::size_t i, const Draft& draft) {
    if (goals.is_defined(drafts_.nodes[i])) return;
    atoms[i].reserve(drafts_.each[i].size());
    atoms[i].push_back(atom_of(draft, engine.tables));
  });
  for (std::size_t i = 0; i < atoms.size(); ++i)
    if (!goals.is_defined(drafts_.nodes[i])) goals.define(drafts_.nodes[i], std::move(atoms[i]));
}

}  // namespace guard
