// Distances around values: bytes from a point of a format's net to the end of the text.

#include "automaton/distance.hpp"

namespace guard {

std::int64_t Distances::behind_arc(Id arc) {
  const Id to = texts_.net(format_->net).arcs[static_cast<std::size_t>(arc)].to;
  return to < 0 ? behind_exit(~to) : behind_point(to);
}

std::int64_t Distances::behind_exit(Id exit) {
  const FormatExit& e = format_->exit(exit);
  return e.kind == FormatExit::End
             ? 1
             : sum(exit_costs_[static_cast<std::size_t>(exit)], behind_point(e.next));
}

std::int64_t Distances::behind_point(Id point) {
  measure_format();
  return behind_points_[static_cast<std::size_t>(point)];
}

// Computes all points together, by relaxation from the end until nothing changes (Bellman 1958).
void Distances::measure_format() {
  if (!behind_points_.empty()) return;
  const Net& net = texts_.net(format_->net);
  std::vector<std::int64_t> costs, arcs;
  Arena arena;
  for (const FormatExit& e : format_->source->exits) {
    std::int64_t cost = 1;
    if (e.kind == FormatExit::Value) {
      Frame f;
      f.arena = &arena;
      f.due = levels_.due_root(e.what);
      const std::int64_t bytes = value_distance(f, kNoLimit);
      cost = bytes < 0 ? -1 : bytes - 1;  // without the end-of-sequence token
    }
    costs.push_back(cost);
  }
  for (const Net::Arc& a : net.arcs)
    arcs.push_back(constraints_.lexicon.langs.cheapest(a.lang, 0, kInf));
  std::vector<std::int64_t> behind(net.points.size(), -1);
  const auto of = [&](Id to) {
    if (to >= 0) return behind[static_cast<std::size_t>(to)];
    const Id left = ~to;
    const FormatExit& e = format_->exit(left);
    return e.kind == FormatExit::End ? std::int64_t{1}
                                     : sum(costs[static_cast<std::size_t>(left)],
                                           behind[static_cast<std::size_t>(e.next)]);
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t p = 0; p < behind.size(); ++p)
      for (Id arc : net.points[p]) {
        const std::int64_t bytes = sum(arcs[static_cast<std::size_t>(arc)],
                                       of(net.arcs[static_cast<std::size_t>(arc)].to));
        if (bytes >= 0 && (behind[p] < 0 || bytes < behind[p])) behind[p] = bytes, changed = true;
      }
  }
  exit_costs_ = std::move(costs);
  behind_points_ = std::move(behind);
}

std::int64_t Distances::raw_distance(const Config& at) {
  measure_format();
  std::int64_t out = -1;
  texts_.ways(at.state,
              [&](Id arc, std::int64_t bytes) { out = least(out, sum(bytes, behind_arc(arc))); });
  return out;
}

}  // namespace guard
