"""What a deletion leaves in hand: a signed receipt that lists, store by store, what was found and removed.

It names the person by a digest alone: whoever knows the id can check that a receipt is theirs, and training
can leave the person out of old logs, but the list of receipts is no list of people. (Ids that can be guessed
can be tested: receipts are not public.)
"""

from __future__ import annotations

import base64
import hashlib

import orjson
from pydantic import BaseModel, ConfigDict, Field

from streams.signatures import SigningKey, verify


class StoreReceipt(BaseModel):
    """One store. found, removed, left: things, by `unit`; None: not counted. left: can be read still.

    gone_by_ms: when even what Kafka still has on disk is gone (wall clock); None: it is gone, or there is no
    bound, and `note` says why.
    """

    model_config = ConfigDict(frozen=True)

    store: str
    unit: str
    found: int | None
    removed: int | None
    left: int | None
    gone_by_ms: int | None = None
    note: str = ""


class Receipt(BaseModel):
    """A deletion, carried out. Times in wall-clock ms, except `deleted_ms`, the event's own."""

    model_config = ConfigDict(frozen=True)

    subject: str = Field(description="digest of the person's id")
    deleted_ms: int
    version: str = Field(description="lists up to this version are void")
    completed_ms: int
    topic_prefix: str
    stores: tuple[StoreReceipt, ...]
    key_id: str = ""
    public_key: str = ""
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """What the signature is over: all but itself, as JSON with sorted keys."""
        return orjson.dumps(self.model_dump(exclude={"signature"}), option=orjson.OPT_SORT_KEYS)

    @property
    def is_complete(self) -> bool:
        """Whether all is gone, or will be by a known time."""
        return all(not store.left or store.gone_by_ms is not None for store in self.stores)


def subject_of(person: str) -> str:
    """Digest of a person's id, 64 hexadecimal digits."""
    return hashlib.sha256(b"aigq-erasure\0" + person.encode("utf-8", "surrogatepass")).hexdigest()


def sign(receipt: Receipt, key: SigningKey) -> Receipt:
    """The receipt with key and signature."""
    named = receipt.model_copy(update={"key_id": key.key_id, "public_key": key.public_text})
    signature = base64.b64encode(key.sign(named.signed_bytes())).decode()
    return named.model_copy(update={"signature": signature})


def is_genuine(receipt: Receipt, public_text: str | None = None) -> bool:
    """Whether the signature is of `public_text` (default: the key that the receipt itself names)."""
    try:
        signature = base64.b64decode(receipt.signature, validate=True)
    except ValueError:
        return False
    named = public_text is None or public_text == receipt.public_key
    return named and verify(receipt.signed_bytes(), signature, receipt.public_key)
