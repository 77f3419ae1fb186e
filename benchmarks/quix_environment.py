"""Put our packages behind those of Quix Streams' environment: both run our code with the same of all else.

    python -m benchmarks.quix_environment .venv/quix

Quix Streams pins an older confluent-kafka and pydantic (benchmarks/quix.txt), which come first there.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import Final

PYTHON: Final = Path(sys.prefix) / "quix" / "bin" / "python"  # runs what needs quixstreams


def put_ours_behind(folder: Path) -> None:
    """Name our packages in a .pth file, which Python reads after the environment's own."""
    theirs = sysconfig.get_path("purelib", vars={"base": str(folder.resolve())})
    ours = sysconfig.get_path("purelib")
    (Path(theirs) / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n", encoding="utf-8")


if __name__ == "__main__":
    put_ours_behind(Path(sys.argv[1]))
