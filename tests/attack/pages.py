"""Operators' pages: numbers of 5,000 digits, paths that climb, methods that no page has, questions that ask for all."""

from __future__ import annotations

from attack.cases import BAD, OK, TYPED, Case, Expected, add, got

FAMILY = "pages"
ANY = OK | TYPED
NOT_THERE = frozenset({400, 404})

PAGES = (
    *(
        "/guard/live",
        "/guard/stats",
        "/guard/failures",
        "/guard/failures/kinds",
        "/guard/traces",
        "/guard/traces/1",
        "/guard/traces/1/page",
    ),
    *("/health/live", "/health/ready", "/metrics", "/openapi.json", "/v1/models", "/v1/models/m", "/ui"),
)
ENDPOINTS = (
    *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/guard/playground"),
    *("/v1/messages", "/v1/messages/count_tokens"),
)


def case(name: str, path: str, statuses: frozenset[int], method: str = "GET") -> None:
    """Register a case."""
    made = Expected(statuses, may_close=method not in ("GET", "POST", "PUT", "HEAD"), tells_others="uard" in path)
    add(Case(FAMILY, name, lambda canary, _: got(canary, path, method=method), made, method=method))


for _page in PAGES:
    case(f"{_page}", _page, ANY)
    for _method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"):
        case(f"{_page}, {_method}", _page, frozenset({400, 404, 405, 411}), _method)
    for _tail in ("/", "/x", "//", "%00", "/..", ";a=b", "%2f", "/%2e%2e/%2e%2e/etc/passwd"):
        case(f"{_page}{_tail}", _page + _tail, ANY if "models/" in _page else ANY - {500})
for _endpoint in ENDPOINTS:
    for _method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS"):
        case(f"{_endpoint}, {_method}", _endpoint, frozenset({400, 405, 404}), _method)
    case(f"{_endpoint}, POST without a body", _endpoint, BAD | {411}, "POST")
for _number in (
    *(
        "0",
        "-1",
        "1" * 20,
        "9" * 5_000,
        "1.5",
        "1e3",
        "0x1",
        "٣",
        "1" + "0" * 60_000,
        " 1",
        "+1",
        "NaN",
        "null",
        "1;drop table calls",
        "'",
        "%27%20OR%201=1",
    ),
    *("9223372036854775807", "9223372036854775808", "4611686018427387904", "..", "%2e%2e", "1%00", "01", "²"),
):
    _shown = _number if len(_number) < 30 else f"{_number[:5]}… of {len(_number):,}"
    _path = _number.encode().decode("latin-1").replace(" ", "%20")
    _right = (
        NOT_THERE | ({414, 431} if len(_number) > 60_000 else frozenset()) | (OK if _number == "01" else frozenset())
    )
    case(f"trace number {_shown}", f"/guard/traces/{_path}", _right)
    case(f"page number {_shown}", f"/guard/traces/{_path}/page", _right)
    for _name, _page in (
        ("before", "/guard/traces"),
        ("limit", "/guard/traces"),
        ("limit", "/guard/failures"),
        ("minutes", "/guard/stats"),
    ):
        _good = OK if _number in ("01", "4611686018427387904") or "%00" in _number else frozenset()
        case(
            f"{_page} {_name}={_shown}",
            f"{_page}?{_name}={_path}",
            BAD | {431} | _good | (OK if " " in _number or "+" in _number else frozenset()),
        )
for _query in (
    "limit=1&limit=2",
    "limit",
    "limit=",
    "=",
    "&" * 10_000,
    "a=b&" * 10_000,
    "%",
    "limit[]=5",
    "limit=5&" + "x" * 50_000,
    "%ff=%fe",
):
    case(f"question {_query[:30]} of {len(_query):,}", f"/guard/traces?{_query}", ANY)
for _path in (
    *(
        "/ui/../../../etc/passwd",
        "/ui/%2e%2e/%2e%2e/etc/passwd",
        "/ui/..%2f..%2fetc%2fpasswd",
        "/ui/....//etc/passwd",
        "/ui\\..\\..\\etc\\passwd",
    ),
    *(
        "/ui/%c0%ae%c0%ae/etc/passwd",
        "/ui/app.js%00.png",
        "/ui/",
        "/ui/x",
        "/static/../guard.toml",
        "/guard.toml",
        "/.env",
        "/trace.db",
        "/.git/config",
    ),
    *(
        "/guard/",
        "/guard",
        "/guard/..",
        "/GUARD/live",
        "/guard/live%20",
        "/guard%2flive",
        "/%67uard/live",
        "//guard/live",
        "/v1/../guard/live",
    ),
    *(
        "/v1/models/" + "a" * 5_000,
        "/v1/models/%2e%2e",
        "/v1/models/m%00",
        "/v1/models/é".encode().decode("latin-1"),
        "/v1/models/",
        "/v1",
    ),
    *(
        "/docs",
        "/redoc",
        "/server-status",
        "/actuator/env",
        "/debug/pprof",
        "/wp-login.php",
        "/cgi-bin/x",
        "/favicon.ico",
        "/robots.txt",
    ),
):
    case(f"path {_path[:40]}", _path, ANY)
