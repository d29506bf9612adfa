"""What made a result: versions of the libraries, and the machine without its name."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import joblib

import audiorep

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
