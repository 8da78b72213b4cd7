#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"

namespace guard {

namespace {
constexpr std::size_t kMaxClasses = 500;  // of keys in one shape
constexpr std::size_t kMaxListed = 4096;  // keys of a finite class, listed as names
}  // namespace

KeySets::KeySets(Constraints& all) : lexicon_(all.lexicon) {}

bool KeySets::holds(Id keys, Id name) {
  const KeySet& k = key_sets_[keys];
  if (k.kind == KeySet::One) return k.id == name;
  if (k.kind == KeySet::Lang) return lexicon_.in_lang(k.id, name);
  if (k.langs.empty()) return !has(k.names, name);
  const auto found = holds_.find({keys, name});
  if (found != holds_.end()) return found->second;
  bool yes = !has(k.names, name);
  for (Id lang : k.langs) yes = yes && !lexicon_.in_lang(lang, name);
  return holds_[{keys, name}] = yes;
}

Id KeySets::key_rest(std::vector<Id> names, std::vector<Id> langs) {
  if (names.empty() && langs.empty()) return key_lang(Langs::kAll);
  sort_unique(&names);
  sort_unique(&langs);
  return key_sets_.intern({KeySet::Rest, -1, std::move(names), std::move(langs)});
}

// The classes of keys that these key sets distinguish.
std::vector<KeyClass> KeySets::partition(std::vector<Id> sets) {
  sort_unique(&sets);
  std::vector<Id> names, langs, wide;
  std::vector<std::pair<Id, Id>> own;  // names, and the sets that hold them alone
  for (Id k : sets) {
    const KeySet& set = key_sets_[k];
    if (set.kind == KeySet::One) names.push_back(set.id), own.push_back({set.id, k});
    if (set.kind != KeySet::One) wide.push_back(k);
    if (set.kind == KeySet::Lang && set.id != Langs::kAll) langs.push_back(set.id);
    names.insert(names.end(), set.names.begin(), set.names.end());
    langs.insert(langs.end(), set.langs.begin(), set.langs.end());
  }
  sort_unique(&names);
  sort_unique(&langs);
  std::sort(own.begin(), own.end());
  Langs& l = lexicon_.langs;
  std::vector<std::pair<Id, std::vector<Id>>> parts{
      {Langs::kAll, {}}};  // a language, and those of `langs` that contain it
  for (Id lang : langs) {
    std::vector<std::pair<Id, std::vector<Id>>> next;
    for (auto& [r, in] : parts) {
      const Id yes = l.both({r, lang}), no = l.both({r, l.no(lang)});
      if (l.live(yes)) {
        next.push_back({yes, in});
        next.back().second.push_back(lang);
      }
      if (l.live(no)) next.push_back({no, std::move(in)});
    }
    parts = std::move(next);
    if (parts.size() > kMaxClasses)
      throw Limit{"key_classes", -1,
                  "patterns divide keys into more than " + std::to_string(kMaxClasses) + " classes",
                  Op::Patterns};
  }
  // The key sets, other than single names, that contain the texts which exactly the languages `in`
  // contain, exceptions by name aside. Most classes share them.
  std::unordered_map<Id, std::vector<Id>>
      // by name, the sets that exclude it by name
      naming;
  for (Id k : wide)
    for (Id n : key_sets_[k].names) naming[n].push_back(k);
  ListMap<const std::vector<Id>*> kinds;
  const auto wide_of = [&](const std::vector<Id>& in) {
    if (const auto at = kinds.find(in); at != kinds.end()) return at->second;
    std::vector<Id> held;
    for (Id k : wide) {
      tick();
      const KeySet& set = key_sets_[k];
      bool in_set = set.kind == KeySet::Lang ? set.id == Langs::kAll || has(in, set.id) : true;
      if (set.kind == KeySet::Rest)
        for (Id lang : set.langs) in_set = in_set && !has(in, lang);
      if (in_set) held.push_back(k);
    }
    return kinds.emplace(in, &wide_[wide_.intern({std::move(held)})].ids).first->second;
  };
  std::vector<KeyClass> out;
  std::vector<const std::vector<Id>*> of_listed;  // by listed class, the sets that contain its
                                                  // texts
  std::vector<std::pair<Id, std::ptrdiff_t>>
      all;  // names, each with an index into of_listed; -1: a key set names it
  for (Id n : names) all.push_back({n, -1});
  for (const auto& [r, in] : parts) {
    std::vector<std::u32string> words;
    if (r == Langs::kAll || !l.list(r, kMaxListed, &words)) {
      out.push_back({-1, r, -1, wide_of(in), {}, -1});
      continue;
    }
    for (const auto& w : words)
      if (const Id n = lexicon_.name(encode_utf8(w)); !has(names, n))
        all.push_back({n, static_cast<std::ptrdiff_t>(of_listed.size())});
    of_listed.push_back(wide_of(in));
  }
  std::sort(all.begin(), all.end());
  out.reserve(out.size() + all.size());
  const std::vector<Id>* const everywhere = langs.empty() && !names.empty() ? wide_of({}) : nullptr;
  auto alone = own.cbegin();
  std::vector<Id> in;
  for (const auto& [n, listed] : all) {
    tick();
    KeyClass cls{n, Langs::kNone, -1, nullptr, {}, -1};
    if (listed >= 0) {
      cls.wide = of_listed[static_cast<std::size_t>(listed)];
    } else {
      while (alone != own.end() && alone->first < n) ++alone;
      if (alone != own.end() && alone->first == n) cls.own = alone->second;
      in.clear();
      for (Id lang : langs)
        if (lexicon_.in_lang(lang, n)) in.push_back(lang);
      cls.wide = everywhere ? everywhere : wide_of(in);
      if (const auto at = naming.find(n); at != naming.end()) cls.except = at->second;
    }
    out.push_back(std::move(cls));
  }
  std::vector<Id> said;
  const std::vector<Id>* wide_before = nullptr;
  Id wide_id = -1;
  for (KeyClass& cls : out) {
    if (cls.wide != wide_before) wide_before = cls.wide, wide_id = wide_.find(IdSpan{*cls.wide});
    said = {cls.name, cls.own, wide_id};
    said.insert(said.end(), cls.except.begin(), cls.except.end());
    cls.id = interned(&class_ids_, said);
  }
  return out;
}

// The key set of a class that is not a name, given the names of its partition.
Id KeySets::key_class(const KeyClass& cls, const std::vector<Id>& names) {
  if (cls.lang == Langs::kAll) return key_rest(names, {});
  std::vector<std::string_view> words;
  for (Id n : names) words.push_back(lexicon_.names[n].text);
  return key_lang(lexicon_.langs.both(
      {cls.lang, lexicon_.langs.no(lexicon_.langs.words(WordList::of_utf8(std::move(words))))}));
}

}  // namespace guard
