#include "automaton/format_spans.hpp"

#include <algorithm>

namespace guard {

namespace {
struct Way {  // the arcs that were left, linked from the last one
  std::shared_ptr<const Way> before;
  Id arc;
  std::size_t begin;
};
struct Thread {
  Id arc, lang;
  std::size_t begin;
  std::shared_ptr<const Way> way;
};

// Appends the arcs of a text from the point to the exit. exit -1: the text has not been left yet;
// then the first way that leads here counts, and a way that may end here before others.
void arcs_of(Engine& engine, Id point, std::string_view text, std::size_t offset, Id exit,
             std::vector<FormatSpan>* out) {
  Langs& langs = engine.lexicon().langs;
  const Net& net = engine.lexicon().texts.net(engine.format->net);
  std::vector<Thread> threads;
  const auto add = [&](auto&& self, Thread thread, std::size_t at) -> void {
    for (const Thread& t : threads)
      if (t.arc == thread.arc && t.lang == thread.lang) return;
    const Id arc = thread.arc, to = net.arcs[static_cast<std::size_t>(arc)].to;
    const bool ends = langs.accepts(thread.lang);
    const auto way =
        ends && to >= 0 ? std::make_shared<const Way>(Way{thread.way, arc, thread.begin}) : nullptr;
    threads.push_back(std::move(thread));
    if (way)
      for (Id next : net.points[static_cast<std::size_t>(to)])
        self(self, {next, net.arcs[static_cast<std::size_t>(next)].lang, at, way}, at);
  };
  for (Id begun : engine.stepper.points_of(point))
    for (Id arc : net.points[static_cast<std::size_t>(begun)])
      add(add, {arc, net.arcs[static_cast<std::size_t>(arc)].lang, 0, nullptr}, 0);
  for (std::size_t at = 0; at < text.size();) {
    kernel_clock.tick();
    std::size_t n = 1;
    while (at + n < text.size() && (static_cast<std::uint8_t>(text[at + n]) & 0xC0) == 0x80) ++n;
    const std::uint8_t lead = static_cast<std::uint8_t>(text[at]);
    if (n != (lead < 0x80 ? 1u : lead < 0xE0 ? 2u : lead < 0xF0 ? 3u : 4u))
      break;  // an incomplete character
    const std::uint32_t c = first_char(text.substr(at, n));
    at += n;
    std::vector<Thread> now = std::move(threads);
    threads.clear();
    for (Thread& t : now)
      if (const Id next = langs.row(t.lang).at(c); next != Langs::kNone)
        add(add, {t.arc, next, t.begin, std::move(t.way)}, at);
  }
  const auto ends = [&](const Thread& t) {
    const Id to = net.arcs[static_cast<std::size_t>(t.arc)].to;
    if (to >= 0 || !langs.accepts(t.lang)) return false;
    return exit < 0 ? engine.format->exit(~to).kind == FormatExit::End : to == ~exit;
  };
  auto found = std::find_if(threads.begin(), threads.end(), ends);
  if (found == threads.end() && exit < 0) found = threads.begin();
  if (found == threads.end()) return;
  std::vector<FormatSpan> ways;
  std::size_t end = text.size();
  const auto note = [&](Id arc, std::size_t begin) {
    if (begin < end) ways.push_back({FormatSpan::Arc, arc, offset + begin, offset + end});
    end = begin;
  };
  note(found->arc, found->begin);
  for (const Way* way = found->way.get(); way; way = way->before.get()) note(way->arc, way->begin);
  out->insert(out->end(), ways.rbegin(), ways.rend());
}

}  // namespace

std::vector<FormatSpan> spans_of(Engine& engine, const std::vector<FormatEvent>& events,
                                 std::string_view text) {
  std::vector<FormatSpan> out;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const auto [kind, what, begin] = events[i];
    const bool last = i + 1 == events.size();
    const std::size_t end = last ? text.size() : events[i + 1].offset;
    if (kind == FormatEvent::Text)
      arcs_of(engine, what, text.substr(begin, end - begin), begin, last ? -1 : events[i + 1].what,
              &out);
    else if (kind == FormatEvent::Symbol)
      out.push_back({FormatSpan::Symbol, what, begin, end});
    else
      out.push_back({FormatSpan::Value, what, begin, end});
  }
  return out;
}

}  // namespace guard
