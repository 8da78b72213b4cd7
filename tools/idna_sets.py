"""Write schemas/idna_sets.py: which characters a label of IDNA2008 may hold, and where. Run by `make idna`.

RFC 5892 derives them from Unicode, and so does this from the Unicode data of the Python that runs it. They are written
down because deriving them takes 20 ms, for which a mask would have to wait. With `--check` nothing is written: the exit
code is 1 where the file is not what would be written. A file of another version of Unicode is not compared.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from guard.schemas import charsets, idna_sets
from guard.schemas.charsets import Ranges
from guard.schemas.idna import IN_CONTEXT

TARGET = Path(__file__).parents[1] / "schemas" / "idna_sets.py"
WIDTH = 100  #: Of a line of numbers.

#: Scripts that are valid in whole blocks: nothing in them needs a look.
_WHOLE = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3))
#: Old Hangul, and blocks of marks for symbols and of variation selectors: disallowed (RFC 5892, 2.6 and 2.9).
_NEVER = (
    (0x1100, 0x11FF),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x20D0, 0x20FF),
    (0xA960, 0xA97C),
    (0xD7B0, 0xF8FF),
    (0xFE00, 0xFE0F),
)
#: Exceptions (RFC 5892, 2.6), and characters whose neighbours matter (its appendix A).
_VALID = "\u00df\u03c2\u06fd\u06fe\u0f0b\u3007"
_DISALLOWED = "\u034f\u0640\u07fa\u302e\u302f\u3031\u3032\u3033\u3034\u3035\u303b"
#: Viramas that validators don't know, after which a joiner is not written.
_NEW_VIRAMAS = "\u0d3b\u0d3c\u0eba\u103a\u1715\u1bab\ua82c\ua9c0\uaaf6"
_LETTERS = frozenset({"Ll", "Lu", "Lo", "Lm", "Nd", "Mn", "Mc"})
#: Bidi classes that may be in any label.
_NEUTRAL = ("ES", "CS", "ET", "ON", "BN", "NSM")
_JOINERS = ((0x200C, 0x200D), (0x2D, 0x2D))  # BN and ES: neither is a letter of a direction
_DIGITS, _SMALL, _HYPHEN = (0x30, 0x39), (0x61, 0x7A), (0x2D, 0x2D)


def _is_valid(code: int) -> bool:
    """Say whether RFC 5892 derives PVALID for a character that is in no block above."""
    char = chr(code)
    if char in _VALID:
        return True
    if unicodedata.category(char) not in _LETTERS or char in _DISALLOWED or char in IN_CONTEXT:
        return False
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", char).casefold()) == char


def _looked_at() -> Iterator[int]:
    """Yield the characters from U+0080 to U+FFEF that are in no block above."""
    start = 0x80
    for low, high in (*sorted((*_WHOLE, *_NEVER)), (0xFFF0, 0xFFFF)):
        yield from range(start, low)
        start = high + 1


@cache
def _valid() -> tuple[int, ...]:
    """Return the characters below U+10000 that need no look at their neighbours, those of whole blocks aside."""
    return tuple(code for code in _looked_at() if _is_valid(code))


@cache
def _composing() -> frozenset[str]:
    """Return the characters that another before them may swallow in normal form C."""
    parts = (unicodedata.decomposition(chr(code)) for code in _looked_at())
    return frozenset(chr(int(part.split()[1], 16)) for part in parts if " " in part and "<" not in part)


def _set(holds: Callable[[str], bool], *more: tuple[int, int]) -> Ranges:
    """Return the valid characters for which something holds, and more."""
    return charsets.union([*((code, code) for code in _valid() if holds(chr(code))), *more])


def _named(low: int, high: int, *heads: str) -> Callable[[str], bool]:
    return lambda char: low <= ord(char) <= high and unicodedata.name(char, "").startswith(heads)


def _of(*classes: str, more: tuple[tuple[int, int], ...] = ()) -> Ranges:
    """Return the characters of these Bidi classes."""
    inside = [(ord(c), ord(c)) for c in IN_CONTEXT if unicodedata.bidirectional(c) in classes]
    ascii_part = [*([_DIGITS] if "EN" in classes else []), *([_SMALL] if "L" in classes else [])]
    whole = _WHOLE if "L" in classes else ()
    return _set(lambda char: unicodedata.bidirectional(char) in classes, *inside, *whole, *ascii_part, *more)


def sets() -> dict[str, tuple[str, Ranges]]:
    """Return each set with what it is, by name."""
    combining, composing = unicodedata.combining, _composing()
    return {
        "PLAIN": (
            "Characters that need no look at their neighbours, and compose with none.",
            _set(lambda c: c not in composing, *_WHOLE, _SMALL, _DIGITS, _HYPHEN),
        ),
        "MARKS": ("Combining marks among them.", _set(lambda c: combining(c) > 0 and c not in composing)),
        "LEADING": ("Characters that must not begin a label.", _set(lambda c: unicodedata.category(c)[0] == "M")),
        "VIRAMAS": ("Viramas that validators know.", _set(lambda c: combining(c) == 9 and c not in _NEW_VIRAMAS)),
        "GREEK": ("Small letters.", _set(_named(0x370, 0x3FF, "GREEK SMALL LETTER"))),
        "HEBREW": ("Letters.", _set(_named(0x590, 0x5FF, "HEBREW LETTER"))),
        "KANA": ("Hiragana and Katakana, and the unified ideographs.",
                 _set(_named(0x3040, 0x31FF, "HIRAGANA LETTER", "KATAKANA LETTER"), (0x4E00, 0x9FFF))),
        "FREE": ("What may be in a label without letters from right to left.",
                 _of("L", "EN", *_NEUTRAL, more=_JOINERS)),
        "RIGHTWARD": ("Letters from left to right: L.", _of("L")),
        "RIGHTWARD_END": ("What ends such a label, marks aside: L, EN.", _of("L", "EN")),
        "LEFTWARD": ("Letters from right to left: R, AL.", _of("R", "AL")),
        "LEFTWARD_END": ("What ends such a label, marks aside: R, AL, EN, AN.", _of("R", "AL", "EN", "AN")),
        "LEFTWARD_ALL": (
            "What may be in such a label.", _of("R", "AL", "AN", "EN", *_NEUTRAL, more=_JOINERS)
        ),
        "EUROPEAN_NUMBERS": ("European digits: EN.", _of("EN")),
        "ARABIC_NUMBERS": ("Arabic digits and their signs: AN.", _of("AN")),
        "NONSPACING": ("Nonspacing marks: NSM.", _of("NSM")),
    }  # fmt: skip


def written(name: str, what: str, ranges: Ranges) -> str:
    """Return the lines of one set."""
    numbers, end = [], 0
    for low, high in ranges:
        numbers += [str(low - end), str(high - low)]
        end = high
    lines = textwrap.wrap(" ".join(numbers), WIDTH)
    text = f'"{lines[0]}"' if len(lines) == 1 else "(\n" + "".join(f'    "{line} "\n' for line in lines) + ")"
    return f"#: {what}\n{name} = {text}\n"


def module() -> str:
    """Return the text of the module."""
    head = f'''"""Which characters a label of IDNA2008 may hold, and where: see idna.py. Written by `make idna`.

Derived by RFC 5892 from Unicode {unicodedata.unidata_version}, below U+10000. A set has two numbers for each range: how
far it begins behind the last one's end, and how far it reaches.
"""

from __future__ import annotations

UNICODE = "{unicodedata.unidata_version}"  #: The version it was derived from.

'''
    return head + "".join(written(name, what, ranges) for name, (what, ranges) in sets().items())


def main() -> int:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    if not parser.parse_args().check:
        TARGET.write_text(module(), encoding="utf-8")
        return 0
    if unicodedata.unidata_version != idna_sets.UNICODE:
        print(f"not compared: this Python has Unicode {unicodedata.unidata_version}, the file {idna_sets.UNICODE}")
        return 0
    is_same = TARGET.read_text(encoding="utf-8") == module()
    print("as derived" if is_same else "schemas/idna_sets.py is not what `make idna` writes")
    return not is_same


if __name__ == "__main__":
    sys.exit(main())
