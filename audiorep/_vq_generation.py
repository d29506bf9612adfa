"""Sequences of codes: how likely they are, drawing new ones, and turning them into sound."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audiorep._embedding import FloatArray
from audiorep._vq_window_encoder import CodeCache, VQWindowEncoder
from audiorep.nn import LogMel
from audiorep.nn._inverse_log_mel import inverse_log_mel

Codes = npt.NDArray[np.int64]

# Segments that pass the network together; batches are filled up, so that every product has the
# same shape and a clip's likelihood never depends on its company.
_BATCH = 16
_PEAK = 0.5  # of waveforms made from codes


class Segment(NamedTuple):
    """A part of a clip's codes that is heard at once."""

    owner: int  # position of its clip
    start: int  # step of the clip where it begins
    n_known: int  # steps at its beginning that an earlier segment told of


def code_log_likelihoods(
    module: VQWindowEncoder, clips: list[Codes], device: torch.device
) -> list[FloatArray]:
    """Return the log-probability of every code given all codes before it, in nats.

    Parameters
    ----------
    module : VQWindowEncoder
    clips : list of ndarray of shape (n_steps, n_bands)
    device : torch.device
        Where the module is.

    Returns
    -------
    list of ndarray of shape (n_steps, n_bands)
        A clip's array depends on that clip alone. Memory for the network does not grow with the
        length of clips.
    """
    results = [np.empty(codes.shape, dtype=np.float32) for codes in clips]
    n_past = module.n_past
    # Most clips of many data sets are short, and need no long segments.
    for width in (module.context, 2 * n_past + module.context):
        is_short = width == module.context
        owners = [i for i, c in enumerate(clips) if (len(c) <= module.context) == is_short]
        segments = iter(_segments(clips, owners, width, n_past))
        while group := list(islice(segments, _BATCH)):
            batch = np.zeros((_BATCH, width, module.n_bands), dtype=np.int64)
            for row, (owner, start, _) in zip(batch, group, strict=False):
                part = clips[owner][start : start + width]
                row[: len(part)] = part
            with torch.inference_mode():
                log_p = module.log_likelihood(torch.from_numpy(batch).to(device)).cpu().numpy()
            for row, (owner, start, n_known) in zip(log_p, group, strict=False):
                target = results[owner][start + n_known : start + width]
                target[:] = row[n_known : n_known + len(target)]
    return results


def _segments(clips: list[Codes], owners: list[int], width: int, n_past: int) -> Iterator[Segment]:
    for owner in owners:
        yield Segment(owner, 0, 0)
        for end in range(width, len(clips[owner]), max(1, width - n_past)):
            yield Segment(owner, end - n_past, n_past)


class CodeChoice:
    """Draws codes from logits.

    Parameters
    ----------
    temperature : float
        Logits are divided by it: below 1, likely codes become likelier.
    top_k : int or None
        Only so many of the likeliest codes are drawn. None means all.
    generator : torch.Generator
        Source of chance.
    """

    def __init__(self, temperature: float, top_k: int | None, generator: torch.Generator) -> None:
        # Above this, all codes are equally likely, and float32 would overflow.
        self.temperature = min(temperature, 1e30)
        self.top_k = top_k
        self.generator = generator

    def __call__(self, logits: Tensor) -> Tensor:
        """Draw one code for each row of logits of shape (batch, n_codes)."""
        if self.top_k is not None:
            likeliest = logits.topk(self.top_k, dim=-1)  # of equal ones, no more than that
            nothing = torch.full_like(logits, -torch.inf)
            logits = nothing.scatter(-1, likeliest.indices, likeliest.values)
        # The largest of logits with Gumbel noise is a draw from their softmax. The noise is made
        # on the CPU, so that devices draw alike.
        uniform = torch.rand(logits.shape, generator=self.generator, dtype=torch.float32).clamp_min(
            1e-30
        )
        noise = -(-uniform.log()).clamp_min(1e-30).log()
        return (logits + self.temperature * noise.to(logits.device)).argmax(-1)


class Listener:
    """Hears codes step by step, and keeps what it needs of those it has heard.

    Parameters
    ----------
    module : VQWindowEncoder
    """

    def __init__(self, module: VQWindowEncoder) -> None:
        self.module = module
        self.cache = CodeCache()

    def __call__(self, newest: Tensor) -> Tensor:
        """Return the state after codes of shape (batch, n_new_steps, n_bands): (batch, 1, dim)."""
        return self.module.code_states(newest, self.cache)[:, -1:]


def generate(
    module: VQWindowEncoder,
    prompt: Tensor,
    n_steps: int,
    choose: Callable[[Tensor], Tensor],
    hear: Callable[[Tensor], Tensor],
) -> Tensor:
    """Draw codes, step after step.

    Parameters
    ----------
    module : VQWindowEncoder
    prompt : Tensor of shape (batch, n_prompt_steps, n_bands), int64
        What to go on from; it may have no steps. Of a long one, the end is heard.
    n_steps : int
        Steps to add.
    choose : callable
        ``choose(logits)`` of shape (batch, n_codes) returns codes of shape (batch,).
    hear : callable
        ``hear(codes)`` takes the newest steps, of shape (batch, n_new_steps, n_bands), and returns
        the state after all that it was given so far, of shape (batch, 1, dim): a `Listener`.

    Returns
    -------
    Tensor of shape (batch, n_prompt_steps + n_steps, n_bands)
    """
    steps = [prompt]
    for _ in range(n_steps):
        newest = steps[-1]
        if newest.shape[1]:
            state = hear(newest[:, -module.n_past :])
            logits = module.next_codes.later_logits(state, newest[:, -1:])[:, 0]
        else:
            logits = module.next_codes.first_logits().expand(len(prompt), -1, -1)
        steps.append(_choose_step(module, logits, choose)[:, None])
    return torch.cat(steps, dim=1)


def _choose_step(
    module: VQWindowEncoder, logits: Tensor, choose: Callable[[Tensor], Tensor]
) -> Tensor:
    """Draw the codes of one step, of shape (batch, n_bands), from low to high frequencies."""
    codes = [choose(logits[:, 0])]
    for band in range(1, module.n_bands):
        above = module.next_codes.logits_above(codes[-1], band - 1)
        codes.append(choose(logits[:, band] + above))
    return torch.stack(codes, dim=1)


def codes_to_waveform(module: VQWindowEncoder, codes: Tensor, transform: LogMel) -> FloatArray:
    """Turn the codes of one clip into sound.

    Parameters
    ----------
    module : VQWindowEncoder
        On the CPU.
    codes : Tensor of shape (n_steps, n_bands), int64
    transform : LogMel
        What the encoder was fitted with.

    Returns
    -------
    ndarray of shape (n_steps * patch_frames * hop_length,)
        float32, with a peak of 0.5: codes do not tell how loud a clip was.
    """
    with torch.inference_mode():
        heard = module.tokenizer.decode(codes[None])[0]
        log_mel = heard * module.scaler.scale + module.scaler.mean
        waveform = inverse_log_mel(log_mel - log_mel.max(), transform)
        peak = waveform.abs().max().clamp_min(1e-10)
        scaled: FloatArray = (waveform * (_PEAK / peak)).numpy()
    return scaled
