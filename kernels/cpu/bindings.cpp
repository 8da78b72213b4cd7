// Bindings: the module guard.kernels._native. The only file, with those whose names begin with bind_, that knows Python.
//
// Records and trees come from guard.schemas and are checked here once more: a wrong shape is a TypeError, never undefined
// behaviour. The GIL is never waited for while the kernel lock is held: a call that needs nodes not lowered yet ends in
// Missing, the lock is given back, the nodes are lowered in Python, and the call is made again.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <pthread.h>

#include <cstring>

#include "bind_apply.hpp"
#include "bind_copy.hpp"
#include "bind_lower.hpp"
#include "bind_plain.hpp"
#include "crew.hpp"
#include "explorer.hpp"
#include "heap.hpp"
#include "matcher.hpp"
#include "sample.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace guard {
namespace {

constexpr std::size_t kMaxTrees = 20000;  // regex trees whose languages are remembered by identity

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
std::string text_of(nb::handle h) {
  Py_ssize_t n;
  const char* s = PyUnicode_AsUTF8AndSize(h.ptr(), &n);
  if (!s) throw nb::python_error();
  return {s, static_cast<std::size_t>(n)};
}
nb::tuple tuple_of(nb::handle h) {
  if (!nb::isinstance<nb::tuple>(h)) bad("an entry of a record must be a tuple");
  return nb::borrow<nb::tuple>(h);
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
        out.ranges.push_back({static_cast<std::uint32_t>(int_of(pair[0])), static_cast<std::uint32_t>(int_of(pair[1]))});
      }
      out.ranges = normalised(std::move(out.ranges));
      return out;
    case 1: case 2: case 7:
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
    case 8: case 9: case 10:
      out.kind = kind == 8 ? Tree::Not : kind == 9 ? Tree::Maybe : Tree::Punycode;
      kid(t[1]);
      return out;
    default: bad("an unknown kind of regex tree");
  }
}

// The language of a tree. Trees are cached in Python, so that most are known by identity.
Id lang_of(Lexicon& lexicon, nb::handle h, bool whole) {
  static std::unordered_map<PyObject*, Id> known[2];
  auto& memo = known[whole];
  const auto found = memo.find(h.ptr());
  if (found != memo.end()) return found->second;
  const Tree tree = tree_of(h, 0);
  const Id id = whole ? lexicon.langs.whole(tree) : lexicon.langs.search(tree);
  if (memo.size() < kMaxTrees) {
    h.inc_ref();  // an address says nothing once its object is gone
    memo.emplace(h.ptr(), id);
  }
  return id;
}

Decimal decimal_of(nb::handle digits, nb::handle exp) {
  Decimal d;
  d.digits = text_of(digits);
  if (!d.digits.empty() && d.digits[0] == '-') d.negative = true, d.digits.erase(0, 1);
  d.exp = int_of(exp);
  if (d.digits.find_first_not_of("0123456789") != std::string::npos) bad("digits must be digits");
  d.digits.erase(0, std::min(d.digits.find_first_not_of('0'), d.digits.size()));
  while (!d.digits.empty() && d.digits.back() == '0') d.digits.pop_back(), ++d.exp;
  if (d.digits.empty()) d = {};
  return d;
}

Id value_of(Lexicon& lexicon, nb::handle h, int depth) {
  if (depth > 2000) throw Limit{"depth", -1, "a constant nests deeper than 2,000"};
  Value v;
  if (h.is_none()) {
    v.kind = Value::Null;
  } else if (h.ptr() == Py_True || h.ptr() == Py_False) {
    v.kind = h.ptr() == Py_True ? Value::True : Value::False;
  } else if (nb::isinstance<nb::str>(h)) {
    v.kind = Value::String;
    v.text = lexicon.name(text_of(h));
  } else if (nb::isinstance<nb::tuple>(h)) {
    const nb::tuple t = nb::borrow<nb::tuple>(h);
    v.kind = Value::Number;
    v.number = decimal_of(t[1], t[2]);
  } else if (nb::isinstance<nb::list>(h)) {
    v.kind = Value::Array;
    for (nb::handle item : nb::borrow<nb::list>(h)) v.items.push_back(value_of(lexicon, item, depth + 1));
  } else if (nb::isinstance<nb::dict>(h)) {
    v.kind = Value::Object;
    for (auto [key, item] : nb::borrow<nb::dict>(h)) v.members.emplace_back(lexicon.name(text_of(key)), value_of(lexicon, item, depth + 1));
    std::sort(v.members.begin(), v.members.end());
  } else {
    bad("a constant must be JSON, its numbers tuples");
  }
  return lexicon.values.intern(std::move(v));
}

