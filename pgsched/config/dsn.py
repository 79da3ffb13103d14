"""DSNs: which forms there are, and how one is shown. Never connects, and shows nothing that it isn't sure of."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, quote_plus, unquote

from pgsched.domain.mask import HIDDEN, Mask

EMBEDDED = "embedded"

ALLOWED = "postgresql://USER@HOST/DATABASE, host=... dbname=..., embedded, or embedded:FOLDER"

NOT_SHOWN = "(not shown: a DSN that can't be taken apart)"

SHORTEST_SECRET = 8
"""Characters. A shorter password is hidden only where a DSN has it: it may be part of any word."""

SHOWN_PARAMETERS = frozenset({
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "options",
    "passfile",
    "port",
    "require_auth",
    "service",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
})
"""What libpq knows and is no secret. Whatever else stands in a DSN may be the rest of a password badly quoted."""

# No part may hold a raw `@`, `?` or `#`: in front of the real `@` they would be part of a password. Nor `&`, `;` or
# `=` before the query: who forgets the `?` would see the password.
_WORD = r"[^:,@/?#&;=\[\]\s]*"
_HOST = rf"(?:\[[0-9A-Fa-f:.%]+\]|{_WORD})(?::[0-9]*)?"
_URL = re.compile(
    r"(?P<scheme>postgres(?:ql)?://)"
    rf"(?:(?P<user>{_WORD})(?P<password>:[^@/?#\s]*)?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)"
    r"(?P<path>/[^@?#&;=\s]*)?"
    r"(?:\?(?P<query>[^@?#\s]*))?"
)
_ESCAPE = re.compile("%[0-9A-F]{2}")
# Atomic, as libpq reads it: a pair is never taken apart in another way, which would also take for ever to try.
_PAIR = re.compile(
    r"(?>\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?!')(?:[^\s\\]|\\.)*)(?=\s|$))", re.DOTALL
)


def is_embedded(dsn: str) -> bool:
    """Whether a DSN asks for the embedded Postgres: `embedded`, or `embedded:FOLDER`."""
    return dsn == EMBEDDED or (dsn.startswith(f"{EMBEDDED}:") and len(dsn) > len(EMBEDDED) + 1)


def checked_dsn(dsn: str) -> str:
    """A DSN of a form that there is, without blanks around it. Raises: ValueError, which never quotes the DSN."""
    dsn = dsn.strip()  # a secret read from a file often ends with a newline
    scheme, has_scheme, _ = dsn.partition("://")
    if has_scheme and "=" not in scheme:
        if scheme not in {"postgres", "postgresql"}:
            shown = scheme if re.fullmatch(r"[a-z0-9+.-]{1,30}", scheme) else "it has"
            raise ValueError(f"the scheme {shown} is not postgresql")
    elif not (is_embedded(dsn) or "=" in dsn):
        raise ValueError("this is no DSN (not shown: it may hold a password)")
    if "\0" in dsn:
        raise ValueError("this DSN holds a NUL character")
    if re.search("[\ud800-\udfff]", dsn):
        raise ValueError("this DSN is not UTF-8")
    return dsn


def masked_dsn(dsn: str) -> str:
    """The DSN with its secrets as `***`, or a remark where it can't be taken apart with certainty."""
    if is_embedded(dsn):
        return dsn
    if url := _URL.fullmatch(dsn):
        return _masked_url(url)
    if "://" not in dsn.partition("=")[0] and re.fullmatch(
        rf"(?:{_PAIR.pattern})+\s*", dsn, re.DOTALL
    ):
        return " ".join(f"{key}={_shown(key, value)}" for key, value in _PAIR.findall(dsn))
    return NOT_SHOWN


def mask_of(dsn: str) -> Mask:
    """What hides the DSN and its password in texts of others, such as the errors of tasks that connect by it.

    A password that is short, or that is in the rest of the DSN (`postgres`, say), is hidden only as a DSN has it.
    """
    shown = masked_dsn(dsn)
    if shown == dsn:
        return Mask()
    replaced = {dsn: shown}
    for before, password, after in _passwords(dsn):
        replaced[before + password + after] = before + HIDDEN + after
        plain = unquote(password) if "://" in dsn else re.sub(r"\\(.)", r"\1", password)
        if len(plain) >= SHORTEST_SECRET and plain not in shown and password not in shown:
            in_urls = quote(plain, safe=""), quote(plain), quote_plus(plain)
            lower = [_ESCAPE.sub(lambda match: match[0].lower(), url) for url in in_urls]
            replaced |= dict.fromkeys((password, plain, *in_urls, *lower), HIDDEN)
    escaped = {json.dumps(text, ensure_ascii=False)[1:-1]: to for text, to in replaced.items()}
    return Mask(tuple(sorted((replaced | escaped).items(), key=lambda each: -len(each[0]))))


def _passwords(dsn: str) -> list[tuple[str, str, str]]:
    """Each with what stands before and after it, where libpq finds it: also in a DSN that isn't shown."""
    if "://" in dsn.partition("=")[0]:
        within = re.findall(r"://[^:@/]*(:)([^@/]+)(@)", dsn)
        return within + re.findall(r"[?&](password=)([^&]+)()", dsn)
    pairs = [(key, value.strip("'")) for key, value in _PAIR.findall(dsn)]
    return [("password=", value, "") for key, value in pairs if key == "password" and value]


def _masked_url(url: re.Match[str]) -> str:
    user = url["user"]
    account = "" if user is None else f"{user}{f':{HIDDEN}' if url['password'] else ''}@"
    query = "" if url["query"] is None else f"?{_masked_query(url['query'])}"
    return f"{url['scheme']}{account}{url['hosts']}{url['path'] or ''}{query}"


def _masked_query(query: str) -> str:
    pairs = [part.partition("=") for part in query.split("&")]
    return "&".join(f"{key}{equals}{_shown(unquote(key), value)}" for key, equals, value in pairs)


def _shown(key: str, value: str) -> str:
    """A DSN within a DSN (`dbname=postgresql://...`) may hold a password too."""
    is_plain = key in SHOWN_PARAMETERS and "://" not in unquote(value) and "=" not in unquote(value)
    return value if is_plain or (key == "options" and "://" not in unquote(value)) else HIDDEN
