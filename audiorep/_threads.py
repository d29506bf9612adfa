"""How many threads a piece of work has."""

import ctypes
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def on_threads(n_threads: int, work: Callable[[_Item], _Result], item: _Item) -> _Result:
    """Work on an item with as many threads of torch.

    OpenMP's number is the calling thread's own, and MKL, where torch has it for matrix products,
    keeps one beside it; `torch.set_num_threads` would reach other threads, too.
    """
    torch.get_num_threads()  # lets torch set the thread's numbers first, which it does once
    set_mkl_threads = _setter_of_mkl_threads()
    before = set_mkl_threads(n_threads)
    try:
        with _controller("openmp").limit(limits=n_threads):
            return work(item)
    finally:
        set_mkl_threads(before)


@functools.cache
def _setter_of_mkl_threads() -> Callable[[int], int]:
    """Return MKL's function that sets the calling thread's number and returns what it was.

    MKL is inside of torch's library, where it cannot be found otherwise. Without it, there is no
    number to set.
    """
    library = Path(torch.__file__).with_name("lib") / "libtorch_cpu.so"
    try:
        setter: Callable[[int], int] = ctypes.CDLL(str(library)).MKL_Set_Num_Threads_Local
    except (OSError, AttributeError):
        return lambda n_threads: n_threads
    return setter


_limiting = threading.Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let numpy's matrix products work with one thread in a block.

    Other threads would go on spinning behind a product for a while, in the way of whatever comes
    next. Their number is that of the whole process: where blocks overlap, the one that came first
    sets it and puts it back, and the others leave it alone.
    """
    if not _limiting.acquire(blocking=False):
        yield
        return
    try:
        with _controller("blas").limit(limits=1):
            yield
    finally:
        _limiting.release()


@functools.cache
def _controller(user_api: str) -> ThreadpoolController:
    return ThreadpoolController().select(user_api=user_api)
