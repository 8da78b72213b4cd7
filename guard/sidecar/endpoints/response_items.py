"""Items of a response's input, translated into messages of a chat.

Adjacent calls, and the text before them, become one message of the assistant, as they were one turn. An item that a
chat can't express is refused, with its place. Thinking of earlier turns is left out, as OpenAI does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from guard.sidecar.errors import bad

#: Parts of a content that hold text.
_TEXTS = ("input_text", "output_text", "text", "summary_text")
#: Items that are calls: what they are in a chat, and the field that holds their text.
_CALLS = {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}


def messages(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages that items make. Raises ApiError where a chat can't express one."""
    found: list[dict[str, Any]] = []
    is_turn = False  # whether the last message is the assistant's, and still going on
    for number, item in enumerate(items):
        at, kind = f"input.{number}", item.get("type", "message")
        if not isinstance(kind, str):
            raise bad(f"{at}.type must be a text", f"{at}.type")
        if kind == "reasoning":
            continue
        if kind in _CALLS:
            what, text = _CALLS[kind]
            said = {"name": item.get("name"), text: item.get(text)}
            if not all(isinstance(part, str) for part in (*said.values(), item.get("call_id"))):
                raise bad(f"{at}: a {kind} has a call_id, a name and {text}, which are texts", at)
            if not is_turn:
                found.append({"role": "assistant", "content": None})
            calls = found[-1].setdefault("tool_calls", [])
            calls.append({"id": item["call_id"], "type": what, what: said})
            is_turn = True
            continue
        is_turn = False
        if kind in ("function_call_output", "custom_tool_call_output"):
            found.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": _output(at, item)})
            continue
        if kind != "message":
            raise bad(f"an item of type {kind[:60]!r} can't be asked of this model", f"{at}.type")
        role = item.get("role")
        if not isinstance(role, str):
            if role is None:
                raise bad(f"{at}.role is missing", f"{at}.role", "missing_required_parameter")
            raise bad(f"{at}.role must be a text", f"{at}.role")
        found.append({"role": role, "content": _content(f"{at}.content", item.get("content"))})
        is_turn = role == "assistant"
    return found


def _output(at: str, item: Mapping[str, Any]) -> Any:
    output = item.get("output")
    if not isinstance(output, str | list):
        raise bad(f"{at}.output must be a text or a list of parts", f"{at}.output")
    return _content(f"{at}.output", output)


def _content(at: str, content: Any) -> Any:
    if not isinstance(content, list):
        return content
    if not all(isinstance(part, Mapping) for part in content):
        raise bad(f"{at} must be a text or a list of parts", at)
    return [_part(f"{at}.{number}", part) for number, part in enumerate(content)]


def _part(at: str, part: Mapping[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind in _TEXTS:
        return {"type": "text", "text": part.get("text")}
    if kind == "refusal":
        return {"type": "refusal", "refusal": part.get("refusal")}
    if kind == "input_image":
        if not isinstance(part.get("image_url"), str):
            raise bad(f"{at}: a chat takes a picture by its image_url", f"{at}.image_url", "unsupported_value")
        return {"type": "image_url", "image_url": {"url": part["image_url"], **_given(part, "detail")}}
    if kind == "input_file":
        if not isinstance(part.get("file_id", part.get("file_data")), str):
            raise bad(f"{at}: a chat takes a file by file_id or file_data", at, "unsupported_value")
        return {"type": "file", "file": _given(part, "file_id", "file_data", "filename")}
    if kind in ("input_audio", "image_url", "file", "video_url", "audio_url"):
        return dict(part)
    raise bad(f"{at}: a part of type {str(kind)[:60]!r} can't be asked of this model", f"{at}.type")


def _given(part: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: part[name] for name in names if part.get(name) is not None}
