"""Put DVC's own files in order after a kill: dvc.lock, which it rewrites in place, and the list of who uses what."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import psutil
import yaml

from hicmae.command import run

EXAMPLES = """
python -m pipelines.graph.recover
dvc repro                        # whatever it could not save comes out of DVC's cache
"""
_READERS = Path(".dvc/tmp/rwlock")


def protect_locks(root: Path) -> list[Path]:
    """Keep a copy of each dvc.lock, which DVC rewrites in place; put the copy back where a kill left a torn one.

    Returns:
        The files that were put back.
    """
    restored = []
    for definition in definitions(root):
        lock = definition.with_name("dvc.lock")
        copy = _copy_of(lock, root)
        if _is_whole(lock):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(lock, copy)
        elif lock.exists() and _is_whole(copy):
            shutil.copy2(copy, lock)
            restored.append(lock)
    return restored


def recover(root: Path) -> list[str]:
    """Mend what a killed `dvc` may have left behind.

    Returns:
        What was done, a sentence each.

    Raises:
        ValueError: While DVC is at work in the project.
    """
    readers = root / _READERS
    listed = _listed_processes(readers)
    alive = sorted(process for process in listed or () if psutil.pid_exists(process))
    if alive:
        raise ValueError(f"DVC is at work in {root} (process {', '.join(map(str, alive))}): end it, or wait for it")
    done = [f"{lock} was torn: the copy of before the last flow is back" for lock in protect_locks(root)]
    for definition in definitions(root):
        lock = definition.with_name("dvc.lock")
        if lock.exists() and not _is_whole(lock):
            lock.unlink()
            done.append(f"{lock} was torn and had no copy: it is gone, and `dvc repro` takes outputs from its cache")
    if listed is None or listed:
        readers.unlink()
        done.append(f"{readers} was left by a process that is gone: deleted")
    return done


def definitions(root: Path) -> list[Path]:
    """The project's dvc.yaml files: of the root, and of folders down to two levels."""
    inside = [path for pattern in ("*/dvc.yaml", "*/*/dvc.yaml") for path in sorted(root.glob(pattern))]
    return [root / "dvc.yaml", *(path for path in inside if not path.relative_to(root).parts[0].startswith("."))]


def _copy_of(lock: Path, root: Path) -> Path:
    return root / ".dvc" / "tmp" / "lock-copies" / lock.relative_to(root)


def _is_whole(lock: Path) -> bool:
    try:
        content = yaml.load(lock.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (FileNotFoundError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and "schema" in content


def _listed_processes(readers: Path) -> set[int] | None:
    """The processes that DVC has noted as readers and writers of paths; None if the file is torn."""
    try:
        noted = json.loads(readers.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return set()
    except json.JSONDecodeError:
        return None
    entries = [*noted.get("write", {}).values(), *(entry for each in noted.get("read", {}).values() for entry in each)]
    return {entry["pid"] for entry in entries if entry}


def main() -> None:
    """Put DVC's own files in order after a kill, in the project that is the working directory."""
    if not Path("dvc.yaml").is_file():
        raise ValueError(f"{Path.cwd()}: no dvc.yaml; run from the project's root")
    print("\n".join(recover(Path.cwd())) or "dvc.lock is whole, and nobody is in the way")


if __name__ == "__main__":
    run(main, EXAMPLES)
