"""`make seed-study`: runs the study `seed-comparison`, prints what it says, writes text, CSV, HDF5 and a figure.

python bench/seed/study.py [FOLDER] [--workers N]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from figure import draw
from points import read, write
from report import text

import hwsim


def main() -> None:
    """Run the study into a folder; what an earlier run answered is kept unless it was of other descriptions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/seed"))
    parser.add_argument("--workers", type=int, help="points at once; all cores by default")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    result = hwsim.sweep("seed-comparison", output=asked.folder / "points.h5", workers=asked.workers, restart=True)
    assert result is not None
    rows = read(result.output)
    report = text(rows)
    print(report)
    (asked.folder / "report.txt").write_text(report, encoding="utf-8")
    write(rows, asked.folder / "points.csv")
    draw(rows, asked.folder / "figure.png")
    ran = sum(bool(row.figures) for row in rows)
    print(f"{ran} points, {len(rows) - ran} that cannot run, {time.monotonic() - begun:.0f} s; files in {asked.folder}")


if __name__ == "__main__":
    main()
