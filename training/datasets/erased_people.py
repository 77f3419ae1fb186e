"""Who was deleted or withdrew consent, by the log itself and by receipts: what was before teaches nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

import orjson
from pydantic import ValidationError

from agents.erasure.receipt import Receipt, is_genuine, subject_of
from streams.errors import DatasetError

WITHDRAWN: Final = "consent_withdrawn"
DELETED: Final = "deleted"


@dataclass(slots=True)
class Forgotten:
    """Deletions and withdrawals in a log, by person and place in its order."""

    _ends: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def up_to(self, person: str, order: int, reason: str) -> None:
        """Nothing of the person from before `order` counts."""
        self._ends.setdefault(person, []).append((order, reason))

    def why(self, person: str, order: int) -> str:
        """Why what stands at `order` does not count: the first reason after it; "" if it does."""
        return next((reason for end, reason in self._ends.get(person, ()) if order <= end), "")


@lru_cache(maxsize=65_536)
def subject(person: str) -> str:
    """The person as receipts name them."""
    return subject_of(person)


def read_erased(path: Path) -> dict[str, int]:
    """Digest of a person → event time (ms) of their last deletion.

    path: what `aigq user receipts --json` prints, or a receipt a line. Raises DatasetError: a file with a
    receipt that was changed, or with none, would let deleted people in.
    """
    erased: dict[str, int] = {}
    for receipt in _receipts(path):
        if not is_genuine(receipt):
            raise DatasetError(
                f"{path} holds a receipt whose signature is wrong; nothing was built.",
                action="Take the receipts anew: aigq user receipts --json.",
            )
        erased[receipt.subject] = max(receipt.deleted_ms, erased.get(receipt.subject, 0))
    return erased


def _receipts(path: Path) -> list[Receipt]:
    try:
        lines = [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
        values = [one for line in lines for one in line.get("receipts", [line])]
        return [Receipt.model_validate(value) for value in values]
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.", action="Check the path.") from error
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValidationError) as error:
        raise DatasetError(
            f"{path} holds no receipts: {type(error).__name__}; nothing was built.",
            action="Take them with: aigq user receipts --json > receipts.jsonl",
        ) from error
