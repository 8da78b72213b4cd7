"""Write schemas/unicode_classes.py: which code points no property of Unicode tells apart. Run by `make unicode`.

A class is all code points that are in the same properties, of those that jsonschema_rs knows; it is asked about each
property, which takes a minute. With `--check` nothing is written: the exit code is 1 where the file is not what
would be written.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from guard.schemas import charsets
from guard.schemas.charsets import Ranges

TARGET = Path(__file__).parents[1] / "schemas" / "unicode_classes.py"
WIDTH = 100  #: Of a line of numbers.
#: The version of Unicode, and the one behind it, which must not be known yet.
UNICODE, LATER = "16.0", "17.0"

_CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cn"
_SCRIPTS = """
    Adlm Aghb Ahom Arab Armi Armn Avst Bali Bamu Bass Batk Beng Bhks Bopo Brah Brai Bugi Buhd Cakm Cans Cari Cham Cher
    Chrs Copt Cpmn Cprt Cyrl Deva Diak Dogr Dsrt Dupl Egyp Elba Elym Ethi Gara Geor Glag Gong Gonm Goth Gran Grek Gujr
    Gukh Guru Hang Hani Hano Hatr Hebr Hira Hluw Hmng Hmnp Hung Ital Java Kali Kana Kawi Khar Khmr Khoj Kits Knda
    Krai Kthi Lana Laoo Latn Lepc Limb Lina Linb Lisu Lyci Lydi Mahj Maka Mand Mani Marc Medf Mend Merc Mero Mlym Modi
    Mong Mroo Mtei Mult Mymr Nagm Nand Narb Nbat Newa Nkoo Nshu Ogam Olck Onao Orkh Orya Osge Osma Ougr Palm Pauc Perm
    Phag Phli Phlp Phnx Plrd Prti Rjng Rohg Runr Samr Sarb Saur Sgnw Shaw Shrd Sidd Sind Sinh Sogd Sogo Sora Soyo Sund
    Sunu Sylo Syrc Tagb Takr Tale Talu Taml Tang Tavt Telu Tfng Tglg Thaa Thai Tibt Tirh Tnsa Todr Toto Tutg Ugar Vaii
    Vith Wara Wcho Xpeo Xsux Yezi Yiii Zanb Zinh Zyyy
"""
_YES_OR_NO = """
    ASCII Alphabetic ASCII_Hex_Digit Bidi_Control Bidi_Mirrored Case_Ignorable Cased Changes_When_Casefolded
    Changes_When_Casemapped Changes_When_Lowercased Changes_When_Titlecased Changes_When_Uppercased Dash
    Default_Ignorable_Code_Point Deprecated Diacritic Emoji Emoji_Component Emoji_Modifier Emoji_Modifier_Base
    Emoji_Presentation Extended_Pictographic Extender Grapheme_Base Grapheme_Extend Grapheme_Link Hex_Digit Hyphen
    IDS_Binary_Operator IDS_Trinary_Operator IDS_Unary_Operator ID_Compat_Math_Continue ID_Compat_Math_Start ID_Continue
    ID_Start Ideographic Join_Control Logical_Order_Exception Lowercase Math Modifier_Combining_Mark
    Noncharacter_Code_Point Other_Alphabetic Other_Default_Ignorable_Code_Point Other_Grapheme_Extend Other_ID_Continue
    Other_ID_Start Other_Lowercase Other_Math Other_Uppercase Pattern_Syntax Pattern_White_Space
    Prepended_Concatenation_Mark Quotation_Mark Radical Regional_Indicator Sentence_Terminal Soft_Dotted
    Terminal_Punctuation Unified_Ideograph Uppercase Variation_Selector White_Space XID_Continue XID_Start
"""
_AGES = (
    "1.1 2.0 2.1 3.0 3.1 3.2 4.0 4.1 5.0 5.1 5.2 6.0 6.1 6.2 6.3 7.0 8.0 9.0 10.0 11.0 12.0 12.1 13.0 14.0 15.0 15.1"
)
_BREAKS = {
    "gcb": "CN CR EX L LF LV LVT PP RI SM T V ZWJ",
    "wb": "CR DQ EX Extend FO HL KA LE LF MB ML MN NL NU RI SQ WSegSpace ZWJ",
    "sb": "AT CL CR EX FO LE LF LO NU SC SE SP ST UP",
}
#: The properties, as `\p{...}` has them.
PROPERTIES = (
    *(f"gc={name}" for name in _CATEGORIES.split()),
    *(f"{key}={name}" for key in ("sc", "scx") for name in _SCRIPTS.split()),
    *_YES_OR_NO.split(),
    *(f"age={name}" for name in (*_AGES.split(), UNICODE)),
    *(f"{key}={name}" for key, names in _BREAKS.items() for name in names.split()),
)


def asked(name: str) -> Ranges:
    """Return the set of a property, of which the validator is asked block by block."""
    validators = charsets.validators(name)
    if validators is None:
        raise LookupError(name)
    return charsets.asked(*validators)


def runs(sets: Iterable[Ranges]) -> list[tuple[int, int]]:
    """Return the length and the class of each run of code points that no set tells apart, from 0 on."""
    turns: dict[int, set[int]] = {0: set(), charsets.MAX_CODE_POINT + 1: set()}
    for number, ranges in enumerate(sets):
        for low, high in ranges:
            turns.setdefault(low, set()).add(number)
            turns.setdefault(high + 1, set()).add(number)
    first, last = charsets.SURROGATES  # which are in no set, and go with the run before them
    turns[last + 1] = turns.pop(first, set()) ^ turns.get(last + 1, set())
    inside: frozenset[int] = frozenset()
    classes: dict[frozenset[int], int] = {}
    starts = sorted(turns)
    out = []
    for start, end in pairwise(starts):
        inside ^= turns[start]
        out.append((end - start, classes.setdefault(inside, len(classes))))
    return out


def module() -> str:
    """Return the text of the module."""
    numbers = " ".join(f"{length} {number}" for length, number in runs(map(asked, PROPERTIES)))
    lines = "".join(f'    "{line} "\n' for line in textwrap.wrap(numbers, WIDTH))
    return f'''"""Which code points no property of Unicode tells apart: see charsets.py. Written by `make unicode`."""

from __future__ import annotations

UNICODE = "{UNICODE}"  #: The version that is written down.
LATER = "{LATER}"  #: The one behind it, of which a validator that has the same knows nothing.

#: From 0 on, how long each run of code points is, and the number of its class. Surrogates go with the run before them.
RUNS = (
{lines})
'''


def main() -> int:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    is_check = parser.parse_args().check
    if charsets.validators(f"age={UNICODE}") is None or charsets.validators(f"age={LATER}") is not None:
        print(f"not compared: this jsonschema_rs has another version of Unicode than {UNICODE}")
        return 0
    if not is_check:
        TARGET.write_text(module(), encoding="utf-8")
        return 0
    is_same = TARGET.read_text(encoding="utf-8") == module()
    print("as derived" if is_same else "schemas/unicode_classes.py is not what `make unicode` writes")
    return not is_same


if __name__ == "__main__":
    sys.exit(main())
