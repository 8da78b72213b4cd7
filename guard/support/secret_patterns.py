"""How secrets are told: by the names of environment variables, and by the forms of keys, tokens and passwords in URLs.

A record keeps its words: `redacted` cuts out the given secrets, and what surely is one by its form. An error's words
are read by whoever made the error happen, so `hidden` goes further: providers mask what they quote ("sk-ab***yz").
"""

from __future__ import annotations

import re

WORD_LENGTH = 16  #: A value of letters that is shorter may be a word.
SHORT_LENGTH = 8  #: A value that is shorter may be anything: "1" as the key of a server that wants none.
WINDOW = 65_536  #: Characters of a text that are searched for forms of secrets at once: a millisecond.
REDACTED = "[redacted]"  #: What stands in a text where a secret stood.

_NEEDED = 600  #: Characters by which it shows whether a secret begins at a place: a URL's, before its @.
_SHORTEST = 19  #: Characters of the shortest secret that is no password in a URL: "sk-" and 16.
_LONGEST_MARK = 6  #: Characters before a secret by which it shows: "earer ".

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
_PASSWORD = r'[^/\s:@"]{1,256}:[^/\s:@"]{1,256}(?=@)'
_FORM = re.compile(
    "|".join(
        [
            *(rf"\b(?:{'|'.join(marks)}){rest}" for marks, rest in _KEYS.items()),
            rf"(?<=[Bb]earer ){_BEARER}",
            rf"(?<=://){_PASSWORD}",
        ]
    )
)
#: What a text that holds such a secret holds too; looking for these is much faster than the expression.
_SIGNS = (*_MARKS, "earer ", "://")
_SHORT_SIGNS = ("://",)  # of those that a text below _SHORTEST may hold
#: The same forms, each by its sign: where one begins, behind the sign or (True) with it. Looking for a plain text first
#: is quick, and as little is looked at as tells it: a text of nothing but beginnings takes no longer than its length.
_STARTS = [
    *(
        (mark, re.compile(rf"{mark}(?<=\b{mark})(?={rest.replace(',}', '}')})"), True)
        for marks, rest in _KEYS.items()
        for mark in marks
    ),
    ("earer ", re.compile(rf"earer (?<=[Bb]earer )(?={_BEARER.replace(',}=*', '}')})"), False),
    ("://", re.compile(rf"://(?={_PASSWORD})"), False),
]
#: The same where a word too much does no harm: also short, masked, and written with the other of - and _.
_WIDE_FORM = re.compile(
    rf"\b(?:{'|'.join(mark.rstrip('-_') + ('[-_]' if mark[-1] in '-_' else '') for mark in _MARKS)})[\w*.-]{{4,}}"
    r"|(?i:bearer\s+)\S+|(?<=://)[^/\s@]+@"
)


def redacted(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return a text without the given secrets and without any that show by their form."""
    if secrets:
        text = _without(text, secrets)
    if len(text) > WINDOW:
        return _redacted_long(text)
    for sign in _SIGNS if len(text) >= _SHORTEST else _SHORT_SIGNS:
        if sign in text:
            return _FORM.sub(REDACTED, text)
    return text


def hidden(words: str, secrets: tuple[str, ...] = ()) -> str:
    """Return the words of an error without the given secrets and without what may be one. For short texts."""
    return _WIDE_FORM.sub(REDACTED, _without(words, secrets))


def _without(text: str, secrets: tuple[str, ...]) -> str:
    """Return a text without some secrets; those that might be words are cut out only where they stand as such."""
    for secret in secrets:
        if not secret or secret not in text:
            continue
        if len(secret) >= WORD_LENGTH or (len(secret) >= SHORT_LENGTH and not secret.isalpha()):
            text = text.replace(secret, REDACTED)
        else:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", REDACTED, text)
    return text


def _redacted_long(text: str) -> str:
    """Do what `_FORM.sub` does, many times faster, and in short calls, between which other threads run."""
    parts: list[str] = []
    kept = 0  # all before is in parts
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
        for start in sorted(starts):
            if start >= kept and (secret := _FORM.match(text, start)) is not None:
                parts += (text[kept:start], REDACTED)
                kept = secret.end()
    return "".join((*parts, text[kept:]))
