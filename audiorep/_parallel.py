"""Sharing clips among processes, by joblib."""

from collections.abc import Callable
from typing import TypeVar

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import MultiprocessingBackend, get_active_backend

from audiorep._embedding import equal_parts
from audiorep._sources import ClipSources

_Result = TypeVar("_Result")

# Clips of a part at least, for each takes the encoder to a process; and parts for each process: of
# many, others wait less long for the last, but between two a process collects garbage for a while.
_FEWEST_OF_A_PART = 32
_PARTS_OF_A_PROCESS = 2


def share(work: Callable[[ClipSources], _Result], sources: ClipSources) -> list[_Result]:
    """Return what `work` makes of consecutive parts of the clips.

    Within `joblib.parallel_config` that asks for several processes, or for those of several
    machines, these work on the parts; else there is a single part, of which this process takes
    care. A backend of threads is not asked: work on clips uses threads of its own. Nor is that of
    forked processes, which hang where torch had threads before.
    """
    backend, _ = get_active_backend()
    has_threads = getattr(backend, "supports_sharedmem", False)
    if has_threads or isinstance(backend, MultiprocessingBackend):
        return [work(sources)]
    n_jobs = effective_n_jobs(None)
    n_parts = min(_PARTS_OF_A_PROCESS * n_jobs, len(sources) // _FEWEST_OF_A_PART)
    if n_jobs == 1 or n_parts < 2:
        return [work(sources)]
    if n_parts > n_jobs:  # as many for each
        n_parts -= n_parts % n_jobs
    parts = equal_parts(sources.n_frames, n_parts)
    results: list[_Result] = Parallel()(
        delayed(work)(sources.part(start, end)) for start, end in parts
    )
    return results
