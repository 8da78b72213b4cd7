"""Compiled formats: matchers for a structural tag, as `Compiled` is for a schema."""

from __future__ import annotations

from typing import Any

from guard.kernels._native import Engine, Matcher
from guard.kernels.vocabulary import Vocabulary
from guard.schemas.compiled import KEY_ORDERS, SPELLINGS, WHITESPACE, FrontEnd, Options
from guard.schemas.structural.nets import VALUE, Builder


class CompiledFormat:
    """A structural tag that was compiled."""

    def __init__(self, tag: Any, options: Options) -> None:
        self.tag, self.options = tag, options
        self._net = net = Builder(options).build(tag)
        documents = {f"guard:value/{number}": schema for number, schema in enumerate(net.schemas)}
        documents |= {f"guard:arguments/{number}": schema for number, schema in enumerate(net.documents)}
        values = [uri for uri in documents if uri.startswith("guard:value/")]
        root: Any = {"anyOf": [{"$ref": uri} for uri in values]} if values else True
        self._front = front = FrontEnd(root, options, documents)
        places = {front.documents.pointer(at): at for at in range(2, len(front.documents.schemas))}
        nodes = [places[f"/anyOf/{number}"] for number in range(len(net.schemas))]
        exits = [(kind, nodes[what] if kind == VALUE else what, following) for kind, what, following in net.exits]
        self._engine = Engine(
            front.lower,
            front.fail,
            front.lowering.root,
            KEY_ORDERS[options.key_order],
            WHITESPACE[options.whitespace],
            SPELLINGS[options.spelling],
            options.limits.numbers,
            (net.points, net.arcs, exits, net.is_ambiguous),
        )
        self._engine.start()

    def matcher(self, vocabulary: Vocabulary) -> Matcher:
        """Return a matcher at the start of a turn. It belongs to one thread."""
        symbols = [[vocabulary.token(one) for one in named] for named in self._net.symbols]
        return self._engine.matcher(vocabulary.native, symbols)
