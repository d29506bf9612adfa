"""How many threads a piece of work has."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def on_threads(n_threads: int, work: Callable[[_Item], _Result], item: _Item) -> _Result:
    """Work on an item with as many threads of torch.

    OpenMP's number is the calling thread's own; `torch.set_num_threads` would reach others, too.
    """
    torch.get_num_threads()  # lets torch set the thread's number first, which it does once
    with _controller("openmp").limit(limits=n_threads):
        return work(item)


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
