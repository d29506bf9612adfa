"""The generative side of VQTransformerEncoder: codes, likelihood, drawing sound."""

import math
import os
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from audiorep._base import BaseAudioEstimator
from audiorep._dtype import undisturbed
from audiorep._embedding import FloatArray, iter_batches, on_device
from audiorep._training import resolve_device
from audiorep._vq_generation import (
    CodeChoice,
    Codes,
    Listener,
    code_log_likelihoods,
    codes_to_waveform,
    generate,
)
from audiorep._vq_window_encoder import VQWindowEncoder
from audiorep.nn import LogMel
from audiorep.nn._patches import valid_steps


class CodeLanguageModel(BaseAudioEstimator):
    """What an estimator can do whose `module_` is a `VQWindowEncoder`."""

    module_: VQWindowEncoder
    _log_mel_settings: dict[str, int]

    @property
    def codebook_(self) -> FloatArray:
        """The k-means centres, of shape (n_codes_in_use, bottleneck_dim)."""
        check_is_fitted(self, "readout_")
        tokenizer = self.module_.tokenizer
        codebook: FloatArray = tokenizer.codebook[tokenizer.in_use].numpy()
        return codebook

    # ------------------------------------------------------------------ codes

    @undisturbed()
    def tokenize(self, X: Any) -> list[Codes]:
        """Return the codes of clips.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            As for `fit`.

        Returns
        -------
        list of ndarray of shape (n_steps, n_bands)
            One array per clip: positions in `codebook_`, from low to high frequencies. A step is
            8 frames; a last one of which less than half belongs to the clip is left out.
        """
        check_is_fitted(self, "readout_")
        device = resolve_device(self.device)
        module = on_device(self.module_, device)
        width = module.n_frames
        clips: dict[int, list[Codes]] = {}
        for batch in iter_batches(self._sources(X), width, width, width):
            log_mel, n_valid = batch.tensors(device)
            with torch.inference_mode():
                codes = module.tokenizer.encode(module.listen_in_clip(log_mel, n_valid))
            valid = valid_steps(n_valid, codes.shape[1], module.grid).cpu()
            rows = zip(batch.owners, batch.windows, codes.cpu(), valid, strict=True)
            for owner, window, codes_of_window, inside in rows:
                # The first step always counts, but of the clip, not of a window behind others.
                is_rest = window.start > 0 and window.n_valid < module.grid // 2
                if owner >= 0 and not is_rest:
                    clips.setdefault(owner, []).append(codes_of_window[inside].numpy())
        return [np.concatenate(clips[owner]) for owner in sorted(clips)]

    @undisturbed()
    def detokenize(self, codes: Any) -> list[FloatArray]:
        """Turn codes into sound.

        The codes stand for log-mels, so neither phase nor absolute level can be recovered: the
        phase is one that fits (Griffin and Lim), and every waveform peaks at 0.5, even that of
        silence. What stays is what happens in each mel band relative to the rest of the clip, as
        finely as the codebook tells it. A clip is inverted in one piece, which takes some 0.1 GB of
        memory for every minute of it; so do `reconstruct` and `sample`.

        Parameters
        ----------
        codes : sequence of array-like of shape (n_steps, n_bands), int
            As `tokenize` and `sample` return them.

        Returns
        -------
        list of ndarray of shape (n_timesteps,)
            float32, at `sample_rate`; a step is ``8 * hop_length`` timesteps.
        """
        check_is_fitted(self, "readout_")
        if isinstance(codes, np.ndarray) and codes.ndim == 2 and codes.dtype.kind in "iu":
            raise ValueError(
                f"codes is one array of shape {codes.shape}, but should hold many clips; pass "
                "[codes]."
            )
        clips = [self._check_codes(clip, f"codes[{i}]") for i, clip in enumerate(codes)]
        transform = LogMel(**self._log_mel_settings)
        return [
            codes_to_waveform(self.module_, torch.from_numpy(clip), transform) for clip in clips
        ]

    def reconstruct(self, X: Any) -> list[FloatArray]:
        """Return clips as their codes tell them: ``detokenize(tokenize(X))``.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            As for `fit`.

        Returns
        -------
        list of ndarray of shape (n_timesteps,)
            float32, at `sample_rate`. They have whole steps, one at least, so their lengths differ
            from the clips' by about half a step at most; see `detokenize` for what else is lost.
        """
        return self.detokenize(self.tokenize(X))

    # ------------------------------------------------------------------ likelihood

    def score_samples(self, X: Any) -> FloatArray:
        """Return how likely clips are.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            As for `fit`.

        Returns
        -------
        ndarray of shape (n_clips,)
            Mean log-likelihood of a clip's codes, each given all codes before it, in nats per
            code. It depends on that clip alone.
        """
        means = [log_p.mean(dtype=np.float64) for log_p in self._log_likelihoods(X)]
        return np.array(means, dtype=np.float32)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of `score_samples` over clips, in nats per code.

        It compares encoders whose codes are equally many and equally long: fewer or coarser codes
        are easier to predict, and none the better for it. To choose `n_codes`, `n_bands` or what
        the spectrogram is like, put a classifier behind the encoder.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            As for `fit`.
        y : None
            Ignored.

        Returns
        -------
        float
        """
        return float(self.score_samples(X).mean())

    def perplexity(self, X: Any) -> float:
        """Return among how many equally likely codes the model would be as unsure.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_timesteps), or sequence of length n_clips
            As for `fit`.

        Returns
        -------
        float
            The exponential of minus the mean log-likelihood over all codes of all clips, so that
            long clips count more than in `score`. Its logarithm to base 2 is the bits per code.
            Encoders compare as by `score`.
        """
        every_code = np.concatenate([log_p.ravel() for log_p in self._log_likelihoods(X)])
        return float(np.exp(-every_code.mean(dtype=np.float64)))

    @undisturbed()
    def _log_likelihoods(self, X: Any) -> list[FloatArray]:
        codes = self.tokenize(X)
        device = resolve_device(self.device)
        return code_log_likelihoods(on_device(self.module_, device), codes, device)

    # ------------------------------------------------------------------ drawing

    @undisturbed()
    def sample(
        self,
        n_clips: int = 1,
        *,
        duration: float | None = None,
        prompt: Any = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        random_state: Any = None,
    ) -> tuple[FloatArray, Codes]:
        """Draw new clips from what was learned.

        Codes are drawn step after step, each given those before it (every block of the
        transformer looks back by `window_frames`), and turned into sound as `detokenize` does.

        Parameters
        ----------
        n_clips : int, default=1
            How many clips to draw.
        duration : float, default=None
            Length of what is drawn, in seconds, rounded up to whole steps. None means a window of
            `window_frames`.
        prompt : array-like of shape (n_steps, n_bands), int, or a clip, default=None
            What every clip begins with: codes of one clip, a waveform or a path. What is drawn
            goes on from there. None means nothing.
        temperature : float, default=1.0
            Below 1, likely codes become likelier; above 1, all become more alike.
        top_k : int, default=None
            Only so many of the likeliest codes are drawn from. None means all.
        random_state : int, RandomState instance or None, default=None
            Source of chance. None means the estimator's `random_state`: where that is an int, every
            call draws the same clips.

        Returns
        -------
        waveforms : ndarray of shape (n_clips, n_timesteps)
            float32, at `sample_rate`; the prompt comes first.
        codes : ndarray of shape (n_clips, n_steps, n_bands)
            Their codes.
        """
        check_is_fitted(self, "readout_")
        _check_number("n_clips", n_clips, Integral)
        _check_number("temperature", temperature, Real)
        self._check_top_k(top_k)
        n_steps = self._n_new_steps(duration)
        begun = torch.from_numpy(self._prompt_codes(prompt)).expand(n_clips, -1, -1)
        source = self.random_state if random_state is None else random_state
        seed = int(check_random_state(source).randint(np.iinfo(np.int32).max))
        choose = CodeChoice(float(temperature), top_k, torch.Generator().manual_seed(seed))
        device = resolve_device(self.device)
        with torch.inference_mode():
            module = on_device(self.module_, device)
            drawn = generate(module, begun.to(device), n_steps, choose, Listener(module))
        codes = drawn.cpu().numpy()
        return np.stack(self.detokenize(list(codes))), codes

    def _n_new_steps(self, duration: float | None) -> int:
        module = self.module_
        if duration is None:
            return module.n_frames // module.grid
        _check_number("duration", duration, Real)
        settings = self._log_mel_settings
        step = module.grid * settings["hop_length"] / settings["sample_rate"]
        # A duration of n steps, computed in floating point, is no more than n steps.
        return max(1, math.ceil(duration / step - 1e-6))

    def _prompt_codes(self, prompt: Any) -> Codes:
        if prompt is None:
            return np.zeros((0, self.module_.n_bands), dtype=np.int64)
        if isinstance(prompt, (str, os.PathLike)):
            return self._tokenize_prompt(prompt)
        array = _as_array(prompt, "prompt")
        if array.ndim != 1:
            return self._check_codes(array, "prompt")
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"prompt is a sequence of {array.dtype}, not of numbers; pass one clip: its "
                "waveform, its path or its codes."
            )
        if len(array) == self.module_.n_bands and array.dtype.kind in "iu":
            raise ValueError(
                f"prompt has shape {array.shape}, but the codes of a clip have shape (n_steps, "
                f"{len(array)}); pass [prompt] for a single step."
            )
        return self._tokenize_prompt(array)

    def _tokenize_prompt(self, clip: Any) -> Codes:
        try:
            return self.tokenize([clip])[0]
        except (ValueError, FileNotFoundError) as error:
            if type(error) not in (ValueError, FileNotFoundError):
                raise
            raise type(error)(str(error).replace("clip 0", "prompt", 1)) from error

    def _check_codes(self, codes: Any, name: str) -> Codes:
        """Return the codes of one clip as an array, or tell what is wrong with them."""
        module = self.module_
        array = _as_array(codes, name)
        if array.ndim != 2 or array.shape[1] != module.n_bands or not len(array):
            raise ValueError(
                f"{name} has shape {array.shape}, but the codes of a clip have shape (n_steps, "
                f"{module.n_bands}), with one step at least."
            )
        if array.dtype.kind not in "iu":
            raise ValueError(
                f"{name} holds {array.dtype}, but codes are whole numbers; pass what tokenize or "
                "sample returned."
            )
        in_use = module.tokenizer.in_use.numpy()
        known = (array >= 0) & (array < len(in_use))
        if not (known.all() and in_use[array].all()):
            stranger = array[~known][0] if not known.all() else array[~in_use[array]][0]
            raise ValueError(
                f"{name} holds the code {stranger}, but this encoder knows those from 0 to "
                f"{in_use.sum() - 1}."
            )
        return array.astype(np.int64)

    def _check_top_k(self, top_k: Any) -> None:
        if top_k is None:
            return
        _check_number("top_k", top_k, Integral)
        n_in_use = int(self.module_.tokenizer.in_use.sum())
        if top_k > n_in_use:
            raise ValueError(
                f"top_k={top_k} is more than the {n_in_use} codes in use; use a smaller one, or "
                "None for all."
            )


def _as_array(value: Any, name: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} cannot be made an array, as one clip can: {error}") from error


def _check_number(name: str, value: Any, kind: Any) -> None:
    """Raise unless `value` is a finite number of a kind, above zero."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        what = "a whole number" if kind is Integral else "a number"
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; pass {what}.")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}={value!r} must be finite and above 0.")
