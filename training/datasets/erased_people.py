"""Who was deleted, by the receipts: a log from before a deletion must not teach what the person did."""

from __future__ import annotations

from pathlib import Path

import orjson
from pydantic import ValidationError

from agents.erasure.receipt import Receipt, is_genuine
from streams.errors import DatasetError


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
