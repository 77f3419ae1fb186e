"""What a backend has to install, and the example that it will copy."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import redis

from streams import hint_store
from streams.redis_keys import hints_key
from tests.redis_databases import empty_database, list_of

BLOCKED = (
    *("faust", "kafka", "onnxruntime", "numpy", "torch", "tokenizers", "pyarrow", "structlog", "agents"),
    "cryptography",  # which redis takes where it is there
)
IMPORT = """
import sys
sys.modules.update(dict.fromkeys({blocked!r}))
before = set(sys.modules)
import streams.hint_store
top = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(*sorted(name for name in top - set(sys.stdlib_module_names) if not name.startswith("_")))
"""
# With what these need themselves.
ALLOWED = {
    *("annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"),
    *(
        "hiredis",
        "redis",
        "async_timeout",
    ),  # redis wants async_timeout before Python 3.11.3, some installs have it
    *("orjson", "streams"),
}


def test_the_reader_needs_redis_pydantic_and_orjson_alone() -> None:
    script = IMPORT.format(blocked=BLOCKED)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert {"orjson", "pydantic", "redis", "streams"} <= imported <= ALLOWED


def test_the_example_in_the_docstring_runs(redis_url: str) -> None:
    url = empty_database(redis_url, 3)
    one = list_of("household-17", "milk", "bread")
    with redis.Redis.from_url(url) as client:
        client.rpush(hints_key(one.user), one.to_json())
    paragraphs = (hint_store.__doc__ or "").split("\n\n")
    example = textwrap.dedent("\n\n".join(part for part in paragraphs if part.startswith("    ")))
    names: dict[str, object] = {}
    exec(example.replace("redis://127.0.0.1:6379/0", url), names)  # noqa: S102  # our own docstring
    assert names["shown"] == (("milk", "bread", "gift cards"), one.list_id)
