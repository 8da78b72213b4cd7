"""What is run with SGLang's package on the path: Guard's grammars under its scheduler's steps and tree of drafts.

python in_sglang.py MODEL; findings as JSON on the last line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import jsonschema_rs
from engines.schemas import OWN
from sglang.srt.constrained import base_grammar_backend as base
from sglang.srt.constrained.grammar_manager import GrammarManager
from sglang.srt.constrained.reasoner_grammar_backend import ReasonerGrammarObject
from sglang.srt.speculative.spec_utils import traverse_tree
from transformers import AutoTokenizer

from guard.integrations import sglang as plug
from guard.integrations.sglang_backend import SGLangBackend, keep_budget

WIDTH, EOS = 49152, 2


def is_valid(schema: Any, text: str) -> bool:
    return bool(jsonschema_rs.validator_for(schema, validate_formats=True).is_valid(json.loads(text)))


def request(grammar: Any, tokens: int) -> Any:
    return SimpleNamespace(grammar=grammar, sampling_params=SimpleNamespace(max_new_tokens=tokens))


def decoded(tokenizer: Any, grammars: list[Any], steps: int) -> list[list[int]]:
    """Write all rows by noise, as the scheduler does: fill the batch, apply, pick, accept."""
    torch.manual_seed(7)
    written: list[list[int]] = [[] for _ in grammars]
    for _ in range(steps):
        live = [row for row, one in enumerate(grammars) if not one.is_terminated()]
        if not live:
            break
        mask = grammars[0].allocate_vocab_mask(WIDTH, len(grammars), "cpu")
        grammars[0].fill_vocab_mask_batched([base.GrammarRow(row, grammars[row]) for row in live], mask)
        logits = torch.randn(len(grammars), WIDTH)
        grammars[0].apply_vocab_mask(logits, mask)
        for row in live:
            written[row].append(int(logits[row].argmax()))
            grammars[row].accept_token(written[row][-1])
    return written


def main() -> None:
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    plug.register()
    found: dict[str, Any] = {"registered": ["guard" in base.GRAMMAR_BACKEND_REGISTRY, "", True]}
    hooked = [
        hasattr(one, "__wrapped__")
        for one in (GrammarManager.process_req_with_grammar, ReasonerGrammarObject.fill_vocab_mask)
    ]
    found["hooks"] = [hooked, "", all(hooked)]
    backend = SGLangBackend(tokenizer, WIDTH, {EOS})

    keys = [("json", json.dumps(schema)) for schema in OWN.values()]
    ready = [backend.get_cached_or_future_value(key, False)[0].result() for key in keys]
    for key, one in zip(keys, ready, strict=True):
        backend.set_cache(key, one.copy())
    again = [backend.get_cached_or_future_value(key, False) for key in keys]
    found["cache"] = [sum(hit for _, hit in again), "", all(hit for _, hit in again)]
    grammars = [one for one, _ in again]
    for one in grammars:
        keep_budget(request(one, 80))
    texts = [tokenizer.decode(one, skip_special_tokens=True) for one in decoded(tokenizer, grammars, 80)]
    valid = [is_valid(schema, text) for schema, text in zip(OWN.values(), texts, strict=True)]
    found["20 schemas by noise in one batch, 80 tokens"] = [sum(valid), "", all(valid)]

    bad = backend.get_cached_or_future_value(("json", '{"type": "string", "pattern": "("}'), False)[0].result()
    found["refusal"] = [getattr(bad, "error_message", ""), "", isinstance(bad, base.InvalidGrammarObject)]

    schema = OWN["multipleOf"]
    chain = tokenizer.encode('{"price": 125}', add_special_tokens=False)[:6]
    one, count = backend.cache["json", json.dumps(schema)].copy(), len(chain)
    one.accept_token(chain[0])
    mask = one.allocate_vocab_mask(WIDTH, count, "cpu")
    following = torch.tensor([*range(1, count), -1])
    traverse_tree(following, torch.full((count,), -1), torch.tensor(chain), one, mask, vocab_size=WIDTH)
    alone, same = backend.cache["json", json.dumps(schema)].copy(), True
    for row, token in enumerate(chain):
        alone.accept_token(token)
        single = alone.allocate_vocab_mask(WIDTH, 1, "cpu")
        alone.fill_vocab_mask(single, 0)
        same = same and torch.equal(single[0], mask[row])
    found["tree of drafts"] = [len(one.answer.tokens), "", same and one.answer.tokens == chain[:1]]

    one.answer.give_up("it took too long")
    traverse_tree(following, torch.full((count,), -1), torch.tensor(chain), one, mask, vocab_size=WIDTH)
    try:
        one.accept_token(chain[1])
        found["a grammar given up among drafts"] = ["accepts", "", False]
    except ValueError as error:
        found["a grammar given up among drafts"] = [str(error), "", True]

    end = tokenizer.convert_tokens_to_ids("<jupyter_output>")
    inner = backend.cache["json", json.dumps(schema)].copy()
    thinks = ReasonerGrammarObject(inner, (end,))
    thinks.maybe_init_reasoning(True)
    keep_budget(request(thinks, 40))
    (tokens,) = decoded(tokenizer, [thinks], 40)
    answer = tokenizer.decode(tokens[tokens.index(end) + 1 :], skip_special_tokens=True) if end in tokens else ""
    found["reasoning by noise, 40 tokens"] = [
        answer,
        len(tokens),
        EOS not in tokens[:-1] and is_valid(schema, answer or "0"),
    ]
    print(json.dumps({"part": "sglang", "backend": "guard", "found": found}))


if __name__ == "__main__":
    main()
