"""Check that the installed libraries load on this system; name the packages that are missing."""

import importlib
import sys

_SYSTEM_PACKAGES = {"libGL.so.1": "libgl1", "libgthread-2.0.so.0": "libglib2.0-0", "libglib-2.0.so.0": "libglib2.0-0"}


def main() -> int:
    """Import what needs system libraries.

    Returns:
        1 if one is missing, 0 otherwise.
    """
    missing = []
    for module in ("cv2", "av", "torch", "torchaudio"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            package = next((name for library, name in _SYSTEM_PACKAGES.items() if library in str(error)), None)
            missing.append(package or f"(for {module}: {error})")
    if missing:
        print(
            f"System libraries are missing. On Debian or Ubuntu: apt-get install -y {' '.join(dict.fromkeys(missing))}"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
