import os
import signal
import subprocess
import sys

import pytest
import yaml

from pipelines.graph.reading import Graph, name_of, read_graph
from tests.pipelines.served import wait_for

GRAPH = Graph(
    {
        "manifest@demo": frozenset(),
        "datasets/other/dvc.yaml:manifest": frozenset(),
        "pretrain": frozenset({"manifest@demo"}),
        "finetune@demo-1": frozenset({"pretrain"}),
        "finetune@demo-2": frozenset({"pretrain"}),
        "datasets/other/dvc.yaml:finetune@1": frozenset({"pretrain", "datasets/other/dvc.yaml:manifest"}),
        "summarise@demo": frozenset({"finetune@demo-1", "finetune@demo-2"}),
    },
    out_of_date=frozenset({"finetune@demo-2"}),
)


def test_targets_bring_what_they_need() -> None:
    assert GRAPH.select([]) == list(GRAPH.upstream)
    assert GRAPH.select(["finetune@demo-1"]) == ["manifest@demo", "pretrain", "finetune@demo-1"]
    assert GRAPH.select(["manifest"]) == ["manifest@demo", "datasets/other/dvc.yaml:manifest"]
    assert GRAPH.select(["finetune@demo"]) == ["manifest@demo", "pretrain", "finetune@demo-1", "finetune@demo-2"]
    for target in ("tran", "finetune@dem", "finetune@demo-"):
        with pytest.raises(ValueError, match=f"no stage `{target}`; there are: manifest@demo, manifest@other"):
            GRAPH.select([target])


def test_a_stage_has_one_name_whichever_file_it_is_in() -> None:
    assert [name_of(stage) for stage in GRAPH.upstream if "/" in stage] == ["manifest@other", "finetune@other-1"]
    for target in ("finetune@other-1", "finetune@other", "datasets/other/dvc.yaml:finetune@1"):
        assert GRAPH.select([target])[-1] == "datasets/other/dvc.yaml:finetune@1"


def test_what_is_out_of_date_runs_with_all_below_it() -> None:
    assert GRAPH.to_run(GRAPH.select([])) == ["finetune@demo-2", "summarise@demo"]
    assert GRAPH.to_run(GRAPH.select(["finetune@demo-1"])) == []
    forced = GRAPH.to_run(GRAPH.select(["finetune@demo-1"]), force=True)
    assert forced == ["manifest@demo", "pretrain", "finetune@demo-1"]


def test_the_graph_and_its_state_come_from_dvc(project) -> None:
    (project.root / "tracked.bin").write_text("data")
    project.dvc("add", "--quiet", "tracked.bin")
    project.dvc("repro", "--quiet", "quality@demo")
    (project.root / "datasets" / "mine").mkdir(parents=True)
    (project.root / "datasets" / "mine" / "dvc.yaml").write_text("stages: {faces: {cmd: pwd}}")
    graph = read_graph(project.root)
    order = list(graph.upstream)
    own = {"datasets/mine/dvc.yaml:faces"}
    folds = {"folds/demo/dvc.yaml:finetune@1", "folds/demo/dvc.yaml:finetune@2"}
    assert set(order) == {"quality@demo", "quality@demo_unlabelled", "pretrain", "summarise@demo"} | folds | own
    assert order.index("pretrain") < order.index("folds/demo/dvc.yaml:finetune@1") < order.index("summarise@demo")
    assert graph.upstream["summarise@demo"] == folds
    assert graph.out_of_date == set(order) - {"quality@demo"}


def test_a_dataset_that_was_taken_out_by_hand_is_told_with_the_mend(project) -> None:
    path = project.root / "params.yaml"
    values = yaml.safe_load(path.read_text())
    values |= {"dataset": {**values["dataset"], "more": values["dataset"]["demo"]}, "folds": {"more": [1]}}
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match=r"names more, .* there for demo: run `python -m pipelines.project.datasets`"):
        read_graph(project.root)


def test_a_broken_dvc_yaml_is_reported_in_dvcs_words(project) -> None:
    (project.root / "dvc.yaml").write_text("stages: {bad: {comand: x}}\n")
    with pytest.raises(ValueError, match=r"dvc\.yaml"):
        read_graph(project.root)


def test_a_dvc_repro_by_hand_is_named(project) -> None:
    project.set_mishaps(endless="quality-demo")
    by_hand = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "quality@demo"],
        cwd=project.root,
        env=project.environment(),
        start_new_session=True,
    )
    try:
        wait_for((project.root / "pid.txt").exists, 60, lambda: "no stage began")
        with pytest.raises(ValueError, match=f"is busy, it is being blocked by:\\n +\\(PID {by_hand.pid}\\)"):
            read_graph(project.root)
    finally:
        os.killpg(by_hand.pid, signal.SIGINT)
        by_hand.wait(30)
