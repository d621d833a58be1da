"""The corpora as a page to read: what to download, where from, and how to use it."""

from __future__ import annotations

from hicmae_core.corpora.base import About, Corpus, ReadyMade
from hicmae_core.corpora.registry import CORPORA, corpus_named

_OPENING = """# Corpora

Put a corpus where you like, or link it to `data/raw/<dataset>`, and make its manifest:

```
python -m stages.manifest --dataset ravdess --root /data/RAVDESS --out manifest.parquet
```

This reads names and label files; `--probe` also opens every media file. Files are found at any depth below the
folder. The numbers of clips per fold and class are compared with the published ones: if some differ, a table says
which, and the manifest is refused. Where you know why, as with a partial download, add `--allow-incomplete` (in
params.yaml: `dataset.<name>.allow_incomplete: true`). Counts that could not be confirmed are reported only.

Faces come from the video files, found and cropped here, or from face frames as a corpus ships them: a folder of images
per clip. MAFW's and DFEW's published results come from the corpora's own face frames, the authors' CREMA-D, RAVDESS and
Werewolf-XL from OpenFace's aligned crops; faces cropped anew are another measurement. `dataset.<name>.video: clips` or
`frames` chooses; without it frames are taken where the folder has any, for all clips, and a line says so. No detector
runs on frames; [own-dataset.md](own-dataset.md#faces-that-are-cropped-already) has the rules.

Videos that show drawings in place of faces, such as lines between tracked landmarks, need `dataset.<name>.faces:
drawn`, as `ravdess_drawn` has it. No detector runs on that dataset, others stay as they are, and its results say "drawn
faces". Published numbers of the voice alone stand beside ours of the voice alone, and no others.

A dataset's name may be written as you like: `CREMA-D`, `cremad` and `crema_d` are one. To train on it, lay its recipe
over params.yaml: `python -m pipelines.project.configure pretrain_voxceleb2_base finetune_ravdess`. Any
other corpus needs one CSV file: see [own-dataset.md](own-dataset.md)."""


def catalogue(corpus_name: str | None = None) -> str:
    """All corpora, or one, as Markdown.

    Raises:
        ValueError: If there is no corpus of that name, or nothing to download for it.
    """
    if corpus_name:
        corpus = corpus_named(corpus_name)
        if corpus.about is None:
            raise ValueError(f"corpus {corpus.name} ({corpus.description}) is not downloaded: it has no page")
        return _section(corpus, corpus.about) + "\n"
    sections = [_section(corpus, corpus.about) for corpus in CORPORA.values() if corpus.about]
    return "\n\n".join([_OPENING, *sections]) + "\n"


def _section(corpus: Corpus, about: About) -> str:
    lines = [
        f"## {corpus.name}",
        "",
        f"{about.title}.",
        "",
        f"- Download: {about.download}.",
        f"- From: {about.source}.",
        f"- Licence: {about.licence}.",
        "- Layout:",
        *(f"    - {path}" for path in about.layout),
        f"- Folds: {about.folds}.",
        f"- Metrics: {about.metrics}.",
        "- Datasets:",
        *(f"    - {_dataset(name, made)}" for name, made in corpus.datasets.items()),
    ]
    if corpus.labellings:
        default, *others = corpus.labellings
        lines.append(f"- Labels: `{default}` (the default) or {', '.join(f'`{other}`' for other in others)}.")
    lines += [f"- Confirmed: {about.confirmed}.", f"- Unconfirmed: {about.unconfirmed}."]
    return "\n".join(lines)


def _dataset(name: str, made: ReadyMade) -> str:
    """A ready-made dataset in one line."""
    dataset = made.params
    if dataset.task == "unlabelled":
        return f"`{name}`: unlabelled"
    what = f"{len(dataset.classes)} classes ({', '.join(dataset.classes)})" if dataset.classes else "numbers"
    targets = f" for {', '.join(dataset.targets)}" if dataset.targets else ""
    folds = [sum(entry.low for entry in made.counts if entry.fold == fold) for fold in range(1, dataset.num_folds + 1)]
    tested = f"; test clips per fold: {', '.join(map(str, folds))}" if any(folds) else ""
    return f"`{name}`: {what}{targets}{tested}"
