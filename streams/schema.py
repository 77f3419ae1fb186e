"""The JSON Schemas of what crosses our borders, made from the models: ``python -m streams.schema``.

A schema may be stricter than the decoder, never laxer: what it accepts, AIGQ can use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson

from streams.hint_list import HintList
from streams.records import EARLIEST_MS, Action, BehaviorEvent

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FOLDER: Final = Path("docs/schema")
# Digits from the year 2000 to 2286, and RFC 3339 with a zone from 2000 on.
EPOCH_MS_TEXT: Final = "^(9[5-9][0-9]{10}|[1-9][0-9]{12})$"
ZONED_TEXT: Final = (
    "^[2-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)

Schema = dict[str, Any]


def hint_list_schema() -> Schema:
    """Of a value under ``aigq:1:hints:{user}``; fields in the order in which they are written."""
    return {"$schema": DIALECT, **HintList.model_json_schema(mode="validation")}


def event_schema() -> Schema:
    """Of a record on ``behavior-events``, with the rules that the model's fields alone do not tell."""
    schema: Schema = {"$schema": DIALECT, **BehaviorEvent.model_json_schema()}
    properties = schema["properties"]
    properties["action_name"]["examples"] = list(Action)
    properties["timestamp"] = _timestamp(properties["timestamp"]["description"])
    properties["user_query"] = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    schema["anyOf"] = [_required("user_id"), _required("client_id")]
    schema["if"] = {"properties": {"action_name": {"const": Action.SEARCH}}}
    schema["then"] = {
        "properties": {"user_query": {"type": "string", "pattern": r"\S"}},
        "required": ["user_query"],
    }
    return schema


def schema_files() -> dict[str, bytes]:
    """File name to content, as they stand in ``docs/schema``."""
    schemas = {
        "behavior-event.schema.json": event_schema(),
        "hint-list.schema.json": hint_list_schema(),
    }
    return {
        name: orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        for name, schema in schemas.items()
    }


def _timestamp(description: str) -> Schema:
    return {
        "title": "Timestamp",
        "description": description,
        "anyOf": [
            {"type": "integer", "minimum": EARLIEST_MS},
            {"type": "string", "pattern": EPOCH_MS_TEXT},
            {"type": "string", "format": "date-time", "pattern": ZONED_TEXT},
        ],
    }


def _required(name: str) -> Schema:
    return {"required": [name], "properties": {name: {"type": "string"}}}


def write_schemas(folder: Path = FOLDER) -> None:
    """Write all schema files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in schema_files().items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    write_schemas()
