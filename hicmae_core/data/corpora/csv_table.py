"""Any corpus, described by a ``manifest.csv`` in its folder."""

from hicmae_core.data.corpora.base import TableCorpus

CSV = TableCorpus(
    name="csv",
    description="any corpus listed in a manifest.csv: clip_id, video, audio, subject, fold, label or target columns",
    file="manifest.csv",
    columns={
        "clip_id": "clip_id",
        "video_path": "video",
        "audio_path": "audio",
        "subject": "subject",
        "test_fold": "fold",
        "label_name": "label",
    },
)
"""Without ``audio`` the video file holds the sound; without ``subject`` speakers are unknown; ``fold`` is the fold
in which a clip is tested, empty for never."""
