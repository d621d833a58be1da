"""Check that the installed libraries load on this system; name the packages that are missing."""

import importlib
import sys

_SYSTEM_PACKAGES = {"libGL.so.1": "libgl1", "libgthread-2.0.so.0": "libglib2.0-0", "libglib-2.0.so.0": "libglib2.0-0"}


def missing_packages() -> list[str]:
    """Debian packages of the system libraries that imports lack; in brackets what else goes wrong."""
    missing = []
    for module in ("cv2", "av", "torch", "torchaudio"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            package = next((name for library, name in _SYSTEM_PACKAGES.items() if library in str(error)), None)
            missing.append(package or f"(for {module}: {error})")
    return list(dict.fromkeys(missing))


def main() -> int:
    """Import what needs system libraries.

    Returns:
        1 if one is missing, 0 otherwise.
    """
    missing = missing_packages()
    if missing:
        print(f"System libraries are missing. On Debian or Ubuntu: apt-get install -y {' '.join(missing)}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
