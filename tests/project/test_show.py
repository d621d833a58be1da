import json
from pathlib import Path

import pytest
import yaml

from hicmae import layout
from pipelines.project import show
from tests.conftest import ROOT


def write_report(name: str, uar: float) -> None:
    """The parts of a report that the overview reads."""
    folder = layout.REPORTS / name
    folder.mkdir(parents=True)
    (folder / "results.md").write_text(f"# Results on {name}\n")
    record = {
        "dataset": name, "folds": {"1": {}}, "num_folds": 1, "num_clips": 9, "headline": ["uar", "war"],
        "mean": {"uar": uar, "war": uar}, "std": None, "pooled": {"uar": uar, "war": uar}, "low": None, "high": None,
        "published": [],
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(record))


def test_several_datasets_begin_with_an_overview(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["dataset"]["mine"] = values["dataset"]["demo"]
    values["folds"] = {"demo": [1], "mine": [1]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    write_report("demo", 0.5)
    with pytest.raises(ValueError, match=r"reports/mine/results.md: no results yet"):
        show.main()
    write_report("mine", 0.75)
    show.main()
    printed = capsys.readouterr().out
    assert printed.startswith("# Results\n")
    assert (
        "| [mine](reports/mine/results.md) | 1 of 1 | 9 clips | UAR / WAR | 75.00 / 75.00 | 75.00 / 75.00 | none |"
        in printed
    )
    assert printed.index("reports/mine/results.md) |") < printed.index("# Results on demo")
