"""How evenly users fall onto partitions and partitions onto workers, when some users do far more than others.

User number r of N by activity does r^−s of what the first does (Zipf; s = 0: all alike). Keys go to
partitions as Kafka's clients put them (murmur2), partitions to workers in turn. A worker's load is the sum of
its users' activity.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
UInt32 = npt.NDArray[np.uint32]

SEED: Final = np.uint32(0x9747B28C)
FACTOR: Final = np.uint32(0x5BD1E995)
KEY: Final = "household-%08d"


def murmur2(keys: npt.NDArray[np.uint8]) -> UInt32:
    """Kafka's hash of N keys of one length; keys: (N, bytes)."""
    count, length = keys.shape
    found = np.full(count, SEED ^ np.uint32(length))
    whole = length // 4 * 4
    for word in np.ascontiguousarray(keys[:, :whole]).view("<u4").T:
        mixed = word * FACTOR
        mixed ^= mixed >> np.uint32(24)
        found = (found * FACTOR) ^ (mixed * FACTOR)
    if whole < length:
        for place in range(length - 1, whole - 1, -1):
            found ^= keys[:, place].astype(np.uint32) << np.uint32(8 * (place - whole))
        found *= FACTOR
    found ^= found >> np.uint32(13)
    found *= FACTOR
    return found ^ (found >> np.uint32(15))


@lru_cache(maxsize=2)
def hashes(users: int) -> npt.NDArray[np.int64]:
    """What Kafka's partitioner makes of each user's key, (users,)."""
    text = "".join(KEY % number for number in range(users)).encode()
    keys = np.frombuffer(text, np.uint8).reshape(users, -1)
    return (murmur2(keys) & np.uint32(0x7FFFFFFF)).astype(np.int64)


@lru_cache(maxsize=4)
def activity(users: int, exponent: float) -> Float64:
    """Each user's share of all events, in random order, (users,)."""
    shares: Float64 = np.arange(1, users + 1, dtype=np.float64) ** -exponent
    np.random.default_rng(0).shuffle(shares)
    shares /= shares.sum()
    return shares


def most_to_mean(users: int, exponent: float, partitions: int, workers: int) -> float:
    """The busiest worker's load, in times of the mean."""
    by_partition = np.bincount(hashes(users) % partitions, activity(users, exponent), partitions)
    by_worker = np.bincount(np.arange(partitions) % workers, by_partition, workers)
    return float(by_worker.max() * workers)
