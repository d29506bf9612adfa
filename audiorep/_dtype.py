"""Float32 on the processor, whatever the caller lets torch make and compute in, and where."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

# The default dtype is that of the whole process: of threads that change it, each must find what
# the caller had chosen.
_DEFAULT_LOCK = threading.RLock()


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Let torch make float32 in the block, and what the caller had chosen behind it.

    The default is that of the whole process: another thread has it, too, while the block runs.
    """
    if torch.get_default_dtype() == torch.float32:
        yield
        return
    with _DEFAULT_LOCK:
        default_dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(default_dtype)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let a caller's autocast and default device have no effect.

    Neither in the block, nor in what this decorates. Autocast would reach log-mels in half
    precision, which it does not know, and backward passes; a default device would put what is made
    in passing elsewhere than the rest.
    """
    with ExitStack() as stack:
        for kind in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # else not, for it slows every call a little
            stack.enter_context(torch.device("cpu"))
        yield
