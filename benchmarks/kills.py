"""Kill a training again and again: it must end with the very file of one that nobody disturbed.

A pre-training and a fine-tuning of toy clips, the first with averaged weights and batches in parts, the second with the
best of several epochs and clips drawn with replacement. Exits with 1 if anything differs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from hicmae.command import run
from tests.training.conftest import write_clips
from tests.training.killing import STEPS_PER_KILL, Training, differences, kill_often, sections


def measure(kind: str, clips: Path, folder: Path, num_kills: int, seed: int) -> list[str]:
    """Print what the processes of a training did; returns what tells it from an undisturbed one."""
    num_steps = STEPS_PER_KILL * num_kills
    chosen = sections(kind, num_steps)
    whole, parts = (Training(kind, clips, folder / f"{kind}-{name}", chosen) for name in ("whole", "parts"))
    undisturbed = whole.live()
    print(f"\n{kind}, {num_steps} steps\n\n| kill | while | resumed after step | killed after step | steps lost |")
    print("|---:|---|---:|---:|---:|")
    lives, row = [], ""
    for number, (moment, life) in enumerate(kill_often(parts, num_kills, seed), 1):
        if lives:
            print(f"{row} {lives[-1].last + 1 - life.first} |")
        row = f"| {number} | {moment} | {life.first} | {life.last + 1} |"
        lives.append(life)
    last = parts.live()
    print(f"{row} {lives[-1].last + 1 - last.first} |", flush=True)
    return differences(whole, undisturbed, parts, [*lives, last])


def main(
    num_kills: Annotated[int, typer.Option(help="Of each training.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Kill both trainings."""
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        write_clips(Path(folder) / "clips")
        for kind in ("pretrain", "finetune"):
            found = measure(kind, Path(folder) / "clips", Path(folder), num_kills, seed)
            problems += [f"{kind}: {problem}" for problem in found]
    print("\n" + ("\n".join(problems) or "Models, histories and losses are equal to the last bit."))
    sys.exit(bool(problems))


if __name__ == "__main__":
    run(main, "python -m benchmarks.kills", __doc__)
