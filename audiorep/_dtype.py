"""Float32, whatever torch makes by default."""

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
