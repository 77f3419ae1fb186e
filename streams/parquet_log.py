"""Parquet event logs: rows as JSON events.

Two shapes are read. A column ``value`` (bytes or text) holds each event's JSON as it is. Otherwise the
columns are the event's own fields: ``action_name`` and ``timestamp`` are needed, any other is optional;
``event_attributes`` may be a struct or JSON text, or its parts columns with dots in their names
(``event_attributes.object.title``). Nulls are left out. A ``timestamp`` column that holds moments needs a
time zone; numbers and text follow the event contract.

A small file can stand for a lot of text: one value that a million rows point to, pages of zeros. So text is
read as its dictionary, rows are made a few at a time, and a column that unpacks to too much is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from streams.errors import DatasetError
from streams.records import MAX_LINE_BYTES

_BATCH_ROWS: Final = 4096
_ROWS_AT_ONCE: Final = 16
# Of one column in one row group; writers make row groups of 0.1 to 1 million rows.
MAX_COLUMN_BYTES: Final = 1 << 30
_NEEDED: Final = ("action_name", "timestamp")


def read_parquet(path: Path) -> Iterator[tuple[int, bytes]]:
    """(row number from 1, JSON event) of each row. Raises DatasetError."""
    try:
        with pq.ParquetFile(path, read_dictionary=_texts(path)) as log:
            values = _read_value if "value" in log.schema_arrow.names else _read_columns
            _check_schema(path, log.schema_arrow)
            yield from enumerate(chain.from_iterable(map(values, log.iter_batches(_BATCH_ROWS))), 1)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(
            f"The Parquet log is torn or damaged: {path}: {error}.", action="Copy or write it again."
        ) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise DatasetError(
            f"The Parquet log has a row that is no event or a name that is no text: {path}: {error}.",
            action="Name and type the columns as the event contract does: `aigq events schema`.",
        ) from error


def _texts(path: Path) -> list[str]:
    """The columns of text or bytes. Raises DatasetError for one that unpacks to too much."""
    with pq.ParquetFile(path) as log:
        about, schema = log.metadata, log.schema_arrow
    for group in range(about.num_row_groups):
        for place in range(about.num_columns):
            column = about.row_group(group).column(place)
            if column.total_uncompressed_size > MAX_COLUMN_BYTES:
                raise DatasetError(
                    f"The column {column.path_in_schema} of {path} unpacks to "
                    f"{column.total_uncompressed_size:,} bytes in one row group.",
                    action=f"Write smaller row groups; the limit is {MAX_COLUMN_BYTES:,} bytes.",
                )
    return [
        field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_binary(field.type)
    ]


def _check_schema(path: Path, schema: pa.Schema) -> None:
    if "value" in schema.names:
        return
    missing = [name for name in _NEEDED if name not in schema.names]
    if missing:
        raise DatasetError(
            f"{path} has no column {' and no column '.join(missing)}, nor a column value; "
            f"it has {', '.join(schema.names)}.",
            action="Name the columns as the event contract does: `aigq events schema`.",
        )
    moment = schema.field("timestamp").type
    if pa.types.is_date(moment) or (pa.types.is_timestamp(moment) and moment.tz is None):
        raise DatasetError(
            f"The column timestamp of {path} has no time zone ({moment}).",
            action="Write it with one (UTC), or as epoch milliseconds.",
        )


def _read_value(batch: pa.RecordBatch) -> Iterator[bytes]:
    for scalar in batch.column("value"):
        value = scalar.as_py()
        yield (value.encode() if isinstance(value, str) else bytes(value or b""))[:MAX_LINE_BYTES]


def _read_columns(batch: pa.RecordBatch) -> Iterator[bytes]:
    rows = _with_epoch_ms(batch)
    for start in range(0, rows.num_rows, _ROWS_AT_ONCE):
        for row in rows.slice(start, _ROWS_AT_ONCE).to_pylist():
            yield orjson.dumps(_nested(row), default=_plain)[:MAX_LINE_BYTES]


def _with_epoch_ms(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Moments as integers: Python's datetime would cost more and lose nanoseconds with a warning."""
    place = batch.schema.get_field_index("timestamp")
    column = batch.column(place)
    if not pa.types.is_timestamp(column.type):
        return batch
    epoch_ms = column.cast(pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64())
    return batch.set_column(place, "timestamp", epoch_ms)


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """`row` without nulls, and with the parts of dotted names put where they belong."""
    event: dict[str, Any] = {}
    for name, value in row.items():
        kept = _without_nulls(value)
        if kept is None:
            continue
        *parents, leaf = name.split(".")
        place = event
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ValueError(f"there is a column {parent}, and {name} besides")
        place[leaf] = kept
    attributes = event.get("event_attributes")
    if isinstance(attributes, str):
        event["event_attributes"] = orjson.Fragment(attributes)
    return event


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _without_nulls(part) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part is not None} or None
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return value


def _plain(value: Any) -> Any:
    """What JSON has no word for."""
    if isinstance(value, Decimal):
        if value != value.to_integral_value():
            return float(value)
        return int(value) if abs(value) < 2**63 else str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.isoformat() if isinstance(value, date) else str(value)
