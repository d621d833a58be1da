"""Stages `finetune_code` and `evaluate_code`: the code of a stage that runs many times, as one small file.

DVC writes what each stage depends on into a lock file that it rewrites after every stage; forty code files for each of
fifty folds made the rewriting slower than the stages.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from hicmae_core.files import sha256_of, write_text
from stages import layout
from stages.command import parser, run


def main() -> None:
    """Write the digests of all files that the stage's entry in dvc.yaml names."""
    arguments = parser("Write down the digests of the code that a stage uses.", "python -m stages.code finetune")
    arguments.add_argument("stage", choices=("finetune", "evaluate"))
    stage = arguments.parse_args().stage
    deps = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][f"{stage}_code"]["deps"]
    write_text(layout.code_file(stage), "".join(f"{sha256_of(path)}  {path}\n" for path in _files(map(Path, deps))))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Python files among the paths and in the folders among them."""
    for path in paths:
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


if __name__ == "__main__":
    run(main)
