"""What was measured, prediction by prediction, and the tables that follow from it, without the corpora.

docs/evidence/<dataset>.parquet holds a row per arm, modality, seed and test clip: ``arm`` (``scratch``, ``pretrained``,
``baseline-...``), ``modality`` (``both``, ``audio``, ``video``), ``seed``, ``fold``, ``clip_id``, ``subject``,
``label`` and ``prediction`` (class names), and the probabilities ``p_<class>``, missing for models that have none.
Parquet, because numbers that repeat cost nothing in it. `python -m benchmarks.evidence` prints the tables; `--check`
compares them with the pages that show them, between ``<!-- evidence: DATASET -->`` and ``<!-- end -->``, or, of some
speakers or arms alone, ``<!-- evidence: DATASET speakers 07 08 -->``, ``<!-- evidence: DATASET arms A B -->`` and the
same end.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from hicmae import layout
from hicmae.command import run
from hicmae_core.config import DatasetParams, SummariseParams, load_params
from hicmae_core.evaluation.fold_results import read_predictions
from hicmae_core.evaluation.statistics import compare_arms
from hicmae_core.files import atomic_path, write_text
from hicmae_core.reports.comparison import plot_ablation

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/evidence"
IMAGES = ROOT / "docs/images"
MODALITIES = {"both": "face and voice", "audio": "voice", "video": "face"}
_BASELINE = "baseline-"
"""How the arms begin that know no chance."""
_DRAWN = "_drawn"
"""How a dataset whose faces are drawn ends."""
_KEYS = ["arm", "modality", "seed"]
_COLUMNS = ["dataset", *_KEYS, "fold", "clip_id", "subject", "label", "prediction"]
_REFERENCE = "scratch"
"""The arm to which differences are taken, where it is there."""
_PLACE = re.compile(r"(<!-- evidence: (\w+)(?: (speakers|arms) ([\w -]+?))? -->\n).*?(<!-- end -->)", re.DOTALL)
EXAMPLES = """
python -m benchmarks.evidence                     the tables of all datasets
python -m benchmarks.evidence --write             the same into the pages that show them
python -m benchmarks.evidence --check             fail where a page shows another table
python -m benchmarks.evidence --draw              the same as figures, docs/images/evidence-*.png
python -m benchmarks.evidence --collect PROJECT --arm pretrained
                                                  put the test predictions of a project that has run into the files
python -m benchmarks.evidence --study PROJECT/reports/study.parquet
                                                  the same of every experiment of `make study`
