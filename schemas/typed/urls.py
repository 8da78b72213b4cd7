"""Texts of URLs as Pydantic reads them, by the WHATWG's URL standard, as regular expressions of ECMA-262.

They hold what Pydantic writes, but for hosts in Punycode (`xn--`), of which it takes Punycode to say what they are. The
standard also reads texts that it then writes otherwise (`HTTP:\\\\x`); such are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from guard.schemas.string_formats import IPV4

#: Schemes that the standard knows: each with a host, but for `file`.
SPECIAL = ("http", "https", "ws", "wss", "ftp")

_PORT = "(?::(?:[0-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
_LABEL = "(?!xn--)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
#: A name whose last label is no number: one that ends in a number is an IPv4 address, or wrong.
_NAME = f"(?:{_LABEL}\\.)*(?!xn--)[a-z_](?:[a-z0-9_-]*[a-z0-9_])?"
_GROUP = "(?:0|[1-9a-f][0-9a-f]{0,3})"
_GROUPS = f"(?:{_GROUP}(?::{_GROUP})*)?"
#: An address between brackets: eight groups, or fewer around `::`, which as many colons as that tell.
_IPV6 = f"\\[(?:(?:{_GROUP}:){{7}}{_GROUP}|(?=(?:[0-9a-f]*:){{2,7}}[0-9a-f]*\\]){_GROUPS}::{_GROUPS})\\]"
_HOST = f"(?:{_NAME}|{IPV4}|{_IPV6})"
#: The host of any other scheme; several of them are told apart by commas.
_OPAQUE = "[A-Za-z0-9._~!$&'()*+;=%-]+"
_OPAQUE_HOST = f"(?:{_OPAQUE}|{_IPV6})"
_WORD = "[A-Za-z0-9._~!$&'()*+,;%-]"
_USER = f"(?:(?:{_WORD}+(?::{_WORD}*)?|:{_WORD}+)@)?"
_PATH = "(?:/[!$-.0-;=@-Z\\[\\]_a-z|~]*)*"
_QUERY = "(?:\\?[!$-;=?-~]*)?(?:#[!#-;=?-_a-~]*)?"
_REST = f"{_PATH}{_QUERY}"


def url(schemes: Sequence[str] | None, *, needs_host: bool) -> str:
    """Return the texts of URLs with one of these schemes; None is any scheme."""
    if schemes is None:
        named = "|".join((*SPECIAL, "file"))
        other = f"(?!(?:{named}):)[a-z][a-z0-9+.-]*"
        ways = [_special(SPECIAL), _file(needs_host), f"{other}://{_authority(needs_host)}{_REST}"]
        return "|".join(ways if needs_host else [*ways, f"{other}:[!$-.0-;=@-_a-z|~][!$-;=@-_a-z|~]*{_QUERY}"])
    special = [scheme for scheme in schemes if scheme in SPECIAL]
    other_schemes = [scheme for scheme in schemes if scheme not in (*SPECIAL, "file")]
    ways = [_special(special)] if special else []
    ways += [_file(needs_host)] if "file" in schemes else []
    ways += [f"{_any(other_schemes)}://{_authority(needs_host)}{_REST}"] if other_schemes else []
    return "|".join(ways)


def multi_host_url(schemes: Sequence[str] | None, *, needs_host: bool) -> str:
    """Return the texts of URLs of databases, which may have several hosts."""
    special = [scheme for scheme in schemes or () if scheme in SPECIAL]
    other = [scheme for scheme in schemes or () if scheme not in SPECIAL]
    ways = [f"{_any(special)}://{_hosts(_HOST)}{_REST}"] if special else []
    if other:
        ways.append(f"{_any(other)}://{_hosts(_OPAQUE_HOST)}{_REST}")
        if not needs_host:  # then a comma would tell hosts apart wherever it is
            ways.append(f"{_any(other)}://(?![^]*,){_REST}")
    if schemes is None:
        ways.append(f"(?!(?:{'|'.join((*SPECIAL, 'file'))}):)[a-z][a-z0-9+.-]*://{_hosts(_OPAQUE_HOST)}{_REST}")
    return "|".join(ways)


def _hosts(host: str) -> str:
    one = f"{_USER.replace(',', '')}{host}{_PORT}"
    return f"{one}(?:,{one})*"


def _special(schemes: Sequence[str]) -> str:
    return f"{_any(schemes)}://{_USER}{_HOST}{_PORT}{_REST}"


def _file(needs_host: bool) -> str:
    return f"file://{_HOST if needs_host else _HOST + '?'}(?:/[!$-.0-;=@-Z\\[\\]_a-z|~]*)+{_QUERY}"


def _authority(needs_host: bool) -> str:
    return f"{_USER}{_OPAQUE_HOST}{_PORT}" if needs_host else f"(?:{_USER}{_OPAQUE_HOST}{_PORT})?"


def _any(schemes: Sequence[str]) -> str:
    texts = [scheme.replace("+", "\\+").replace(".", "\\.") for scheme in schemes]
    return f"(?:{'|'.join(texts)})" if len(texts) > 1 else texts[0]
