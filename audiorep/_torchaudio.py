"""The one place that imports torchaudio, with or without its compiled extension.

torchaudio's wheels are compiled against one CUDA version, so ``import torchaudio`` fails beside any
other build of torch, although all that audiorep uses (mel filter banks, resampling, Griffin-Lim and
the like) is plain Python. When the real import fails, a stand-in takes the place of the extension.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["torchaudio"]


def _unavailable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Replace a function that needs the extension by one that says so."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            f"{function.__name__} needs torchaudio's compiled extension, which does not load "
            "beside this build of torch; install the build that your torchaudio was compiled for."
        )

    return fail


def _extension_stand_in(folder: str) -> ModuleType:
    module = ModuleType("torchaudio._extension")
    module.__dict__.update(
        __path__=[folder],
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _IS_RIR_AVAILABLE=False,
        fail_if_no_align=_unavailable,
        fail_if_no_rir=_unavailable,
        _check_cuda_version=lambda: None,
        _load_lib=lambda name: False,
    )
    return module


def _import_torchaudio() -> ModuleType:
    try:
        return importlib.import_module("torchaudio")
    except ModuleNotFoundError:
        raise
    except (OSError, RuntimeError, ImportError, AttributeError):
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
    spec = importlib.util.find_spec("torchaudio")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = f"{spec.submodule_search_locations[0]}/_extension"
    sys.modules["torchaudio._extension"] = _extension_stand_in(folder)
    return importlib.import_module("torchaudio")


torchaudio = _import_torchaudio()
