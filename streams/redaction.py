"""One place that takes secrets out of text before anybody sees it: logs, errors, tracebacks, settings.

Two ways, since neither is enough alone: what looks like a login in a URL goes, and so does every secret that
this process was given (`hide`), wherever it stands.
"""

from __future__ import annotations

import json
import re
from typing import Final
from urllib.parse import quote, unquote

HIDDEN: Final = "***"
# Shorter ones are no secrets, and would turn every text into stars.
LEAST_CHARS: Final = 6
# scheme://user:password@host, up to the last @ before the path.
_LOGIN: Final = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/'\"<>]*@", re.IGNORECASE)

_known: set[str] = set()


def hide(secret: str) -> None:
    """From now on `without_secrets` takes it out of every text, also as URLs, repr and JSON write it."""
    for text in (secret, unquote(secret)):
        # An environment may hold bytes that are no UTF-8: half a surrogate pair each, in Python.
        quoted = (quote(text, safe=safe, errors="surrogatepass") for safe in ("", "/"))
        for form in (text, *quoted, repr(text)[1:-1], json.dumps(text)[1:-1]):
            if len(form) >= LEAST_CHARS:
                _known.add(form)


def hide_login(url: str) -> None:
    """Hide the password of a URL."""
    login = url.partition("://")[2].rpartition("@")[0]
    hide(login.partition(":")[2])


def without_secrets(text: str) -> str:
    """The text, with stars in place of logins in URLs and of everything hidden."""
    for secret in sorted(_known, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return _LOGIN.sub(lambda found: f"{found['scheme']}{HIDDEN}@", text) if "@" in text else text
