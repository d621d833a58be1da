"""The ablation and the study as flows: DVC experiments, and the report on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed, Failed, State
from pydantic import Field

from pipelines.flows.process import CommandFailed, Processes
from pipelines.flows.workspace import workspace_lock
from pipelines.project.ablation_plan import ABLATION, STUDY

if TYPE_CHECKING:
    Arm = str
    Protocol = str
    StudyArm = str
    StudyProtocol = str
else:  # Prefect's pages offer the names
    Arm = Literal[*(arm.name for arm in ABLATION.arms)]
    Protocol = Literal[*(protocol.name for protocol in ABLATION.protocols)]
    StudyArm = Literal[*(arm.name for arm in STUDY.arms)]
    StudyProtocol = Literal[*(protocol.name for protocol in STUDY.protocols)]
_QUEUE_STOPS_WITHIN_SECONDS = 25.0
"""`dvc queue stop`, which the interrupted command runs, tells each experiment to end."""


@flow(name="ablate")
def ablate(
    arms: tuple[Arm, ...] = (),
    protocols: tuple[Protocol, ...] = (),
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 2),
    folds: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2),
    jobs: Annotated[int, Field(ge=1, le=64)] = 2,
) -> State[None]:
    """Run what is missing of the ablation, as DVC experiments, and report on it.

    Args:
        arms: Variants of the method; none means all.
        protocols: Ways of fine-tuning; none means all.
        seeds: Seeds of training.
        folds: Test folds, 1-based.
        jobs: Experiments at a time.
    """
    lists = {"--arms": arms, "--protocols": protocols, "--seeds": seeds, "--folds": folds}
    return _run("ablation", "ablate", "What each part brings", lists, jobs)


@flow(name="study")
def study(
    arms: tuple[StudyArm, ...] = (),
    protocols: tuple[StudyProtocol, ...] = (),
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0,),
    folds: tuple[Annotated[int, Field(ge=1)], ...] = (),
    jobs: Annotated[int, Field(ge=1, le=64)] = 2,
) -> State[None]:
    """Run what is missing of the study, as DVC experiments, and report on it.

    Args:
        arms: Where the weights come from; none means from random ones and pre-trained.
        protocols: What is trained on; none means face and voice, the voice, and the face.
        seeds: Seeds of training.
        folds: Test folds, 1-based; none means all.
        jobs: Experiments at a time.
    """
    lists = {"--arms": arms, "--protocols": protocols, "--seeds": seeds, "--folds": folds}
    return _run("study", "study", "What pre-training, the face and the voice bring", lists, jobs)


def _run(
    comparison: str, key: str, description: str, lists: Mapping[str, tuple[object, ...]], jobs: int
) -> State[None]:
    """Run a comparison of `pipelines.project.ablation` in the folder at hand, and keep its report as an artifact."""
    root = Path.cwd()
    chosen = [word for option, values in lists.items() if values for word in (option, *map(str, values))]
    logger = get_run_logger()
    processes = Processes(_QUEUE_STOPS_WITHIN_SECONDS)
    with workspace_lock(root, logger.info):
        try:
            for action in (["run", "--jobs", str(jobs)], ["show"]):
                processes.run(
                    ["python", "-m", "pipelines.project.ablation", *action, "--what", comparison, *chosen],
                    logger.info,
                    root,
                )
        except CommandFailed as error:
            return Failed(message=str(error))
        except BaseException:  # no experiment may outlive the flow
            processes.end_all()
            raise
    report = root / "reports" / f"{comparison}.md"
    create_markdown_artifact(report.read_text(encoding="utf-8"), key=key, description=description)
    return Completed(message=f"{report} is written")
