"""The one normalisation of query texts: two texts with the same normal form are the same query.

Deny set, Think triggers and duplicates all go by it. Readers in other languages need it too, hence
nothing but Unicode's own tables (`docs/schema/README.md` has the rule, with a JavaScript version).
"""

from __future__ import annotations

import unicodedata


def normalise_query(text: str) -> str:
    """NFKC, case folded, on one line with single spaces; idempotent.

    NFKC is applied a second time since folding can leave text decomposed.

    >>> normalise_query("  Crème\\tBRÛLÉE ")
    'crème brûlée'
    """
    if text.isascii():  # its own NFKC; nearly all queries of many shops, and readers ask for this often
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())