"""


def add(rows: pd.DataFrame, folder: Path = FOLDER) -> None:
    """Put predictions of one dataset in its file, in place of those of the same arms, modalities and seeds.

    Args:
        rows: The columns that the module names.
        folder: Where the files are.

    Raises:
        ValueError: If a column is missing or there are several datasets.
    """
    missing = [name for name in _COLUMNS if name not in rows.columns]
    if missing or rows["dataset"].nunique() != 1:
        raise ValueError(f"evidence needs the columns {', '.join(_COLUMNS)} of one dataset; missing: {missing}")
    path = folder / f"{rows['dataset'].iloc[0]}.parquet"
    if path.is_file():
        known = pd.read_parquet(path)
        new = pd.MultiIndex.from_frame(rows[_KEYS]).unique()
        rows = pd.concat([known[~pd.MultiIndex.from_frame(known[_KEYS]).isin(new)], rows], ignore_index=True)
    probabilities = sorted(name for name in rows.columns if name.startswith("p_"))
    rows = rows[_COLUMNS + probabilities].sort_values([*_KEYS, "fold", "clip_id"], ignore_index=True)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        rows.astype(dict.fromkeys(probabilities, "float32")).to_parquet(temporary, index=False, compression="zstd")


def collect(project: Path, arm: str) -> list[pd.DataFrame]:
    """The test predictions of a project that has run, by dataset, as rows for `add`.

    Args:
        project: Its root; seed and modality are those of its params.yaml.
        arm: What the models are called.

    Raises:
        ValueError: If a fold of its params.yaml has not been evaluated, or a dataset is no classification.
    """
    params = load_params(project / "params.yaml")
    found = []
    for name, folds in params.folds.items():
        dataset = params.dataset[name]
        if dataset.task != "classification":
            raise ValueError(f"evidence is kept of classifications; {name} is a {dataset.task}")
        tables = [read_predictions(project / layout.results_folder(name, fold)).assign(fold=fold) for fold in folds]
        rows = pd.concat(tables, ignore_index=True)
        names = dict(enumerate(dataset.classes))
        words = {column: rows[column].map(names) for column in ("label", "prediction")}
        about = {"dataset": name, "arm": arm, "modality": params.finetune.modality, "seed": params.seed}
        found.append(rows.assign(**words, **about))
    return found


def _read_study(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; `make study` writes it")
    return pd.read_parquet(path)


def table(name: str, folder: Path = FOLDER, speakers: Sequence[str] = (), arms: Sequence[str] = ()) -> str:
    """The results of a dataset as Markdown: UAR, pooled over the folds, in percent, with 95 % intervals.

    Args:
        name: The dataset.
        folder: Where the files are.
        speakers: Those that count; all if none are named.
        arms: Those that are shown, in this order; all if none are named.

    The intervals are those of the ablation: speakers and seeds are drawn with replacement, and all arms share the
    draws. A trained arm counts with the seeds that it shares with the reference; a baseline, which knows no chance, has
    the same predictions with every seed.

    Raises:
        ValueError: If a trained arm and the reference share no seed, or there is no such arm.
    """
    rows = _read(name, folder, speakers)
    titles = _titles(name)
    lines = [f"| arm | seeds | {' | '.join(titles.values())} |", f"|---|---:|{'---:|' * len(titles)}"]
    compared = dict(list(_compared(rows, name).groupby("arm")))
    unknown = [arm for arm in arms if arm not in compared]
    if unknown:
        raise ValueError(f"the evidence of {name} has no arm {', '.join(unknown)}; there are: {', '.join(compared)}")
    for arm in arms or compared:
        found = compared[arm]
        cells = {row.protocol: _cell(row) for row in found.itertuples()}
        seeds = ", ".join(str(number) for number in sorted(set(found["seeds"])) if number)
        lines.append(f"| {arm} | {seeds} | {' | '.join(cells.get(title, '') for title in titles.values())} |")
    guessing = 100 / rows["label"].nunique()
    num_speakers, num_clips = (rows[column].nunique() for column in ("subject", "clip_id"))
    note = (
        f"UAR in %, pooled over {rows['fold'].nunique()} folds: {num_clips} clips of {num_speakers} speakers, none of "
        f"whom was trained on; guessing {guessing:.1f}. In brackets the 95 % interval over speakers and seeds of "
        "training"
    )
    note += f"; after it the difference to {_REFERENCE}, with the same ones" if _REFERENCE in set(rows["arm"]) else ""
    return "\n".join([*lines, "", f"{note}."]) + "\n"


def draw(name: str, folder: Path = FOLDER, images: Path = IMAGES) -> None:
    """Draw a dataset's table, as ``evidence-NAME.png``."""
    plot_ablation(_compared(_read(name, folder, ()), name), "uar", images / f"evidence-{name}.png")


def _titles(name: str) -> dict[str, str]:
    """Of the modalities; those that show drawn faces say so."""
    drawn = {"both", "video"} if name.endswith(_DRAWN) else set()
    return {one: f"{title} (drawn faces)" if one in drawn else title for one, title in MODALITIES.items()}


def _read(name: str, folder: Path, speakers: Sequence[str]) -> pd.DataFrame:
    rows = pd.read_parquet(folder / f"{name}.parquet")
    return rows[rows["subject"].isin(speakers)] if speakers else rows


def _by_seed(rows: pd.DataFrame) -> dict[str, dict[int, pd.DataFrame]]:
    """The predictions of each arm, by seed."""
    return {str(arm): dict(list(own.groupby("seed"))) for arm, own in rows.groupby("arm")}


