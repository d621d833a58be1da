"""The generated demo corpus (hicmae_core/demo/corpus.py)."""

from hicmae_core.data.corpora.base import TableCorpus

DEMO = TableCorpus(
    name="demo",
    description="the generated talking faces with labels",
    file="labels.csv",
    columns={
        "clip_id": "clip_id",
        "video_path": "file",
        "subject": "subject",
        "label_name": "emotion",
        "test_fold": "fold",
    },
)

DEMO_UNLABELLED = TableCorpus(
    name="demo_unlabelled",
    description="the generated talking faces without labels",
    file="unlabelled.csv",
    columns={"clip_id": "clip_id", "video_path": "file", "subject": "subject"},
)
