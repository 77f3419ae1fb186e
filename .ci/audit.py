"""Ask whether a pinned package has a known vulnerability, where the service that knows can be reached.

    python .ci/audit.py constraints.txt .venv/audit

pip-audit alone cannot be trusted here: it leaves with 1 both for a finding and for a service that does not
answer, and with 0 when a mirror knows none of the packages. So the service is asked for one package first
(a few seconds at most), and what pip-audit says is read, not its exit code. pip-audit has a folder of its
own: neither the program nor its tests need it. Leaves with 1 for findings only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

SERVICE = "https://pypi.org/pypi"
PIP_AUDIT = "pip-audit==2.10.1"
ANSWER_WITHIN_S = 3
AUDIT_WITHIN_S = 600


class Verdict(NamedTuple):
    """findings: a line each. audited, unknown: numbers of packages."""

    findings: tuple[str, ...]
    audited: int
    unknown: int


def knows_vulnerabilities(service: str, name: str, version: str) -> bool:
    """Whether the service answers, and with what it is asked for."""
    try:
        url = f"{service}/{name}/{version}/json"
        with urllib.request.urlopen(url, timeout=ANSWER_WITHIN_S) as response:  # noqa: S310 - https, above
            return "vulnerabilities" in json.load(response)
    except (OSError, ValueError):  # away, refused, or no JSON
        return False


def first_pin(constraints: str) -> tuple[str, str]:
    """Name and version of the first package."""
    name, _, version = constraints.split()[0].partition("==")
    return name, version


def judge(report: str) -> Verdict | None:
    """What pip-audit's JSON says; None: it says nothing, since it broke off."""
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return None
    findings = tuple(
        f"{one['name']} {one['version']}: {bad['id']}, fixed in {' '.join(bad['fix_versions']) or 'none'}"
        for one in packages
        for bad in one.get("vulns", ())
    )
    unknown = sum("skip_reason" in one for one in packages)
    return Verdict(findings, len(packages) - unknown, unknown)


def _ask(constraints: Path, folder: Path) -> str:
    program = folder / "bin" / "pip-audit"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)  # noqa: S603 - our own words
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, PIP_AUDIT], check=True)  # noqa: S603 - the same
    words = ["--disable-pip", "--no-deps", "--progress-spinner", "off", "-f", "json", "-r", str(constraints)]
    done = subprocess.run(  # noqa: S603 - the same
        [str(program), *words], capture_output=True, text=True, timeout=AUDIT_WITHIN_S, check=False
    )
    return done.stdout


def main(constraints: Path, folder: Path, service: str = SERVICE) -> int:
    """Print one line, or the findings; the exit code."""
    if not knows_vulnerabilities(service, *first_pin(constraints.read_text(encoding="utf-8"))):
        print(f"pip-audit: not run, {service} does not tell vulnerabilities from here.")
        return 0
    try:
        verdict = judge(_ask(constraints, folder))
    except (OSError, subprocess.SubprocessError) as error:
        print(f"pip-audit: not run, it could not be installed or did not end ({type(error).__name__}).")
        return 0
    if verdict is None:
        print("pip-audit: broke off, so nothing is known.")
        return 0
    print(*verdict.findings, sep="\n", end="\n" if verdict.findings else "")
    found, audited, unknown = len(verdict.findings), verdict.audited, verdict.unknown
    print(f"pip-audit: {found} findings in {audited} packages, {unknown} unknown.")
    return 1 if verdict.findings else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
