"""Which containers are opened, and the extensions that their files usually have: one list for all that lists files."""

FORMATS = ("aac", "asf", "avi", "flac", "flv", "matroska", "webm", "mov", "mp3", "mpeg", "mpegts", "ogg", "wav")
"""FFmpeg's names. Playlists (concat, hls, dash, sdp ...) would fetch other files and play them under a file's name."""

VIDEO = (
    *(".mp4", ".avi", ".flv", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv", ".asf", ".3gp", ".3g2"),
    *(".ts", ".mts", ".m2ts", ".m2t", ".vob", ".m2p", ".ogv", ".f4v", ".qt", ".divx"),
)
AUDIO = (".wav", ".flac", ".m4a", ".mp3", ".aac", ".ogg", ".oga", ".opus", ".wma", ".mka", ".weba")
"""Extensions of files with video, and of those with audio alone; of one clip's files the first is taken."""

_IMAGES = (".jpg", ".jpeg", ".png", ".bmp")
IMAGE_KINDS = ", ".join(extension.removeprefix(".") for extension in _IMAGES)
"""Extensions of images, for messages."""


def is_image(name: str) -> bool:
    """Whether a file of that name is an image that is read, by its extension in any case; hidden files are not."""
    return name[name.rfind(".") :].lower() in _IMAGES and not name.startswith(".")
