"""Make a Common Voice archive in its released form from a folder of single clips, split as the tables say.

    python -m benchmarks.released_form CLIPS OUT.tar TABLES

CLIPS holds `LANG/validated.tsv` and `LANG/clips/*.mp3`, as the public samples of Common Voice do. TABLES holds
`common_voice-{train,dev,test}.tsv`, whose paths say which clip belongs to which split; clips that stand in none are
left out. OUT (`.tar` or `.tar.gz`) holds `RELEASE/LANG/{train,dev,test}.tsv` and `RELEASE/LANG/clips/*.mp3`.
"""

from __future__ import annotations

import argparse
import csv
import io
import tarfile
from pathlib import Path

RELEASE = "cv-corpus-6.1-sample"
SPLITS = ("train", "dev", "test")


def splits_of_clips(tables: Path) -> dict[str, str]:
    """Clip's name without folder and ending → split."""
    found = {}
    for split in SPLITS:
        with (tables / f"common_voice-{split}.tsv").open(encoding="utf8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                found[Path(row["path"]).stem] = split
    return found


def write_archive(clips: Path, out: Path, tables: Path) -> dict[str, int]:
    """Write the archive; the number of clips of each split."""
    split_of, counts = splits_of_clips(tables), dict.fromkeys(SPLITS, 0)
    with tarfile.open(out, "w:gz" if out.suffix == ".gz" else "w") as tar:
        for table in sorted(clips.glob("*/validated.tsv")):
            with table.open(encoding="utf8", newline="") as file:
                reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
                rows, columns = list(reader), reader.fieldnames or []
            for split in SPLITS:
                chosen = [row for row in rows if split_of.get(Path(row["path"]).stem) == split]
                counts[split] += len(chosen)
                lines = ["\t".join(columns), *("\t".join(row[name] or "" for name in columns) for row in chosen)]
                content = ("\n".join(lines) + "\n").encode()
                member = tarfile.TarInfo(f"{RELEASE}/{table.parent.name}/{split}.tsv")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
                for row in chosen:
                    tar.add(table.parent / "clips" / row["path"], f"{RELEASE}/{table.parent.name}/clips/{row['path']}")
    return counts


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("clips", "out", "tables"):
        options.add_argument(name, type=Path)
    given = options.parse_args()
    print(write_archive(given.clips, given.out, given.tables))
