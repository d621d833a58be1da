"""dvc.yaml: each stage depends on all the code that it runs."""

import shutil
from pathlib import Path

import grimp
import pytest
import yaml

from hicmae_core.config import load_params
from pipelines.graph.fold_files import write_graphs

ROOT = Path(__file__).resolve().parent.parent


def definitions(path: str) -> dict:
    """The stages of a dvc.yaml, those of a `foreach` as what it repeats."""
    stages = yaml.safe_load((ROOT / path).read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in stages.items()}


ROOT_STAGES = definitions("dvc.yaml")
FOLD_STAGES = definitions("folds/template.yaml")
STAGES = ROOT_STAGES | FOLD_STAGES

# What happened (tracking), how a command starts, where files lie and how figures of a training look never change what
# a stage finds; the constants of root modules that do are in config.py.
NOT_RESULTS = {
    "stages", "hicmae", "hicmae.command", "hicmae.environment", "hicmae.layout", "hicmae_core",
    "hicmae_core.code", "hicmae_core.files", "hicmae_core.progress", "hicmae_core.runtime",
    "hicmae.tracking.stage_runs", "hicmae_core.training.resuming",
}  # fmt: skip
FIGURES = "hicmae_core.reports.figures"


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("hicmae_core", "hicmae", "stages", "pipelines", cache_dir=None)


def code_of(module: str) -> Path:
    path = ROOT / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def used_modules(imports: grimp.ImportGraph, entry: str) -> set[str]:
    """All modules that `entry` imports, not looking through those that cannot change results."""
    ignored = NOT_RESULTS if entry in {"stages.summarise", "stages.quality"} else NOT_RESULTS | {FIGURES}
    seen: set[str] = set()
    waiting = [entry]
    while waiting:
        module = waiting.pop()
        if module not in seen | ignored:
            seen.add(module)
            waiting.extend(imports.find_modules_directly_imported_by(module))
    return seen


def code_deps(name: str) -> list[str]:
    """Code that a stage depends on."""
    return [dep for dep in STAGES[name]["deps"] if dep.split("/")[0] in {"stages", "hicmae", "hicmae_core"}]


@pytest.mark.parametrize("name", STAGES)
def test_deps_cover_the_imports(imports, name):
    entry = STAGES[name]["cmd"].split()[2]
    deps = [ROOT / dep for dep in code_deps(name)]
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
    used = {code_of(module) for module in used_modules(imports, STAGES[name]["cmd"].split()[2])}
    needless = [dep for dep in code_deps(name) if not any(path.is_relative_to(ROOT / dep) for path in used)]
    assert needless == [], f"stage {name} would rerun for nothing"


def test_the_demo_s_graph_is_the_template_s(tmp_path):
    (tmp_path / "folds").mkdir()
    shutil.copy(ROOT / "folds" / "template.yaml", tmp_path / "folds")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    write_graphs(tmp_path, load_params(ROOT / "params.yaml"))
    written = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.glob("folds/*/dvc.yaml")}
    assert written == {path: (ROOT / path).read_text() for path in written}
    assert len(written) == len([*ROOT.glob("folds/*/dvc.yaml")])
    assert (tmp_path / "dvc.yaml").read_text() == (ROOT / "dvc.yaml").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "stages").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_a_stage_is_glue(path):
    assert path.stem in STAGES
    assert len(path.read_text().splitlines()) < 60
