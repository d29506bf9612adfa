"""What made a result: versions of the libraries, and the machine without its name."""

import functools
import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import joblib

import audiorep

# Modules that no figure depends on.
_WITHOUT_EFFECT = {
    "__main__.py",
    "evaluation/__init__.py",
    "evaluation/_displays.py",
    "evaluation/_entries.py",
    "evaluation/_environment.py",
    "evaluation/_result.py",
    "evaluation/_store.py",
}
_LIBRARIES = ("numpy", "scikit-learn", "torch", "torchaudio")


def versions() -> dict[str, str]:
    """Return the versions of audiorep, Python and what the features depend on."""
    found = {"audiorep": audiorep.__version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def code_fingerprint() -> str:
    """Return a fingerprint of audiorep's code, so that results of older code are not reused.

    What only arranges and prints results does not count.
    """
    package = Path(audiorep.__file__).parent
    total = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        if name not in _WITHOUT_EFFECT and not name.startswith("datasets/"):
            total.update(name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def machine() -> dict[str, str | int]:
    """Return the processor's name, the number of cores to use and the operating system."""
    return {
        "processor": _processor(),
        "n_cores": joblib.cpu_count(),
        "system": platform.system(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS", ""),
    }


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
