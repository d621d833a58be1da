"""dvc.yaml: each stage depends on all the code that it runs."""

from pathlib import Path

import grimp
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

# What happened (tracking) and how a command starts never change what a stage writes.
NOT_RESULTS = {
    "stages", "stages.tracking", "stages.command", "stages.environment", "stages.engines", "stages.resuming",
    "stages.slots",
}  # fmt: skip


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("hicmae_core", "stages", "pipelines", cache_dir=None)


def code_of(module: str) -> Path:
    path = ROOT / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def used_modules(imports: grimp.ImportGraph, entry: str) -> set[str]:
    """All modules that `entry` imports, not looking through those that cannot change results."""
    seen: set[str] = set()
    waiting = [entry]
    while waiting:
        module = waiting.pop()
        if module in seen or module in NOT_RESULTS:
            continue
        seen.add(module)
        waiting.extend(imports.find_modules_directly_imported_by(module))
    return seen


@pytest.mark.parametrize("name", STAGES)
def test_deps_cover_the_imports(imports, name):
    stage = STAGES[name]
    entry = stage["cmd"].split()[2]
    deps = [ROOT / dep for dep in stage["deps"] if dep.endswith(".py") or dep.startswith("hicmae_core")]
    assert all(dep.exists() for dep in deps)
    used = used_modules(imports, entry)
    assert entry in used
    missing = sorted(
        module
        for module in used
        if module != "hicmae_core" and not any(code_of(module).is_relative_to(dep) for dep in deps)
    )
    assert missing == [], f"add the files of these modules to the deps of stage {name}"


@pytest.mark.parametrize("name", STAGES)
def test_no_needless_code_deps(imports, name):
    stage = STAGES[name]
    used = {code_of(module) for module in used_modules(imports, stage["cmd"].split()[2])}
    needless = [
        dep
        for dep in stage["deps"]
        if (dep.endswith(".py") or dep.startswith("hicmae_core"))
        and not any(path.is_relative_to(ROOT / dep) for path in used)
    ]
    assert needless == [], f"stage {name} would rerun for nothing"
