#include "automaton/completion.hpp"

namespace guard {

namespace {
// Closing bytes come first, then digits and letters.
constexpr std::array<std::uint8_t, 256> kOrder = [] {
  std::array<std::uint8_t, 256> out{};
  std::array<bool, 256> taken{};
  std::size_t n = 0;
  const auto add = [&](unsigned byte) {
    if (!taken[byte]) taken[byte] = true, out[n++] = static_cast<std::uint8_t>(byte);
  };
  for (char c : std::string_view("\"}],:0123456789-_etaoinsrhldcumfpgwybvkxjqz"))
    add(static_cast<std::uint8_t>(c));
  for (unsigned byte = 0x20; byte < 0x100; ++byte) add(byte);
  for (unsigned byte = 0; byte < 0x20; ++byte) add(byte);
  return out;
}();
}  // namespace

struct Completions::Draft {  // the new links of a chain, in order
  struct New {
    std::string key;  // "": it is `quick`
    CompletionKey quick;
    bool is_kept = true;  // is it looked up by its key?
    Link link;
  };
  std::vector<New> links;
  struct Member {  // a member that was begun
    std::array<Id, 4> key;
    std::int32_t depth;  // of its object
    std::size_t from;    // its first link
  };
  std::vector<Member> begun;
  std::string text_from(std::size_t first) const {
    std::string out;
    for (std::size_t i = first; i < links.size(); ++i)
      out.push_back(static_cast<char>(links[i].link.byte));
    return out;
  }
};

Id Completions::look_up(Config* at, std::int64_t* left) {
  loosen(at, left);
  key_.clear();
  if (keys_.find(*at, &quick_)) {
    const auto* found = by_quick_.find(quick_);
    return found ? found->second : -1;
  }
  keys_.add(*at, &key_);
  const auto found = by_key_.find(key_);
  return found == by_key_.end() ? -1 : found->second;
}

// Makes the links up to one that is known. `now` was looked up just before. `left`: its distance;
// -1: not known, since around values quotes and control characters count as in JSON.
Id Completions::extend(Config now, std::int64_t left) {
  Draft chain;
  Arena arena;  // the frames live only during this call; a mask in progress must not find them
  const FrameMaker::Sharing sharing(engine_.frames, nullptr);
  Config next;
  Id known = -1;
  for (bool looked_up = true;; looked_up = false) {
    kernel_clock.tick();
    if (!looked_up && (known = look_up(&now, &left)) >= 0) break;
    Draft::New made{key_, quick_, true, {}};
    if (left < 0 && now.top && !now.finished) left = engine_.distance(now);
    const bool spells = left > 0 && left <= kLongest && now.lex == Lex::None && now.gap == 0;
    if (const std::int32_t name = spells ? due_name(now) : -1; name >= 0 && counts(now)) {
      const Frame& f = *now.top;
      const std::array<Id, 4> member{f.level, f.order, static_cast<Id>(f.phase), name};
      if (const auto text = members_.find(std::span<const Id>(member)); text != members_.end()) {
        Config behind = now;
        bool goes = true;
        for (char byte : text->second)
          if (goes = engine_.step(behind, static_cast<std::uint8_t>(byte), &next, arena); goes)
            behind = next;
          else
            break;
        if (goes) {
          for (char byte : text->second) {
            made.link = {Link::Byte, static_cast<std::uint8_t>(byte), -1, left--};
            chain.links.push_back(std::exchange(made, {}));
            made.is_kept = false;
          }
          now = behind;
          continue;
        }
      }
      chain.begun.push_back({member, f.depth, chain.links.size()});
    }
    const Link link = made.link = further(now, left, &next, arena);
    made.link.bytes = left;
    chain.links.push_back(std::move(made));
    if (link.kind != Link::Byte && link.kind != Link::Symbol) break;
    // Of a format's text, a distance counts some bytes more than once.
    const bool is_told = now.lex != Lex::Raw && next.lex != Lex::Raw;
    now = next;
    left = link.kind == Link::Byte && is_told && left > 1 ? left - 1 : -1;
    while (!chain.begun.empty() && now.top->phase == Phase::After && now.lex == Lex::None &&
           now.top->depth <= chain.begun.back().depth) {
      const Draft::Member& member = chain.begun.back();
      if (now.top->depth == member.depth && chain.links.size() > member.from) {
        std::string text = chain.text_from(member.from);
        held_ += text.size() + sizeof(Draft::Member) + 4 * sizeof(void*);
        members_.insert_or_assign({member.key.begin(), member.key.end()}, std::move(text));
      }
      chain.begun.pop_back();
    }
  }
  // By doubling: room for just these links would move all of them at each call.
  if (const std::size_t all = links_.size() + chain.links.size(); all > links_.capacity())
    links_.reserve(std::max(all, 2 * links_.capacity()));
  for (auto made = chain.links.rbegin(); made != chain.links.rend(); ++made) {
    made->link.next = known;
    known = static_cast<Id>(links_.size());
    held_ += sizeof(Link);
    if (made->is_kept && made->key.empty()) {
      held_ += 4 * sizeof made->quick;  // half of the slots are empty
      by_quick_.try_emplace(made->quick, known);
    } else if (made->is_kept) {
      held_ += made->key.size() + 8 * sizeof(void*);
      by_key_.emplace(std::move(made->key), known);
    }
    links_.push_back(made->link);
  }
  return known;
}

// For a text whose lower bounds are met and whose upper bounds exceed the whole remaining distance,
// the number of characters does not affect the completion. Normalising it lets a text with
// `maxLength` 254 share one chain instead of having 254 chains.
void Completions::loosen(Config* at, std::int64_t* left) {
  if (at->lex != Lex::Text || at->finished || at->state == Texts::kDead) return;
  const Spec& spec = engine_.lexicon().texts.spec(at->spec);
  if (!spec.bounded) return;
  std::int32_t least = 0, most = kInf;
  for (const Bound& b : spec.bounds) least = std::max(least, b.lo), most = std::min(most, b.hi);
  if (most == kInf || at->chars <= least) return;  // otherwise the state key already handles it
  if (*left < 0) *left = engine_.distance(*at);
  if (*left >= 0 && *left <= most - at->chars) at->chars = least;
}

// Is a name spelled without an escape?
bool Completions::is_plain(const Frame& f, std::int32_t name) {
  for (char c : f.names->texts[static_cast<std::size_t>(name)])
    if (static_cast<std::uint8_t>(c) < 0x20 || c == '"' || c == '\\') return false;
  return true;
}

// In an object with independent members: the first required plain name that is not written, among
// those that the unfinished key can become; -1: there is none.
std::int32_t Completions::due_name(const Config& at) {
  const Frame& f = *at.top;
  if (f.kind != Kind::Object || !engine_.distances.is_even(f)) return -1;
  const bool key = at.lex == Lex::Key;
  if (!key && f.phase != Phase::First && f.phase != Phase::After && f.phase != Phase::Key)
    return -1;
  const ObjectInfo& info = engine_.levels.info(f.level);
  for (std::int32_t name : info.asked)
    if ((!key || (at.lo <= name && name < at.hi)) && is_plain(f, name) &&
        engine_.viability.may_come(f, name))
      return name;
  return -1;
}

Completions::Link Completions::further(const Config& at, std::int64_t left, Config* next,
                                       Arena& arena) {
  if (at.finished || !at.top || left < 0) return {};
  if (left <= 1) return {engine_.can_stop(at) ? Link::End : Link::None};
  if (left > kLongest || !counts(at)) return {Link::Uncounted};
  const auto is_nearer = [&] {
    const std::int64_t after = engine_.distance(*next, left - 1);
    return after >= 0 && after < left;
  };
  const auto goes = [&](std::uint8_t byte) {
    return engine_.step(at, byte, next, arena) && is_nearer();
  };
  if (at.lex == Lex::Key && engine_.lexicon().texts.is_whole(at.decoder))
    if (const std::int32_t name = due_name(at); name >= 0) {
      const std::string_view text = at.top->names->texts[static_cast<std::size_t>(name)];
      const std::uint8_t byte =
          static_cast<std::size_t>(at.depth) < text.size()
              ? static_cast<std::uint8_t>(text[static_cast<std::size_t>(at.depth)])
              : '"';
      if (goes(byte)) return {Link::Byte, byte};
    }
  for (const std::uint8_t byte : kOrder)
    if (goes(byte)) return {Link::Byte, byte};
  if (engine_.format) {
    Labels exits;
    engine_.stepper.exits(at, &exits);
    for (Id id : exits)
      if (engine_.format->exit(id).is_symbol() && engine_.stepper.take(at, id, next, arena) &&
          is_nearer())
        return {Link::Symbol};
  }
  return {};
}

bool Completions::counts(const Config& at) {
  for (const Frame* f = at.top; f; f = f->parent)
    if (f->records || f->barred || (f->kind == Kind::Object && !engine_.distances.is_even(*f)))
      return false;
  return true;
}

bool Completions::trim() {
  if (nbytes() <= kMost) return false;
  links_.clear();
  keys_.forget();
  by_key_.clear();
  by_quick_ = {};
  members_.clear();
  held_ = 0;
  return true;
}

}  // namespace guard
