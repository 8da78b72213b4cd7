#include "python/read_records.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <unordered_map>

#include "python/gil.hpp"

namespace nb = nanobind;

namespace guard {
namespace {

constexpr std::size_t kMaxTrees = 20000;  // regex trees whose languages are cached by identity
constexpr std::size_t kSlice =
    1000;                          // parts that are read before others may have the GIL: some 50 µs
constexpr std::size_t kPart = 64;  // bytes of a text that count as a part

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

Records::Records(const std::vector<Id>& nodes, const nb::list& records)
    : nodes_(nodes), drafts_(nodes.size()) {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const nb::list record = nb::cast<nb::list>(records[i]);
    drafts_[i].reserve(record.size());
    for (nb::handle entry : record) try {
        drafts_[i].push_back(draft_of(entry));
      } catch (Limit& limit) {
        limit.node = nodes[i], limit.op = static_cast<Op>(int_of(tuple_of(entry)[0]));
        throw;
      }
  }
}

void Records::part(std::size_t count) {
  parts_ += count;
  if (parts_ < kSlice) return;
  parts_ = 0;
  const WithoutGil others;  // safe: the records are referenced here and never change
}

std::string Records::text_of(nb::handle text) {
  Py_ssize_t n;
  const char* s = PyUnicode_AsUTF8AndSize(text.ptr(), &n);
  if (!s) throw nb::python_error();
  std::string out(s, static_cast<std::size_t>(n));
  part(1 + out.size() / kPart);
  return out;
}

Literal Records::literal_of(nb::handle h, int depth) {
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

Records::Draft Records::draft_of(nb::handle entry) {
  const nb::tuple t = tuple_of(entry);
  const int op = int_of(t[0]);
  if (op < 2 || op > static_cast<int>(Op::UnevaluatedItems))
    throw Limit{"keywords", -1, "a keyword reached the engine that it does not know"};
  Draft out{.atom = {.op = static_cast<Op>(op),
                     .number = {},
                     .nodes = {},
                     .names = {},
                     .langs = {},
                     .values = {},
                     .lists = {}},
            .names = {},
            .values = {},
            .lists = {},
            .patterns = {}};
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

void Records::read_trees() {
  each([&](Draft& draft) {
    for (Pattern& p : draft.patterns) {
      if (!p.is_lacking || p.is_read) continue;
      p.tree = tree_of(static_cast<PyObject*>(p.object.get()), 0);
      p.is_read = true;
      part(kSlice / 8);
    }
  });
}

// ---- making, under the lock of the tables -------------------------------------------------------

template <class F>
void Records::each(F f) {
  for (std::size_t i = 0; i < nodes_.size(); ++i)
    for (Draft& draft : drafts_[i]) try {
        f(draft);
      } catch (Limit& limit) {
        limit.node = nodes_[i], limit.op = draft.atom.op;
        throw;
      }
}

bool Records::are_whole(const Tables& tables) {
  bool whole = true;
  each([&](Draft& draft) {
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

std::vector<std::vector<Atom>> Records::atoms(Tables& tables) {
  Lexicon& lexicon = tables.lexicon;
  std::vector<std::vector<Atom>> out(drafts_.size());
  for (std::size_t i = 0; i < drafts_.size(); ++i) out[i].reserve(drafts_[i].size());
  std::size_t node = 0;
  each([&](const Draft& draft) {
    while (out[node].size() == drafts_[node].size()) ++node;
    Atom a = draft.atom;
    for (const std::string& name : draft.names) a.names.push_back(name_of(lexicon, name));
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
    out[node].push_back(std::move(a));
  });
  return out;
}

}  // namespace guard
