"""Finds secrets: by the names of environment variables, and by the forms of keys, tokens and passwords in URLs.

`redacted` is for records: it removes the given secrets, and texts that have the form of a secret beyond doubt.
`hidden` is for error messages, which a stranger may read: it also removes what may be a secret, such as keys that a
provider has masked ("sk-ab***yz").
"""

from __future__ import annotations

import re

WORD_LENGTH = 16  #: A value of letters that is shorter may be a word.
SHORT_LENGTH = 8  #: A value that is shorter may be anything: "1" as the key of a server that wants none.
WINDOW = 65_536  #: Characters of a text that are searched for forms of secrets at once: a millisecond.
REDACTED = "[redacted]"  #: What stands in a text where a secret stood.

_NEEDED = 600  #: Characters that tell whether a secret begins at a place; most for a URL, up to its @.
_SHORTEST = 19  #: Characters of the shortest secret that is no password in a URL: "sk-" and 16.
_LONGEST_MARK = 6  #: Characters of the longest mark before a secret: "earer ".

#: Environment variables whose values are secrets, by the end of the name.
SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
#: Marks that keys begin with, and what makes up the rest of such a key.
_KEYS = {
    ("sk-", "pk-", "rk-"): r"[A-Za-z0-9_-]{16,}",
    ("hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"): r"[A-Za-z0-9]{20,}",
    ("AKIA",): r"[0-9A-Z]{16}\b",
}
_MARKS = [mark for marks in _KEYS for mark in marks]
_BEARER = r"[A-Za-z0-9._~+/-]{16,}=*"
#: Of a URL, whose user's name may be empty, and whose password may hold a : or an @ that nobody has escaped.
_PASSWORD = r'[^/\s:@"]{0,256}:[^/\s"]{1,256}(?=@)'
_FORM = re.compile(
    "|".join(
        [
            *(rf"\b(?:{'|'.join(marks)}){rest}" for marks, rest in _KEYS.items()),
            rf"(?<=[Bb]earer ){_BEARER}",
            rf"(?<=://){_PASSWORD}",
        ]
    )
)
#: Every text with such a secret contains one of these; searching for them is much faster than the expression.
_SIGNS = (*_MARKS, "earer ", "://")
_SHORT_SIGNS = ("://",)  # of those that a text below _SHORTEST may hold
#: The same forms as (sign, expression, whether the secret includes the sign). The sign is searched for first, since a
#: plain search is fast. The expressions look at few characters, so that a text full of signs takes linear time, too.
_STARTS = [
    *(
        (mark, re.compile(rf"{mark}(?<=\b{mark})(?={rest.replace(',}', '}')})"), True)
        for marks, rest in _KEYS.items()
        for mark in marks
    ),
    ("earer ", re.compile(rf"earer (?<=[Bb]earer )(?={_BEARER.replace(',}=*', '}')})"), False),
    ("://", re.compile(rf"://(?={_PASSWORD})"), False),
]
#: Wider forms, for texts where removing too much does no harm: short or masked keys, and - and _ exchanged.
_WIDE_FORM = re.compile(
    rf"\b(?:{'|'.join(mark.rstrip('-_') + ('[-_]' if mark[-1] in '-_' else '') for mark in _MARKS)})[\w*.-]{{4,}}"
    r"|(?i:bearer\s+)\S+|(?<=://)[^/\s]+@"
)


def redacted(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return a text without the given secrets and without texts that have the form of a secret. Linear time."""
    if secrets:
        text = _without(text, secrets)
    if len(text) > WINDOW:
        return _redacted_long(text)
    for sign in _SIGNS if len(text) >= _SHORTEST else _SHORT_SIGNS:
        if sign in text:
            return _FORM.sub(REDACTED, text)
    return text


def may_hold_secret(text: str, secrets: tuple[str, ...]) -> bool:
    """Whether `redacted` may change a text, or a part of it: False is certain. Linear time."""
    for mark in (*secrets, *_SIGNS):  # noqa: SIM110 (a generator takes twice as long)
        if mark in text:
            return True
    return False


def hidden(words: str, secrets: tuple[str, ...] = ()) -> str:
    """Return an error message without the given secrets and without what may be one. For short texts."""
    return _WIDE_FORM.sub(REDACTED, _without(words, secrets))


def _without(text: str, secrets: tuple[str, ...]) -> str:
    """Return a text without the given secrets; a secret that may be a word is removed only as a whole word."""
    for secret in secrets:
        if not secret or secret not in text:
            continue
        if len(secret) >= WORD_LENGTH or (len(secret) >= SHORT_LENGTH and not secret.isalpha()):
            text = text.replace(secret, REDACTED)
        else:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", REDACTED, text)
    return text


def _redacted_long(text: str) -> str:
    """Return what `_FORM.sub` returns, much faster, in short calls between which other threads run."""
    parts: list[str] = []
    kept = 0  # all before is in parts: one for each window, since many at once take long to join
    for begin in range(0, len(text), WINDOW):
        end = begin + WINDOW
        if end <= kept:  # a secret that goes on and on
            continue
        first = max(0, begin - _LONGEST_MARK)
        starts: list[int] = []
        for sign, form, is_part in _STARTS:
            if text.find(sign, first, end + len(sign)) >= 0:
                found = form.finditer(text, first, end + _NEEDED)
                starts += [at for each in found if (at := each.start() if is_part else each.end()) < end]
        found_here: list[str] = []
        for start in sorted(starts):
            if start >= kept and (secret := _FORM.match(text, start)) is not None:
                found_here += (text[kept:start], REDACTED)
                kept = secret.end()
        parts.append("".join(found_here))
    parts.append(text[kept:])
    return "".join(parts)
