"""Float32, whatever the caller lets torch make and compute in."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

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


def without_autocast() -> AbstractContextManager[object]:
    """Return the context in which a caller's autocast has no effect on a processor.

    It would reach log-mels in half precision, which it does not know, and backward passes.
    """
    return torch.autocast("cpu", enabled=False)