Atom atom_of(Lexicon& lexicon, nb::handle h) {
  const nb::tuple t = tuple_of(h);
  const int op = int_of(t[0]);
  if (op < 2 || op > static_cast<int>(Op::UnevaluatedItems)) throw Limit{"keywords", -1, "a keyword reached the engine that it does not know"};
  Atom a{.op = static_cast<Op>(op), .number = {}, .nodes = {}, .names = {}, .langs = {}, .values = {}, .lists = {}};
  const auto node = [&](nb::handle n) {
    const std::int32_t id = int_of(n);
    if (id < 0 || id >= 1 << 28) bad("a node must be an index");
    a.nodes.push_back(id);
  };
  const auto named_nodes = [&](nb::handle list) {
    for (nb::handle pair : nb::iter(list)) {
      const nb::tuple p = tuple_of(pair);
      a.names.push_back(lexicon.name(text_of(p[0])));
      node(p[1]);
    }
  };
  switch (a.op) {
    case Op::Type: a.lo = int_of(t[1]); break;
    case Op::Const: a.values.push_back(value_of(lexicon, t[1], 0)); break;
    case Op::Enum:
      for (nb::handle v : nb::iter(t[1])) a.values.push_back(value_of(lexicon, v, 0));
      break;
    case Op::Ref: case Op::Not: case Op::Names: node(t[1]); break;
    case Op::All: case Op::Any: case Op::One:
      for (nb::handle n : nb::iter(t[1])) node(n);
      break;
    case Op::If:
      for (int i = 1; i <= 3; ++i) node(t[i]);
      break;
    case Op::Min: case Op::Max:
      a.number = decimal_of(t[1], t[2]);
      a.open = nb::cast<bool>(t[3]);
      break;
    case Op::Multiple:
      a.number = decimal_of(t[1], t[2]);
      if (a.number.digits.empty() || a.number.negative) bad("multipleOf must be above 0");
      break;
    case Op::Length: case Op::Size: case Op::Count:
      a.lo = int_of(t[1]);
      a.hi = bound_of(t[2]);
      break;
    case Op::Pattern: a.langs.push_back(lang_of(lexicon, t[1], false)); break;
    case Op::Format: a.langs.push_back(lang_of(lexicon, t[2], true)); break;
    case Op::Properties: case Op::DependentSchemas: named_nodes(t[1]); break;
    case Op::Patterns:
      for (nb::handle pair : nb::iter(t[1])) {
        const nb::tuple p = tuple_of(pair);
        a.langs.push_back(lang_of(lexicon, p[0], false));
        node(p[1]);
      }
      break;
    case Op::Additional:
      node(t[1]);
      for (nb::handle n : nb::iter(t[2])) a.names.push_back(lexicon.name(text_of(n)));
      for (nb::handle l : nb::iter(t[3])) a.langs.push_back(lang_of(lexicon, l, false));
      break;
    case Op::Required:
      for (nb::handle n : nb::iter(t[1])) a.names.push_back(lexicon.name(text_of(n)));
      break;
    case Op::DependentRequired:
      for (nb::handle pair : nb::iter(t[1])) {
        const nb::tuple p = tuple_of(pair);
        a.names.push_back(lexicon.name(text_of(p[0])));
        auto& list = a.lists.emplace_back();
        for (nb::handle n : nb::iter(p[1])) list.push_back(lexicon.name(text_of(n)));
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
  return a;
}

// ---- an engine with its front end -------------------------------------------------------------------------------------

struct Front {
  std::shared_ptr<Engine> engine;
  nb::object lower, fail;
};

[[noreturn]] void raise(const Front& front, const Limit& limit) {
  const nb::object error = front.fail(limit.name, limit.node, limit.detail, static_cast<int>(limit.op));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
  throw nb::python_error();
}

// Lowers nodes, and with them what a mask would miss next: a throw of Missing costs as much as lowering two nodes.
void define(const Front& front, const std::vector<Id>& nodes) {
  Kernel& kernel = front.engine->kernel();
  Goals& goals = front.engine->goals();
  Goals::Ahead ahead(nodes);
  const auto lacking = [&] {
    const std::lock_guard lock(kernel.lock);
    return goals.lacking(&ahead);
  };
  for (std::vector<Id> missing = lacking(); !missing.empty(); missing = lacking()) {
    nb::list asked;
    for (Id n : missing) asked.append(n);
    const nb::list records = nb::cast<nb::list>(front.lower(asked));
    if (records.size() != missing.size()) bad("lower must return a record for each node");
    const std::lock_guard lock(kernel.lock);
    const auto clock = goals.start_clock();
    for (std::size_t i = 0; i < missing.size(); ++i) {
      const nb::list record = nb::cast<nb::list>(records[i]);
      std::vector<Atom> atoms;
      atoms.reserve(record.size());
      for (nb::handle entry : record) try {
        atoms.push_back(atom_of(kernel.lexicon, entry));
      } catch (Limit& limit) {
        limit.node = missing[i], limit.op = static_cast<Op>(int_of(tuple_of(entry)[0]));
        throw;
      }
      goals.define(missing[i], std::move(atoms));
    }
  }
}

void lower_first(const Front& front, Id root) {
  try {
    if (!front.engine->goals().is_defined(root)) define(front, {root});
  } catch (const Limit& limit) {
    raise(front, limit);
  }
}

// Calls f under the kernel lock, with the nodes that it misses: those that `ahead` names, and each that it ends in.
template <class F, class Ahead>
auto run(const Front& front, F f, Ahead ahead) {
  while (true) {
    std::vector<Id> missing;
    try {
      try {
        const std::lock_guard lock(front.engine->kernel().lock);
        const auto clock = front.engine->goals().start_clock();
        missing = ahead();
        if (missing.empty()) return f();
      } catch (Missing& m) {
        missing = std::move(m.nodes);
      }
      define(front, missing);
    } catch (const Limit& limit) {
      raise(front, limit);
    }
  }
}

template <class F>
auto run(const Front& front, F f) {
  return run(front, f, [] { return std::vector<Id>(); });
}

using Rows = nb::ndarray<nb::device::cpu>;
using Classes = nb::ndarray<std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

struct RowsView {
  std::uint32_t* data;
  std::size_t rows, words;
  std::ptrdiff_t stride;
};
RowsView view_of(const Rows& bitmask, std::size_t words) {
  if (bitmask.dtype().bits != 32 || bitmask.dtype().lanes != 1 ||
      (bitmask.dtype().code != static_cast<std::uint8_t>(nb::dlpack::dtype_code::Int) && bitmask.dtype().code != static_cast<std::uint8_t>(nb::dlpack::dtype_code::UInt)))
    throw nb::type_error("bitmask must be int32");
  if (bitmask.ndim() != 1 && bitmask.ndim() != 2) throw nb::value_error("bitmask must have one or two dimensions");
  const std::size_t last = bitmask.ndim() - 1;
  if (bitmask.stride(last) != 1) throw nb::value_error("the rows of bitmask must be contiguous");
  if (bitmask.shape(last) < words) {
    throw nb::value_error(("a row of bitmask has " + std::to_string(bitmask.shape(last)) + " words; the vocabulary needs " + std::to_string(words)).c_str());
  }
  return {static_cast<std::uint32_t*>(bitmask.data()), bitmask.ndim() == 2 ? bitmask.shape(0) : 1, bitmask.shape(last),
          bitmask.ndim() == 2 ? static_cast<std::ptrdiff_t>(bitmask.stride(0)) : 0};
}

struct PyMatcher {
  Front front;
  Matcher matcher;

  std::uint32_t* row_of(const RowsView& view, std::ptrdiff_t row) const {
    if (row < 0 || static_cast<std::size_t>(row) >= view.rows) throw nb::index_error(("row=" + std::to_string(row) + " is not a row of the bitmask").c_str());
    return view.data + row * view.stride;
  }
  // run(), where a limit that names no node is met at the value that is due.
  template <class F, class... Ahead>
  auto placed(F f, Ahead... ahead) {
    const auto blaming = [&] {
      try {
        return f();
      } catch (Limit& limit) {
        front.engine->goals().blame(&limit, limit.node < 0 ? matcher.node() : -1);
        throw;
      }
    };
    return run(front, blaming, ahead...);
  }
  void fill(const RowsView& view, std::ptrdiff_t row, std::optional<std::int64_t> remaining) {
    if (remaining && *remaining < 0) throw nb::value_error(("remaining=" + std::to_string(*remaining) + " must be at least 0").c_str());
    std::uint32_t* words = row_of(view, row);
    if (const MaskRow* known = matcher.known(remaining.value_or(-1)))
      known->write(words);
    else
      placed([&] { matcher.fill(words, remaining.value_or(-1)); }, [&] { return matcher.look_ahead(); });
    std::memset(words + matcher.vocabulary().words(), 0, (view.words - matcher.vocabulary().words()) * 4);
  }
};

struct PyExplorer {
  Front front;
  Explorer explorer;
};

struct PySampler {
  Front front;
  Sampler sampler;
};

nb::object expanded(const Front& front, std::shared_ptr<Vocabulary> vocabulary) {
  return nb::cast(PyMatcher{front, Matcher(front.engine, std::move(vocabulary))}, nb::rv_policy::move);
}

std::string hex(int byte) {
  static const char* digits = "0123456789ABCDEF";
  return {'0', 'x', digits[byte >> 4], digits[byte & 15]};
}

}  // namespace
}  // namespace guard

