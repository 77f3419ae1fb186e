"""The long run: ``python -m tests.fuzz.run --inputs 1050000 --seed 1``, or ``make fuzz``.

Each target is a process of its own with its share of the inputs; docs/fuzzing.md says what each does. What
is found stays in the folder and is printed; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fuzz.target import NAMES, target

EXECUTED = re.compile(rb"stat::number_of_executed_units:\s*(\d+)")


@dataclass(frozen=True, slots=True)
class Ran:
    """One target's run. findings: files with the inputs."""

    target: str
    inputs: int
    seconds: float
    findings: list[str]


def run_target(name: str, folder: Path, count: int, seed: int) -> Ran:
    """In a process of its own, so that a crash in native code ends nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.one_target", name, str(folder), str(count), str(seed)]
    started_s = time.monotonic()
    with (folder / "log").open("wb") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    found = sorted(str(file) for kind in ("crash", "oom", "timeout") for file in folder.glob(f"{kind}-*"))
    executed = EXECUTED.findall((folder / "log").read_bytes())
    if code and not found:
        found = [f"{folder}/log (exit code {code})"]
    return Ran(name, int(executed[-1]) if executed else 0, round(time.monotonic() - started_s, 1), found)


def main() -> int:
    """The exit code: 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_050_000, help="over all targets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", choices=NAMES, help="only this one; may be given again")
    parser.add_argument("--out", type=Path, default=Path("var/fuzz"))
    given = parser.parse_args()
    names = given.target or NAMES
    shares = {name: target(name).share for name in names}
    ran = []
    for name in names:
        count = max(1, round(given.inputs * shares[name] / sum(shares.values())))
        folder = given.out / f"{name}-{given.seed}-{os.getpid()}"
        ran.append(run_target(name, folder, count, given.seed))
        print(json.dumps(asdict(ran[-1])), flush=True)
    inputs, seconds = sum(one.inputs for one in ran), sum(one.seconds for one in ran)
    findings = sum(len(one.findings) for one in ran)
    print(f"{inputs:,} inputs in {seconds:,.0f} s, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
