// Format: the text around an engine's values: a net (lexers/net.hpp) whose exits are values,
// symbols and the end.
//
// A symbol is a token that stands for itself, whatever its bytes; some symbols stand for any token
// with a few exceptions. After a value or a symbol, the text continues at a point of the net.
// FormatSource is the front end's description, without ids of any engine, and immutable; a Format
// is the same with ids of one lexicon.
#pragma once
#include <memory>
#include <vector>

#include "constraints/lexicon.hpp"

namespace guard {

struct FormatExit {
  enum Kind : std::uint8_t { End, Value, Symbol, AnyToken } kind = End;
  Id what = -1;  // Value: the front end's node; Symbol, AnyToken: the symbol's number
  Id next = -1;  // the point after it
  bool is_symbol() const { return kind == Symbol || kind == AnyToken; }
};

struct FormatEvent {  // a change between text, values and symbols in a turn
  enum Kind : std::uint8_t { Text, Value, Symbol } kind;
  Id what;             // Text: the point at which it begins; else the exit that was taken
  std::size_t offset;  // bytes before it
};

struct FormatSource {
  struct Arc {
    Id tree;  // of `trees`
    Id to;
  };
  std::vector<Tree> trees;  // each once
  std::vector<std::vector<Id>> points;
  std::vector<Arc> arcs;
  std::vector<FormatExit> exits;
  bool is_checked =
      false;  // whether to check that values can be distinguished from text: format_check.hpp
  std::vector<Id> copies;  // by arc, 4 * part + copy of a repeated part that is written as a circle
                           // of four copies; -1: of none. Empty: there is none.
};

struct Format {
  Format(Lexicon& lexicon, std::shared_ptr<const FormatSource> from) : source(std::move(from)) {
    Net made;
    made.points = source->points;
    std::vector<Id> langs;
    for (const Tree& tree : source->trees) langs.push_back(lexicon.langs.whole(tree));
    for (const FormatSource::Arc& arc : source->arcs)
      made.arcs.push_back({langs[static_cast<std::size_t>(arc.tree)], arc.to});
    for (const FormatExit& exit : source->exits)
      made.open.push_back(exit.kind == FormatExit::Value);
    net = lexicon.texts.net_of(std::move(made));
  }
  const FormatExit& exit(Id id) const { return source->exits[static_cast<std::size_t>(id)]; }
  std::shared_ptr<const FormatSource> source;
  Id net;
};

}  // namespace guard
