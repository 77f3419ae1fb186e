"""What would happen to one query at each gate: for people who ask."""

from __future__ import annotations

from typing import Any

import redis.asyncio

from agents.hints.filters import forbidden, has_fit_length
from streams.deny_rules import DenyRules
from streams.personal_data import personal_kind
from streams.query_text import normalise_query
from streams.redis_errors import store_errors
from streams.redis_keys import DENY


async def verdict(client: redis.asyncio.Redis, query: str, rules: DenyRules) -> dict[str, Any]:
    """The query with its rules, what personal data it holds, and the gates that stop it. Raises StoreError.

    A rule reaches readers with the queries that it matches, once somebody finds them where readers read.
    """
    normal: Any = normalise_query(query).encode("utf-8", "surrogatepass")  # redis-py types it as text
    with store_errors("The deny set was not read"):
        is_in_set = bool(await client.sismember(DENY, normal))
    personal, reason = personal_kind(query), forbidden(query, rules)
    gates = {
        "training": reason is not None,
        "publishing": reason is not None or not has_fit_length(query),
        "reading": personal is not None or is_in_set,
    }
    return {
        "query": query,
        "rules": [rule.as_dict() for rule in rules.all_denying(query)],
        "personal": personal,
        "gates": [name for name, stops in gates.items() if stops],
    }
