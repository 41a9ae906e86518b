"""What a gallery of ten and a hundred million would cost, computed from one of a million.

    python -m benchmarks.limits ../work/galleries/1000000 search/search.json

Disk is what the gallery's files take (`benchmarks.answering` makes them), times the speakers. A query goes through all
centres and the codes of the lists it looks into, and takes as long as its bytes do at the speed measured; building
takes k-means' and the voices' multiplications at theirs (`benchmarks.search`). Nothing beyond a million was run.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from speakerdb.index.inverted_file import FIRST, ROUNDS, TRAINED_ON, lists_for
from speakerdb.store.database import FILE

SIZES = (1_000_000, 10_000_000, 100_000_000)
DIMENSION = 192
GIB = 1 << 30


def bytes_read(size: int) -> float:
    """By one query answered at first: the centres in float32, and the codes, a byte a number, of the lists searched."""
    lists = lists_for(size)
    searched = FIRST * math.sqrt(lists) / lists
    return DIMENSION * (4.0 * lists + searched * size)


def multiplications(size: int) -> float:
    """Of a build: k-means over its sample, and each voice with each centre."""
    lists = lists_for(size)
    return float(DIMENSION * lists * (ROUNDS * TRAINED_ON * lists + size))


def main() -> None:
    """Print a row a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gallery", type=Path, help="of a million speakers with a recording each")
    parser.add_argument("search", type=Path, help="search.json of benchmarks.search")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(given.search.read_text())
    [measured] = [row for row in rows if row["engine"] == "speakerdb, faiss-ivf" and row["size"] == SIZES[0]]
    sql = (given.gallery / FILE).stat().st_size / SIZES[0]
    snapshot = sum(path.stat().st_size for path in (given.gallery / "index").iterdir()) / SIZES[0]
    table = Table("speakers", "lists", "query, ms", "building, min", "memory, GiB", "its file, GiB", "SQLite, GiB")
    for size in SIZES:
        table.add_row(
            f"{size:,}",
            f"{lists_for(size):,}",
            f"{measured['p50_ms'] * bytes_read(size) / bytes_read(SIZES[0]):.1f}",
            f"{measured['build_s'] * multiplications(size) / multiplications(SIZES[0]) / 60.0:.1f}",
            f"{measured['bytes_a_voice'] * size / GIB:.1f}",
            f"{snapshot * size / GIB:.1f}",
            f"{sql * size / GIB:.1f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