NB_MODULE(_native, m) {
  using namespace guard;
  m.doc() = "The mask engine: vocabularies, engines, matchers. Use guard.Vocabulary and guard.compile.";
  nb::set_leak_warnings(false);
  bind_apply(m);
  bind_copy(m);
  bind_lower(m);
  bind_plain(m);
  // A child of fork() must not wait for a thread that is not there.
  pthread_atfork([] { Kernel::instance().lock.lock(); }, [] { Kernel::instance().lock.unlock(); }, [] { Kernel::instance().lock.unlock(); });

  m.def("small_bytes", &guard::small_bytes);
  m.def("seal", [] {
    const std::lock_guard lock(Kernel::instance().lock);
    Kernel::instance().lexicon.seal();
  });

  nb::class_<Vocabulary>(m, "Vocabulary")
      .def(
          "__init__",
          [](Vocabulary* self, const std::vector<nb::bytes>& tokens, std::vector<Id> eos, const std::vector<Id>& special, std::optional<nb::bytes> alphabet) {
            std::vector<std::string> bytes;
            bytes.reserve(tokens.size());
            std::array<bool, 256> single{};
            for (const nb::bytes& t : tokens) {
              bytes.emplace_back(t.c_str(), t.size());
              if (t.size() > 60000) throw nb::value_error("a token has more than 60,000 bytes");
            }
            for (const std::vector<Id>* list : {&std::as_const(eos), &special})
              for (Id t : *list)
                if (t < 0 || static_cast<std::size_t>(t) >= bytes.size()) throw nb::value_error(("token " + std::to_string(t) + " is not in the vocabulary of " + std::to_string(bytes.size())).c_str());
            std::vector<char> excluded(bytes.size(), 0);
            for (Id t : eos) excluded[static_cast<std::size_t>(t)] = 1;
            for (Id t : special) excluded[static_cast<std::size_t>(t)] = 1;
            for (std::size_t t = 0; t < bytes.size(); ++t)
              if (bytes[t].size() == 1 && !excluded[t]) single[static_cast<std::uint8_t>(bytes[t][0])] = true;
            for (int b = 0x20; b < 256; ++b) {
              const bool needed = alphabet ? std::memchr(alphabet->c_str(), b, alphabet->size()) != nullptr : b < 0x7F || (b >= 0x80 && b <= 0xBF) || (b >= 0xC2 && b <= 0xF4);
              if (needed && !single[static_cast<std::size_t>(b)])
                throw nb::value_error(("no token spells the byte " + hex(b) + ", which JSON text may need; declare alphabet= if this vocabulary is meant to be small").c_str());
            }
            new (self) Vocabulary(std::move(bytes), std::move(eos), special);
            // A free string is in almost every schema: its mask is made here, once, and not in somebody's first token.
            Lexicon& lexicon = Kernel::instance().lexicon;
            const std::lock_guard lock(Kernel::instance().lock);
            for (const Spelling spelling : {Spelling::Canonical, Spelling::Any}) {
              Id spec;
              for (const Use use : {Use::Value, Use::Key}) {
                const Id free = lexicon.texts.start({{Langs::kAll, 0, kInf, 0}}, spelling, &spec, use);
                for (const bool detailed : {false, true}) self->text(lexicon.texts, free, detailed, self->whole(), 0);
              }
            }
          },
          "tokens"_a, "eos"_a, "special"_a, "alphabet"_a.none() = nb::none())
      .def_prop_ro("size", &Vocabulary::size)
      .def_prop_ro("eos", &Vocabulary::ends)
      .def_prop_ro("nbytes",
                   [](Vocabulary& v) {
                     const std::lock_guard lock(Kernel::instance().lock);
                     return v.nbytes();
                   })
      .def("limit",
           [](Vocabulary& v, std::size_t masks, std::size_t rows) {
             const std::lock_guard lock(Kernel::instance().lock);
             v.limit(masks);
             v.rows().limit(rows);
           },
           "masks"_a, "rows"_a)
      .def("token_bytes",
           [](Vocabulary& v, Id token) {
             if (token < 0 || token >= v.size()) throw nb::index_error("no such token");
             const std::string_view b = v.raw_bytes(token);
             return nb::bytes(b.data(), b.size());
           })
      .def("greedy", [](Vocabulary& v, const nb::bytes& data) { return v.greedy({data.c_str(), data.size()}); }, "data"_a);

  nb::class_<Front>(m, "Engine")
      .def(
          "__init__",
          [](Front* self, nb::object lower, nb::object fail, Id root, int key_order, int whitespace, int spelling, const nb::dict& limits) {
            Options o;
            o.schema_order = key_order == 0;
            o.whitespace = static_cast<Whitespace>(whitespace);
            o.spelling = static_cast<Spelling>(spelling);
            const auto limit = [&](const char* name, auto* into) {
              if (limits.contains(name)) *into = static_cast<std::remove_pointer_t<decltype(into)>>(std::min(nb::cast<double>(limits[name]), 2e9));
            };
            limit("alternatives", &o.limits.alternatives);
            limit("states", &o.limits.states);
            limit("nesting", &o.limits.nesting);
            limit("seconds", &o.limits.seconds);
            new (self) Front{nullptr, std::move(lower), std::move(fail)};
            const std::lock_guard lock(Kernel::instance().lock);
            self->engine = std::make_shared<Engine>(Kernel::instance(), o, root);
          },
          "lower"_a, "fail"_a, "root"_a, "key_order"_a, "whitespace"_a, "spelling"_a, "limits"_a)
      .def("matcher", [](const Front& f, std::shared_ptr<Vocabulary> v) { return expanded(f, std::move(v)); }, "vocabulary"_a)
      .def("start",
           [](const Front& f) {
             lower_first(f, f.engine->root());
             run(f, [&] {
               Arena arena;
               f.engine->start(arena);
             });
           })
      .def_prop_ro("nbytes",
                   [](const Front& f) {
                     const std::lock_guard lock(f.engine->kernel().lock);
                     return f.engine->nbytes();
                   })
      .def("stats", [](const Front& f) {
        const std::lock_guard lock(f.engine->kernel().lock);
        nb::dict out;
        Lexicon& l = f.engine->kernel().lexicon;
        out["states"] = f.engine->states();
        out["languages"] = l.langs.size();
        out["texts"] = l.texts.size();
        out["numbers"] = l.numbers.size();
        return out;
      });

  nb::class_<PyExplorer>(m, "Explorer")
      .def(
          "__init__",
          [](PyExplorer* self, const Front& f, std::int64_t most) { new (self) PyExplorer{f, Explorer(f.engine->goals(), static_cast<std::size_t>(std::max<std::int64_t>(most, 0)))}; },
          "engine"_a, "most"_a)
      .def("add",
           [](PyExplorer& self, Id node) {
             if (node < 0 || node >= kOwnNodes) throw nb::value_error("a node must be an index");
             run(self.front, [&] { self.explorer.add(node); });
           },
           "node"_a)
      .def("run",
           [](PyExplorer& self, double seconds) {
             const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(static_cast<std::int64_t>(std::clamp(seconds, 0.0, 1e6) * 1e6));
             return run(self.front, [&] { return self.explorer.run(until); });
           },
           "seconds"_a)
      .def("stats", [](const PyExplorer& self) {
        const std::lock_guard lock(self.front.engine->kernel().lock);
        const Explorer& e = self.explorer;
        nb::dict out;
        out["goals"] = e.expanded(0);
        out["objects"] = e.expanded(1);
        out["arrays"] = e.expanded(2);
        out["languages"] = e.expanded(3);
        out["states"] = e.states();
        out["waiting"] = e.waiting();
        return out;
      })
      .def("large", [](const PyExplorer& self) { return self.explorer.large(); })
      .def("empty", [](const PyExplorer& self) { return self.explorer.empty(); });

  nb::class_<PySampler>(m, "Sampler")
      .def("__init__", [](PySampler* self, const Front& f) { new (self) PySampler{f, Sampler(f.engine)}; }, "engine"_a)
      .def("sample",
           [](PySampler& self, const std::vector<nb::bytes>& choices) -> nb::object {
             std::vector<std::string_view> units;
             for (const nb::bytes& unit : choices) units.emplace_back(unit.c_str(), unit.size());
             std::string text;
             std::size_t used = 0;
             if (!run(self.front, [&] { return self.sampler.sample(units, &text, &used); })) return nb::none();
             return nb::make_tuple(nb::bytes(text.data(), text.size()), used);
           },
           "choices"_a);

  nb::class_<PyMatcher>(m, "Matcher")
      .def("fill_bitmask", [](PyMatcher& self, const Rows& bitmask, std::ptrdiff_t row, std::optional<std::int64_t> remaining) {
        self.fill(view_of(bitmask, self.matcher.vocabulary().words()), row, remaining);
      }, "bitmask"_a, "row"_a = 0, "remaining"_a.none() = nb::none())
      .def("fill_bitmask_by_bytes", [](PyMatcher& self, const Rows& bitmask, std::optional<std::int64_t> remaining) {
        const RowsView view = view_of(bitmask, self.matcher.vocabulary().words());
        self.placed([&] { self.matcher.fill_by_bytes(self.row_of(view, 0), remaining.value_or(-1)); });
      }, "bitmask"_a, "remaining"_a.none() = nb::none())
      .def("accept", [](PyMatcher& self, Id token) { return self.placed([&] { return self.matcher.accept(token); }); }, "token"_a)
      .def("accept_bytes", [](PyMatcher& self, const nb::bytes& data) {
        return self.placed([&] { return self.matcher.accept(std::string_view(data.c_str(), data.size())); });
      }, "data"_a)
      .def("can_stop", [](PyMatcher& self) { return self.placed([&] { return self.matcher.can_stop(); }); })
      .def("is_finished", [](PyMatcher& self) { return run(self.front, [&] { return self.matcher.is_finished(); }); })
      .def("forced_bytes", [](PyMatcher& self) {
        const std::string out = self.placed([&] { return self.matcher.forced(); });
        return nb::bytes(out.data(), out.size());
      })
      .def("distance", [](PyMatcher& self) { return self.placed([&] { return self.matcher.distance(); }); })
      .def("key", [](PyMatcher& self) {
        const std::string out = self.placed([&] { return self.matcher.key(); });
        return nb::bytes(out.data(), out.size());
      })
      .def("lexeme", [](PyMatcher& self) { return self.placed([&] { return self.matcher.lexeme(); }); })
      .def("fill_classes", [](PyMatcher& self, const Classes& of) {
        if (of.shape(0) < static_cast<std::size_t>(self.matcher.vocabulary().size()))
          throw nb::value_error(("classes has " + std::to_string(of.shape(0)) + " items; the vocabulary needs " + std::to_string(self.matcher.vocabulary().size())).c_str());
        return self.placed([&] { return self.matcher.classes(of.data()); });
      }, "classes"_a.noconvert())
      .def("rollback", [](PyMatcher& self, std::int64_t steps) {
        if (steps < 0 || static_cast<std::size_t>(steps) > self.matcher.steps())
          throw nb::value_error(("steps=" + std::to_string(steps) + " must be at least 0 and at most " + std::to_string(self.matcher.steps()) + ", the steps accepted").c_str());
        self.matcher.rollback(static_cast<std::size_t>(steps));
      }, "steps"_a = 1)
      .def("reset", [](PyMatcher& self) { self.matcher.reset(); })
      .def("copy", [](PyMatcher& self) { return nb::cast(PyMatcher{self.front, self.matcher.copy()}, nb::rv_policy::move); });

  m.def("fill_bitmasks",
        [](const std::vector<PyMatcher*>& matchers, const Rows& bitmask, std::optional<std::vector<std::ptrdiff_t>> rows, std::optional<std::vector<std::optional<std::int64_t>>> remaining) {
          if (rows && rows->size() != matchers.size()) throw nb::value_error("rows must have an item for each matcher");
          if (remaining && remaining->size() != matchers.size()) throw nb::value_error("remaining must have an item for each matcher");
          for (const auto& left : remaining.value_or(std::vector<std::optional<std::int64_t>>{}))
            if (left && *left < 0) throw nb::value_error(("remaining=" + std::to_string(*left) + " must be at least 0").c_str());
          std::size_t words = 0;
          for (PyMatcher* matcher : matchers) words = std::max(words, matcher->matcher.vocabulary().words());
          const RowsView view = view_of(bitmask, words);
          const auto row_of = [&](std::size_t i) { return matchers[i]->row_of(view, rows ? (*rows)[i] : static_cast<std::ptrdiff_t>(i)); };
          const auto left_of = [&](std::size_t i) { return remaining ? (*remaining)[i] : std::nullopt; };
          for (std::size_t i = 0; i < matchers.size(); ++i) row_of(i);  // is each there?
          // All rows without the GIL; those that miss nodes, or meet a limit, are made again with it.
          std::vector<std::size_t> again;
          {
            const nb::gil_scoped_release release;
            std::vector<const MaskRow*> known(matchers.size());
            std::vector<std::size_t> other;
            for (std::size_t i = 0; i < matchers.size(); ++i)
              if (!(known[i] = matchers[i]->matcher.known(left_of(i).value_or(-1)))) other.push_back(i);
            if (!other.empty()) {
              const std::lock_guard lock(Kernel::instance().lock);
              for (std::size_t i : other) try {
                Matcher& matcher = matchers[i]->matcher;
                const auto clock = matcher.engine().goals().start_clock();
                if (!matcher.look_ahead().empty())
                  again.push_back(i);
                else if (left_of(i) || matchers.size() == 1)
                  matcher.fill(row_of(i), left_of(i).value_or(-1));
                else if (!(known[i] = matcher.find()))
                  matcher.fill_found(row_of(i));
              } catch (const Missing&) {
                again.push_back(i);
              } catch (const Limit&) {
                again.push_back(i);
              }
            }
            share_out(matchers.size(), matchers.size() * view.words * 4, [&](std::size_t i) {
              const std::size_t used = matchers[i]->matcher.vocabulary().words();
              if (known[i]) known[i]->write(row_of(i));
              std::memset(row_of(i) + used, 0, (view.words - used) * 4);
            });
          }
          for (std::size_t i : again) matchers[i]->fill(view, rows ? (*rows)[i] : static_cast<std::ptrdiff_t>(i), left_of(i));
        },
        "matchers"_a, "bitmask"_a, "rows"_a.none() = nb::none(), "remaining"_a.none() = nb::none());
}
