// Format: what an engine reads around its values: a net of text (lexers/net.hpp) whose exits are
// values, symbols and the end.
//
// A symbol is a token that stands for itself and is never spelled; some stand for any token but a
// few. Behind a value or a symbol the text goes on at a point of the net. FormatSource is what the
// front end says, in no engine's ids; a Format is the same in those of one lexicon.
#pragma once
#include <memory>
#include <vector>

#include "constraints/lexicon.hpp"

namespace guard {

struct FormatExit {
  enum Kind : std::uint8_t { End, Value, Symbol, AnyToken } kind = End;
  Id what = -1;  // Value: the front end's node; Symbol, AnyToken: which
  Id next = -1;  // the point behind it
  bool is_symbol() const { return kind == Symbol || kind == AnyToken; }
};

struct FormatEvent {  // where a turn went from text to a value, and so on
  enum Kind : std::uint8_t { Text, Value, Symbol } kind;
  Id what;             // the point at which text begins; the exit that was taken
  std::size_t offset;  // bytes in front of it
};

struct FormatSource {
  struct Arc {
    Tree tree;
    Id to;
  };
  std::vector<std::vector<Id>> points;
  std::vector<Arc> arcs;
  std::vector<FormatExit> exits;
  bool is_checked = false;  // is it to be found out whether its values can be told from the text?
                            // See format_check.hpp
};

struct Format {
  Format(Lexicon& lexicon, std::shared_ptr<const FormatSource> from) : source(std::move(from)) {
    Net made;
    made.points = source->points;
    for (const FormatSource::Arc& arc : source->arcs)
      made.arcs.push_back({lexicon.langs.whole(arc.tree), arc.to});
    for (const FormatExit& exit : source->exits)
      made.open.push_back(exit.kind == FormatExit::Value);
    net = lexicon.texts.net_of(std::move(made));
  }
  const FormatExit& exit(Id id) const { return source->exits[static_cast<std::size_t>(id)]; }
  std::shared_ptr<const FormatSource> source;
  Id net;
};

}  // namespace guard
