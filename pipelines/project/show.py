"""Print the results and where to look next."""

import json
from pathlib import Path

from hicmae import layout
from hicmae.command import run
from hicmae_core.config import load_params
from hicmae_core.reports.markdown import overview_markdown


def main() -> None:
    """Print each evaluated dataset's results, before them an overview if there are several, and what opens the UIs."""
    reports = [layout.REPORTS / dataset / "results.md" for dataset in load_params().evaluated]
    for report in reports:
        if not report.is_file():
            raise ValueError(f"{report}: no results yet; run `dvc repro`")
    if len(reports) > 1:
        print(overview_markdown([json.loads(report.with_suffix(".json").read_text()) for report in reports]))
    for report in reports:
        print(report.read_text(encoding="utf-8"))
        print(f"Report and figures: {report.parent}/")
    print("Runs, fold by fold:   make mlflow           then open http://127.0.0.1:5000")
    print("Orchestration:        prefect server start  then open http://127.0.0.1:4200 (activate .venv first)")
    if Path("data/raw/demo/contact_sheet.png").is_file():
        print("The demo's clips:     data/raw/demo/contact_sheet.png, data/raw/demo/spectrograms.png")


if __name__ == "__main__":
    run(main, "python -m pipelines.project.show")
