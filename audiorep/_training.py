"""The one training loop, and the seeding and precision that go with it."""

import math
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiorep._dtype import float32_by_default

# What is known of every step of a training: its loss, its learning rate, and more.
History = dict[str, list[float]]

# torch's default generator belongs to the whole process, so one training at a time may use it.
_RANDOM_LOCK = threading.RLock()


def _renew_lock() -> None:
    """Let a forked process fit, even when another thread was fitting as it was forked."""
    global _RANDOM_LOCK
    _RANDOM_LOCK = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch inside the block, on the processor and on `device`.

    The caller's random state is left as it was. Other devices are not touched: that alone would
    take memory on them, and fail where they are full, or in a forked process.

    Gradients are computed in it, whether the caller has switched them off or not, and new tensors
    are float32, whatever the caller's default is.
    """
    on_gpu = device.type == "cuda"
    with (
        _RANDOM_LOCK,
        torch.random.fork_rng(devices=[device.index] if on_gpu else []),
        torch.inference_mode(False),
        torch.enable_grad(),
        float32_by_default(),
    ):
        # torch.manual_seed would reach all devices.
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def resolve_device(device: str) -> torch.device:
    """Return the device that a parameter stands for; "auto" takes a GPU where there is one.

    Raises
    ------
    ValueError
        When there is no such device here.
    """
    if device == "auto":
        # With its number, for the current one is that of a thread.
        return torch.empty(0, device="cuda" if torch.cuda.is_available() else "cpu").device
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={device!r} cannot be used here: {reason}") from error


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype that training computes in; "auto" takes bfloat16 where it is fast."""
    if precision == "float32":
        return torch.float32
    if precision == "bfloat16":
        return torch.bfloat16
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and _cpu_has_fast_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def _cpu_has_fast_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 faster than float32.

    With AMX, or AVX-512 on AMD. Intel's AVX-512 is no faster at bfloat16 than at float32, and
    converting costs extra.
    """
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    with_amx = capabilities.get("amx_bf16", torch.cpu._is_amx_tile_supported())
    with_avx512 = capabilities.get("avx512_bf16", torch.cpu._is_avx512_bf16_supported())
    return bool(with_amx or (with_avx512 and "AMD" in _cpu_name(capabilities)))


def _cpu_name(capabilities: Mapping[str, Any]) -> str:
    """Return the processor's maker and perhaps its model, or "" where nobody tells."""
    if name := capabilities.get("cpu_name"):
        return str(name)
    if (listing := Path("/proc/cpuinfo")).exists():
        for line in listing.read_text(errors="replace").splitlines():
            if line.startswith("vendor_id"):  # AuthenticAMD, GenuineIntel
                return line.split(":", 1)[1].strip()
    return platform.processor()


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which matrix products are computed in `dtype`.

    Weights are converted anew at each use: torch would keep what it converted until the outermost
    autocast ends, be that one that switches a caller's off for a whole fit, and train on weights
    that never change.
    """
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype, cache_enabled=False)


def n_training_steps(
    n_epochs: int | str, n_clips: int, batch_size: int, *, budget: int = 800, n_times: int = 10
) -> int:
    """Return how many steps of the optimiser to take.

    Parameters
    ----------
    n_epochs : int or "auto"
        How many times every clip is seen. "auto" takes `budget` steps, which suits hundreds and
        thousands of clips; fewer for a handful, which is learned sooner, and more where else some
        of very many clips would be seen less than `n_times`.
    n_clips : int
        Clips to learn from.
    batch_size : int
        Clips per step; when there are fewer, a batch holds all.
    budget : int, default=800
        Steps that "auto" takes.
    n_times : int, default=10
        How many times "auto" sees every clip, at least.

    Examples
    --------
    >>> [n_training_steps("auto", n, batch_size=64) for n in (20, 2000, 64000)]
    [40, 800, 10000]
    """
    steps_per_epoch = n_clips / min(batch_size, n_clips)
    if n_epochs != "auto":
        return math.ceil(int(n_epochs) * steps_per_epoch)
    return min(2 * n_clips, max(budget, math.ceil(n_times * steps_per_epoch)))


def warm_up_cosine(step: int, n_steps: int, warm_up: float = 0.1) -> float:
    """Return the factor on the learning rate at `step` of `n_steps`.

    It rises linearly during the first `warm_up` of the steps, then falls to zero as half a
    cosine wave.

    Examples
    --------
    >>> [round(warm_up_cosine(step, 100), 2) for step in (0, 9, 55, 99)]
    [0.1, 1.0, 0.5, 0.0]
    """
    n_warm_up = max(1, round(warm_up * n_steps))
    if step < n_warm_up:
        return (step + 1) / n_warm_up
    progress = (step - n_warm_up) / max(1, n_steps - n_warm_up)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


class Objective(nn.Module):
    """Base class of what is minimised: ``objective(*batch)`` is the scalar loss."""

    def diagnostics(self) -> dict[str, float]:
        """Return what else to record of the batch that the loss was last computed of.

        The same names at every step, and no value that is not finite.
        """
        return {}


def train(
    objective: Objective,
    batches: Iterable[tuple[Tensor, ...]],
    *,
    n_steps: int,
    learning_rate: float,
    weight_decay: float,
    max_gradient_norm: float = math.inf,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
) -> History:
    """Minimise an objective with AdamW, warm-up and a cosine schedule.

    Parameters
    ----------
    objective : Objective
        ``objective(*batch)`` is the scalar loss.
    batches : iterable of tuple of Tensor
        At least `n_steps` of them, on the objective's device.
    n_steps : int
        Steps of the optimiser.
    learning_rate : float
        Its peak, after the warm-up.
    weight_decay : float
        Decoupled weight decay of all matrices and filters; biases and norms have none.
    max_gradient_norm : float, default=inf
        Longer gradients are shortened to this length.
    dtype : torch.dtype, default=torch.float32
        What matrix products are computed in; the weights stay in float32.
    progress : callable, default=None
        Called as ``progress(step, n_steps, values)`` after every step, with what the history
        gets of it.

    Returns
    -------
    dict of str to list of float
        Of every step its "loss", its "learning_rate", and the objective's diagnostics. Without
        steps, the first two are empty.

    Raises
    ------
    FloatingPointError
        When the loss is NaN or infinite, or a parameter is after the last step.
    """
    parameters = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=learning_rate,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warm_up_cosine(step, n_steps)
    )
    device = next(iter(parameters)).device
    history: History = {"loss": [], "learning_rate": []}
    objective.train()
    for step, batch in zip(range(n_steps), batches, strict=False):
        with autocast(dtype, device):
            loss = objective(*batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if max_gradient_norm < math.inf:
            nn.utils.clip_grad_norm_(parameters, max_gradient_norm)
        optimizer.step()
        values = {"loss": loss.item(), "learning_rate": schedule.get_last_lr()[0]}
        schedule.step()
        if not math.isfinite(values["loss"]):
            raise FloatingPointError(
                f"The loss is {values['loss']} at step {step}; lower learning_rate={learning_rate}."
            )
        values |= objective.diagnostics()
        for name, value in values.items():
            history.setdefault(name, []).append(value)
        if progress is not None:
            progress(step, n_steps, values)
    if not all(bool(p.isfinite().all()) for p in parameters):
        raise FloatingPointError(
            f"Weights are not finite after {n_steps} steps; lower learning_rate={learning_rate}."
        )
    objective.eval()
    return history


class ProgressLine:
    """One line on standard error that follows a training.

    On a terminal the line is rewritten in place, and cut where the terminal ends; elsewhere ten
    steps or more print a line, evenly spread.

    Parameters
    ----------
    title : str
        What is being trained.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = time.monotonic()
        self.shown = self.started

    def __call__(self, step: int, n_steps: int, values: dict[str, float]) -> None:
        """Show step `step` of `n_steps`, and its values but for the learning rate."""
        now, last = time.monotonic(), step + 1 == n_steps
        on_terminal = sys.stderr.isatty()
        due = now - self.shown > 0.2 if on_terminal else (step + 1) % max(1, n_steps // 10) == 0
        if not (due or last):
            return
        self.shown = now
        elapsed = now - self.started
        left = elapsed / (step + 1) * (n_steps - step - 1)
        shown = {name: value for name, value in values.items() if name != "learning_rate"}
        text = ", ".join(
            [
                f"{self.title}: step {step + 1}/{n_steps}",
                f"{elapsed:.0f} s",
                f"{left:.0f} s left",
                *(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items()),
            ]
        )
        if on_terminal:
            text = "\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1]
        end = "\n" if last or not on_terminal else ""
        print(text, end=end, file=sys.stderr, flush=True)