def _beside_reference(arms: dict[str, dict[int, pd.DataFrame]], arm: str) -> dict[str, list[pd.DataFrame]]:
    """The predictions of an arm and of the reference, a table for each seed that both have."""
    own, reference = arms[arm], arms.get(_REFERENCE, arms[arm])
    if arm.startswith(_BASELINE):
        own = dict.fromkeys(reference, own[min(own)])
    shared = sorted(own.keys() & reference.keys())
    if not shared:
        raise ValueError(f"{arm} and {_REFERENCE} share no seed: {[*own]} and {[*reference]}; collect the missing ones")
    beside = {_REFERENCE: reference} if _REFERENCE in arms else {}
    return {name: [of[seed] for seed in shared] for name, of in (beside | {arm: own}).items()}


def _compared(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """A row per arm and modality, ``protocol``, as `compare_arms` gives them, with the number of ``seeds``."""
    dataset = DatasetParams(corpus="csv", classes=tuple(sorted(rows["label"].unique())), num_folds=1)
    class_ids = {label: number for number, label in enumerate(dataset.classes)}
    rows = rows.assign(**{key: rows[key].map(class_ids) for key in ("label", "prediction")}, unit=rows["clip_id"])
    tables = []
    for modality, title in _titles(name).items():
        arms = _by_seed(rows[rows["modality"] == modality])
        for arm in arms:
            beside = _beside_reference(arms, arm)
            found = compare_arms(beside, _REFERENCE, "uar", dataset, SummariseParams(), seed=0)
            seeds = 0 if arm.startswith(_BASELINE) else len(beside[arm])
            tables.append(found[found["arm"] == arm].assign(protocol=title, seeds=seeds))
    return pd.concat(tables, ignore_index=True)


def _cell(row: object) -> str:
    value, low, high, difference, below, above = (
        100 * getattr(row, name) for name in ("value", "low", "high", "difference", "difference_low", "difference_high")
    )
    cell = f"{value:.1f} ({low:.1f} to {high:.1f})"
    return cell if difference != difference else f"{cell}, {difference:+.1f} ({below:+.1f} to {above:+.1f})"


def pages(root: Path = ROOT) -> list[Path]:
    """The pages that show a table."""
    candidates = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    return [path for path in candidates if _PLACE.search(path.read_text(encoding="utf-8"))]


def filled(text: str, folder: Path = FOLDER) -> str:
    """A page's text with the tables as they follow from the files."""

    def fill(match: re.Match[str]) -> str:
        chosen = {match[3]: match[4].split()} if match[3] else {}
        return f"{match[1]}{table(match[2], folder, **chosen)}{match[5]}"

    return _PLACE.sub(fill, text)


def main(
    write: Annotated[bool, typer.Option("--write", help="Put the tables into the pages.")] = False,
    draw_them: Annotated[bool, typer.Option("--draw", help="Draw the tables.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Fail where a page shows another table.")] = False,
    project: Annotated[
        Path | None, typer.Option("--collect", metavar="PROJECT", help="Root of a project that has run.")
    ] = None,
    study: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What `make study` wrote: reports/study.parquet.")
    ] = None,
    arm: Annotated[str | None, typer.Option(help="What its models are called: scratch, pretrained.")] = None,
) -> None:
    """Print, write or check the tables of what was measured, from its predictions."""
    if (project is None) != (arm is None):
        raise ValueError("--collect and --arm belong together")
    if project and arm:
        for rows in collect(project, arm):
            add(rows, FOLDER)
    if study:
        add(_read_study(study), FOLDER)
    if draw_them:
        for path in sorted(FOLDER.glob("*.parquet")):
            draw(path.stem)
        return
    if not (write or check):
        for path in sorted(FOLDER.glob("*.parquet")):
            print(f"{path.stem}\n\n{table(path.stem)}")
        return
    texts = {path: path.read_text(encoding="utf-8") for path in pages()}
    differing = {path: found for path, text in texts.items() if (found := filled(text)) != text}
    for path, text in differing.items():
        if write:
            write_text(path, text)
        print(f"{path.relative_to(ROOT)}: {'written' if write else 'shows another table'}", file=sys.stderr)
    if check and differing:
        raise typer.Exit(1)


if __name__ == "__main__":
    run(main, EXAMPLES)
