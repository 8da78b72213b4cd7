"""A model that says what a test tells it to."""

from __future__ import annotations

from guard.models.base import Reply, Request


class Scripted:
    """A model that answers from a list: a text, a reply, an error to raise, or a function of the request."""

    def __init__(self, *answers: object, name: str = "scripted") -> None:
        self.name = name
        self.answers = iter(answers)
        self.requests: list[Request] = []

    def generate(self, request: Request) -> Reply:
        self.requests.append(request)
        answer = next(self.answers)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Reply):
            return answer
        assert isinstance(answer, str)
        return reply(answer)


def reply(text: str, **changes: object) -> Reply:
    """Return a reply whose figures follow from its text, so that sums tell attempts apart."""
    figures: dict[str, object] = {
        "finish": "stop",
        "model": "scripted-1",
        "prompt_tokens": 100,
        "completion_tokens": len(text),
        "forced_tokens": len(text) // 2,
        "seconds": 0.25,
        "mask_seconds": 0.125,
    }
    return Reply(text=text, **{**figures, **changes})  # type: ignore[arg-type]  # values of many types
