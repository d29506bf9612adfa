"""How many threads a piece of work has."""

import functools
from collections.abc import Callable
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
    with _openmp().limit(limits=n_threads):
        return work(item)


@functools.cache
def _openmp() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="openmp")
