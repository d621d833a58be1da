"""How to get and use each corpus, as data; shown by ``hicmae corpora``."""

from __future__ import annotations

from dataclasses import dataclass

from hicmae_core.corpora import javanese


@dataclass(frozen=True)
class About:
    """What a person who wants to use a corpus must know.

    Attributes:
        title: The corpus's full name and paper.
        download: What to download.
        source: Where from.
        licence: Its terms.
        layout: Example paths below the raw folder.
        folds: How it is split.
        metrics: Headline metrics of the literature.
        confirmed: Which of these facts were checked, against what.
        unconfirmed: Which were not.
    """

    title: str
    download: str
    source: str
    licence: str
    layout: tuple[str, ...]
    folds: str
    metrics: str
    confirmed: str
    unconfirmed: str


ABOUT: dict[str, About] = {
    "crema_d": About(
        title="CREMA-D, Crowd-sourced Emotional Multimodal Actors Dataset (Cao et al., IEEE TAC 2014)",
        download="VideoFlash (7,442 clips, 480x360, 30 fps) and AudioWAV (16 kHz); without AudioWAV the sound of the "
        "videos is used. For perceived labels also processedResults/summaryTable.csv, for "
        "results by sex also VideoDemographics.csv",
        source="https://github.com/CheyneyComputerScience/CREMA-D (Git LFS)",
        licence="Open Database License (ODbL)",
        layout=(
            "`VideoFlash/1001_DFA_ANG_XX.flv`",
            "`AudioWAV/1001_DFA_ANG_XX.wav`",
            "or OpenFace's aligned crops: `face_aligned/1001_DFA_ANG_XX/frame_det_00_000001.bmp` or "
            "`openface/1001_DFA_ANG_XX/1001_DFA_ANG_XX_aligned/frame_det_00_000001.bmp`",
            "`processedResults/summaryTable.csv`",
        ),
        folds="5 by actor: 1001-1018, 1019-1036, 1037-1054, 1055-1072, 1073-1091. 7,438 clips; four broken ones are "
        "`known_broken`. The published lists have 7,437, without 1040_ITH_SAD_XX (fold 3), which is sound and kept",
        metrics="UAR, WAR",
        confirmed="folders and the columns of summaryTable.csv (the corpus's README); counts (its file names)",
        unconfirmed="why the four clips are broken; there are no published counts of the perceived labels",
    ),
    "javanese": About(
        title="Javanese acted speech of 10 actors, face and voice, the smallest of these corpora: 25 MB",
        download=f"`git clone {javanese.SOURCE}`, of which the folder dataset-resize is read (240 clips of 1.7 to 8 s, "
        f"360x270, 29.97 fps); if it is not there, run `git checkout {javanese.COMMIT}` in the clone",
        source=f"{javanese.SOURCE} (commit {javanese.COMMIT})",
        licence=f"commit {javanese.COMMIT} has no licence file, commit 32e8259c has that of MIT, for the project. "
        "The companion corpus of audio alone, 2black0/sound-emotion-recognition-javanese, has the MIT licence",
        layout=(
            "`dataset-resize/01-04-06_01.mp4` (actor, sentence, emotion, take), or that folder's files themselves",
            "Folders beside `dataset-resize/` are passed over, and so are audio files: the companion's takes have "
            "names like the clips', but need not be the same recordings",
        ),
        folds="10, one actor each; 240 clips, 24 each: 4 sentences in 6 emotions, the same for all actors",
        metrics="UAR (there are no published speaker-independent numbers)",
        confirmed="names, counts, that each clip has video and audio (its files); the codes of emotions (the "
        "companion's How-To-Read-The-Dataset.txt)",
        unconfirmed="whether the licence of commit 32e8259c covers the clips, too",
    ),
    "ravdess": About(
        title="RAVDESS, Ryerson Audio-Visual Database of Emotional Speech and Song (Livingstone & Russo, PLoS ONE "
        "2018)",
        download="Video_Speech_Actor_01.zip to Video_Speech_Actor_24.zip (01 and 02 files); "
        "Audio_Speech_Actors_01-24.zip (03 files) only if you keep 02 files instead of 01 files",
        source="https://zenodo.org/record/1188976",
        licence="CC BY-NC-SA 4.0",
        layout=(
            "`Actor_05/01-01-03-02-01-02-05.mp4`",
            "or `Actor_05/02-01-03-02-01-02-05.mp4` with `Actor_05/03-01-03-02-01-02-05.wav`",
            "or OpenFace's aligned crops of either: `face_aligned/01-01-03-02-01-02-05/frame_det_00_000001.bmp`",
            "`ravdess_drawn`: the same names, of videos that show drawings of the faces, such as lines between tracked "
            "landmarks, with the corpus's voices. There is no download; whoever has the corpus needs none",
        ),
        folds="6 by actor: 01-04, 05-08, 09-12, 13-16, 17-20, 21-24; 1,440 clips, 240 each. Songs are left out",
        metrics="UAR, WAR",
        confirmed="names, codes, number of takes, licence (Zenodo page)",
        unconfirmed="nothing",
    ),
    "msp_improv": About(
        title="MSP-IMPROV (Busso et al., IEEE TAC 2017)",
        download="the audio-visual release with its evaluation file",
        source="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html (signed agreement)",
        licence="academic licence of the University of Texas at Dallas",
        layout=(
            "`Evalution.txt` (spelled so in the release)",
            "`Video/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.avi`",
            "`Audio/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav` (if missing, the sound of the video is used)",
        ),
        folds="6 by session, which is the speaker's number; all four scenarios P, R, S and T. 7,787 clips in the "
        "published protocol, 7,798 in the release",
        metrics="UAR, WAR",
        confirmed="names, line format and spelling of the evaluation file (public readers of it); 7,798 clips",
        unconfirmed="folders below Video and Audio; which 11 clips the published protocol leaves out",
    ),
    "iemocap": About(
        title="IEMOCAP, Interactive Emotional Dyadic Motion Capture Database (Busso et al., LREV 2008)",
        download="the full release; then cut a video per utterance out of dialog/avi/DivX by the times in "
        "EmoEvaluation, keeping the half of the picture with the speaker, for example `ffmpeg -i "
        "Ses01F_impro01.avi -ss 6.2901 -to 8.2357 -vf crop=iw/2:ih:0:0 Ses01F_impro01_F000.mp4`",
        source="https://sail.usc.edu/iemocap/ (signed agreement)",
        licence="academic licence of the University of Southern California",
        layout=(
            "`Session1/dialog/EmoEvaluation/Ses01F_impro01.txt`",
            "`Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav` (else the sound of the video is used)",
            "`Session1/sentences/video/Ses01F_impro01_F000.mp4` (cut by you)",
        ),
        folds="5 by session; 5,531 clips of 4 classes, excited counted as happy",
        metrics="UAR, WAR",
        confirmed="layout and speakers (the release's README), classes and their counts (public benchmarks)",
        unconfirmed="folds by session and their counts (reported, not enforced); which half of the image shows whom",
    ),
    "mafw": About(
        title="MAFW (Liu et al., ACM Multimedia 2022)",
        download="the clips, the corpus's own face frames and `Train & Test Set`",
        source="https://mafw-database.github.io/MAFW (signed agreement, university address)",
        licence="non-commercial research only",
        layout=(
            "`data/frames/00025/1.jpg`, the face frames",
            "`data/clips/00025.mp4`, whose audio is used; without it `audio_16k/00025.wav`",
            "`Train & Test Set/single/no_caption/set_1/train.txt` and `test.txt`, with lines `00025.mp4 anger`",
            "`Train & Test Set/compound/no_caption/set_1/train.txt` and `test.txt` (43 classes)",
        ),
        folds="5 official ones. 9,172 clips are listed with a single label; 9,156 are left without those that have no "
        "sound, which `--probe` rejects. No speakers are known",
        metrics="UAR, WAR",
        confirmed="names and label words (the corpus's README); lists, formats and counts per fold and class (a "
        "description of the release); counts per fold of the compound lists",
        unconfirmed="the folder of the compound lists, the order of the 43 classes",
    ),
    "dfew": About(
        title="DFEW (Jiang et al., ACM Multimedia 2020)",
        download="the face frames, the original clips, whose audio is used, and EmoLabel_DataSplit",
        source="https://dfew-dataset.github.io (signed agreement)",
        licence="non-commercial research only",
        layout=(
            "`Clip/clip_224x224/00001/00001_00001.jpg`, or `Clip/jpg_224/00001/1.jpg`, or `Clip/jpg_256/00001/1.jpg`, "
            "the face frames (folders of 16 frames a clip, `clip_224x224_16f`, are passed over)",
            "`Clip/original/1.mp4`; without it `audio_16k/00001.wav`",
            "`EmoLabel_DataSplit/train(single-labeled)/set_1.csv`, with the columns `order,label`",
            "`EmoLabel_DataSplit/test(single-labeled)/set_1.csv`, likewise",
        ),
        folds="5 official ones; 11,697 clips with a single label. No speakers are known",
        metrics="UAR, WAR",
        confirmed="labels (the corpus's README), folders (public readers), counts per fold and class (its lists)",
        unconfirmed="counts per class of folds 2 to 5, so they are not compared",
    ),
    "mer2023": About(
        title="MER 2023, track MER-MULTI (Lian et al., ACM Multimedia 2023)",
        download="train, test1 and their label files",
        source="https://huggingface.co/datasets/MERChallenge/MER2023 (signed agreement)",
        licence="academic research only",
        layout=("`train-label.csv`", "`train/sample_00000001.mp4`", "`test1-label.csv`", "`test1/sample_00000002.mp4`"),
        folds="1: train against test1, which is the MER-MULTI test set. No speakers are known",
        metrics="weighted F1",
        confirmed="label files, folders and classes (the challenge's own tools)",
        unconfirmed="3,373 training and 411 test clips (reported, not enforced); how the clips are numbered",
    ),
    "werewolf_xl": About(
        title="Werewolf-XL (Zhang et al., IEEE TAC 2021)",
        download="the speakers' clips and their annotations, written as labels.csv",
        source="the authors, Zhejiang University (signed agreement)",
        licence="academic research only",
        layout=(
            "`labels.csv` with the columns `clip_id,arousal,valence,dominance`",
            "`01_01_128.mp4` (game, player, clip)",
            "or OpenFace's aligned crops: `face_aligned/01_01_128/frame_det_00_000001.bmp`",
        ),
        folds="5 by game: 01-06, 07-12, 13-18, 19-24, 25-30; 14,457 clips of 14,632",
        metrics="PCC, CCC per target",
        confirmed="14,632 clips of active speakers, 129 people in 30 games (a public description)",
        unconfirmed="the corpus's own label files, the order of the targets, who plays in several games, the licence, "
        "which 175 clips the published protocol leaves out",
    ),
    "avcaffe": About(
        title="AVCAffe (Sarkar, Posen, Etemad, AAAI 2023)",
        download="videos/shorter_segments (20.3 GB) and ground_truths",
        source="https://borealisdata.ca/dataset.xhtml?persistentId=doi:10.5683/SP3/PSWY62 (request for access)",
        licence="the corpus's database licence agreement: https://pritamsarkar.com/AVCAffe/LICENSE.html",
        layout=(
            "`videos/shorter_segments/aiim001/task_1/aiim001_task_1_001.avi`",
            "`ground_truths/arousal.txt` and `ground_truths/valence.txt`, with lines `aiim001_task_1, Excited`",
        ),
        folds="1: 86 participants train, 20 test (the corpus's validation list); 58,112 clips. What is scored is a "
        "participant's task (`unit` in the manifest, such as `aiim001_task_1`): its clips' probabilities are averaged",
        metrics="weighted F1. The published numbers are of one model per target, `avcaffe_arousal` and "
        "`avcaffe_valence`; `avcaffe`, one model with a head for each, has none",
        confirmed="all of the above (the corpus's README and loader)",
        unconfirmed="how the short clips are named below their task's folder (any name will do)",
    ),
    "voxceleb2": About(
        title="VoxCeleb2 (Chung, Nagrani, Zisserman, Interspeech 2018)",
        download="vox2_dev_mp4 (about 270 GB in parts: `cat vox2_dev_mp4* > vox2_mp4.zip`); vox2_dev_aac if your "
        "videos have no sound",
        source="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html (request for access)",
        licence="CC BY 4.0 for the metadata; the videos stay their owners'",
        layout=(
            "`dev/mp4/id00012/21Uxsk56VDQ/00001.mp4`",
            "`dev/aac/id00012/21Uxsk56VDQ/00001.m4a` (if there, the sound)",
        ),
        folds="none; 1,092,009 clips of 5,994 speakers. Whatever lies in a folder `test` is left out",
        metrics="none: it serves pre-training",
        confirmed="counts, archives, names (public descriptions)",
        unconfirmed="whether the videos hold sound; the licence's wording. A part of the corpus is reported, not "
        "refused",
    ),
}
"""By the name of the adapter."""
