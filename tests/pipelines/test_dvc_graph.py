import pytest

from pipelines.dvc_graph import Graph, protect_locks, read_graph

GRAPH = Graph(
    {
        "prepare": frozenset(),
        "other": frozenset(),
        "train@demo-1": frozenset({"prepare"}),
        "train@demo-2": frozenset({"prepare"}),
        "summarise": frozenset({"train@demo-1", "train@demo-2"}),
    },
    out_of_date=frozenset({"train@demo-2"}),
)


def test_targets_bring_what_they_need() -> None:
    assert GRAPH.select([]) == list(GRAPH.upstream)
    assert GRAPH.select(["train@demo-1"]) == ["prepare", "train@demo-1"]
    assert GRAPH.select(["train", "other"]) == ["prepare", "other", "train@demo-1", "train@demo-2"]
    with pytest.raises(ValueError, match="no stage `tran`; there are: prepare"):
        GRAPH.select(["tran"])


def test_what_is_out_of_date_runs_with_all_below_it() -> None:
    assert GRAPH.to_run(GRAPH.select([])) == ["train@demo-2", "summarise"]
    assert GRAPH.to_run(GRAPH.select(["train@demo-1"])) == []
    assert GRAPH.to_run(GRAPH.select(["train@demo-1"]), force=True) == ["prepare", "train@demo-1"]


def test_the_graph_and_its_state_come_from_dvc(project) -> None:
    (project.root / "tracked.bin").write_text("data")
    project.dvc("add", "--quiet", "tracked.bin")
    project.dvc("repro", "--quiet", "other")
    graph = read_graph(project.root)
    order = list(graph.upstream)
    assert set(order) == {"prepare", "train@demo-1", "train@demo-2", "other", "summarise"}
    assert order.index("prepare") < order.index("train@demo-1") < order.index("summarise")
    assert graph.upstream["summarise"] == {"train@demo-1", "train@demo-2"}
    assert graph.out_of_date == set(order) - {"other"}


def test_a_broken_dvc_yaml_is_reported_in_dvcs_words(project) -> None:
    (project.root / "dvc.yaml").write_text("stages: {bad: {comand: x}}\n")
    with pytest.raises(ValueError, match=r"dvc\.yaml"):
        read_graph(project.root)


def test_a_torn_lock_is_put_back(project) -> None:
    lock = project.root / "dvc.lock"
    assert protect_locks(project.root) == []
    project.dvc("repro", "--quiet", "other")
    whole = lock.read_text()
    assert protect_locks(project.root) == []
    for torn in ("", whole[: len(whole) // 2] + "\n: ["):
        lock.write_text(torn)
        assert protect_locks(project.root) == [lock]
        assert lock.read_text() == whole
