"""Whether a model that is asked again was told of a finding, whatever the keys of its answer are."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from guard.calls import prompts
from guard.errors import Violation
from guard.kernels.json_pointer import pointer
from guard.support.plain_text import plain
from guard.testing.app_adapters import ObservedRequest
from guard.testing.comparing import is_told, new_words
from guard.testing.scripted_replies import ScriptedReply

QUESTION = {"role": "user", "content": "Count the words.\n\nAnswer as JSON."}
KEYS = st.text(st.sampled_from("ab/~'\"\\\n\r\u2028\u200b\x80é") | st.characters(codec="utf-8"), min_size=1)


def asked(number: int, messages: list[dict[str, str]], text: str) -> ObservedRequest:
    return ObservedRequest(number, "model", "m", "m", messages, None, False, ScriptedReply("said", text))


@given(KEYS)
@example("a\n\n")
@example("a'\n\"\\")
def test_guards_own_words_tell_of_a_finding_in_one_line(key: str) -> None:
    finding = Violation(pointer((key,)), "int_type", "a valid integer", "None")
    assert len(str(finding).splitlines()) == 1
    assert plain(str(finding)) == str(finding)
    text = json.dumps({key: None})
    again = asked(2, [dict(one) for one in prompts.re_ask([QUESTION], text, [finding])], text)
    if not key.isdigit():  # an item's number is no name
        assert is_told(finding, new_words([asked(1, [QUESTION], text), again], again))


@given(KEYS)
@example("a\n\n")
@example("{}")
def test_an_application_may_tell_of_it_in_the_keys_own_letters(key: str) -> None:
    finding = Violation(pointer((key,)), "int_type", "a valid integer", "None")
    words = {"role": "user", "content": f"Wrong: <{key}> must be a number."}
    again = asked(2, [QUESTION, words], "{}")
    assert is_told(finding, new_words([asked(1, [QUESTION], "{}"), again], again))
