"""Float32, whatever the caller lets torch make and compute in."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Let torch make float32 in the block, and what the caller had chosen behind it.

    The default is that of the whole process: another thread has it, too, while the block runs.
    """
    default_dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(default_dtype)


@contextmanager
def without_autocast() -> Iterator[None]:
    """Let a caller's autocast have no effect in the block, or in what this decorates.

    It would reach log-mels in half precision, which it does not know, and backward passes.
    """
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield
