"""OpenAI's Responses protocol, as the fake provider speaks it: whole answers and events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def output(
    text: str, refusal: str | None, thinking: str | None, calls: Sequence[tuple[str, str]], finish: str
) -> list[dict[str, Any]]:
    """Return the items of an answer: thinking, then calls of tools, else a message."""
    status = "completed" if finish in ("stop", "tool_calls") else "incomplete"
    items: list[dict[str, Any]] = []
    if thinking is not None:
        summary = [{"type": "summary_text", "text": thinking}]
        items.append({"type": "reasoning", "id": "rs_1", "summary": summary})
    if calls and refusal is None:
        for number, (name, arguments) in enumerate(calls, 1):
            call = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "status": status}
            items.append({**call, "name": name, "arguments": arguments})
        return items
    part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
    if refusal is not None:
        part = {"type": "refusal", "refusal": refusal}
    items.append({"type": "message", "id": "msg_1", "role": "assistant", "status": status, "content": [part]})
    return items


def usage(asked: int, answered: int) -> dict[str, Any]:
    """Return the tokens of an answer."""
    return {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answered,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked + answered,
    }


def whole(items: list[dict[str, Any]], finish: str, model: str, counts: dict[str, Any] | None) -> dict[str, Any]:
    """Return a whole answer of some items."""
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    reason = reasons.get(finish)
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": model,
        "status": "incomplete" if reason else "completed",
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "output": items,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": counts,
    }


def events(
    items: list[dict[str, Any]], finish: str, model: str, counts: dict[str, Any] | None, piece: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the events of a streamed answer, each with its type; texts in pieces of so many characters."""
    end = whole(items, finish, model, counts)
    number = 0

    def event(kind: str, **fields: Any) -> tuple[str, dict[str, Any]]:
        nonlocal number
        number += 1
        return kind, {"type": kind, "sequence_number": number - 1, **fields}

    begun = {**end, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield event("response.created", response=begun)
    for at, item in enumerate(items):
        place: dict[str, Any] = {"output_index": at, "item_id": item["id"]}
        yield event("response.output_item.added", output_index=at, item=_begun(item))
        if item["type"] == "function_call":
            for delta in _pieces(item["arguments"], piece):
                yield event("response.function_call_arguments.delta", **place, delta=delta)
            yield event(
                "response.function_call_arguments.done", **place, name=item["name"], arguments=item["arguments"]
            )
        elif item["type"] == "message":
            part = item["content"][0]
            place["content_index"] = 0
            key = "text" if part["type"] == "output_text" else "refusal"
            yield event("response.content_part.added", **place, part={**part, key: ""})
            more: dict[str, Any] = {"logprobs": []} if key == "text" else {}
            for delta in _pieces(part[key], piece):
                yield event(f"response.{part['type']}.delta", **place, **more, delta=delta)
            done: dict[str, Any] = {**place, key: part[key]}
            yield event(f"response.{part['type']}.done", **done)
            yield event("response.content_part.done", **place, part=part)
        yield event("response.output_item.done", output_index=at, item=item)
    yield event(f"response.{end['status']}", response=end)


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item as it is at its beginning."""
    empty: dict[str, dict[str, Any]] = {
        "function_call": {"arguments": ""},
        "message": {"content": []},
        "reasoning": {"summary": []},
    }
    return {**item, "status": "in_progress", **empty[item["type"]]}


def _pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]
