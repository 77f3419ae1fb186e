"""What may be said of an error that nobody expected: its message can repeat a query, an id, a mail."""

from __future__ import annotations

import traceback
from pathlib import Path

from streams.errors import AigqError

# Their messages speak of nodes, shapes and connections, never of what a person sent.
IMPERSONAL = ("onnxruntime.", "redis.", "kafka.", "aiokafka.")


def without_values(error: BaseException) -> str:
    """Its message if it is one of ours or speaks of machines alone; else its kind and where it was raised.

    >>> try:
    ...     int("anna@example.com")
    ... except ValueError as error:
    ...     print(without_values(error).split(" at ")[0])
    ValueError
    """
    if isinstance(error, AigqError):
        return error.message
    kind = type(error)
    if f"{kind.__module__}.".startswith(IMPERSONAL):
        return f"{kind.__name__}: {error}"[:500]
    frames = traceback.extract_tb(error.__traceback__)
    return (
        f"{kind.__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno}"
        if frames
        else kind.__name__
    )
