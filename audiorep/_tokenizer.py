"""From log-mels to codes and back: an autoencoder of patches, and k-means on its bottleneck."""

from collections.abc import Callable, Iterator

import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from audiorep._dtype import undisturbed
from audiorep._training import Objective, train
from audiorep.nn._patches import PatchAutoencoder, patchify, unpatchify, valid_steps

# k-means sees at most this many patches per code: more do not move its centres.
_PATCHES_PER_CODE = 80


def remove_level(log_mel: Tensor, n_valid: Tensor) -> Tensor:
    """Subtract the mean over all bands and valid frames, and put zeros behind the clip's end.

    Parameters
    ----------
    log_mel : Tensor of shape (batch, n_mels, n_frames)
    n_valid : Tensor of shape (batch,)
        Frames that belong to the clip.

    Returns
    -------
    Tensor of shape (batch, n_mels, n_frames)
    """
    frame = torch.arange(log_mel.shape[-1], device=log_mel.device)
    inside = frame < n_valid[:, None, None]
    total = log_mel.masked_fill(~inside, 0.0).sum((1, 2), keepdim=True)
    mean = total / (n_valid[:, None, None] * log_mel.shape[1])
    return (log_mel - mean).masked_fill(~inside, 0.0)


class PatchTokenizer(Objective):
    """Patches of log-mels become codes; one codebook serves all bands.

    A window is cut into steps along time and bands along frequency. A fully connected autoencoder
    compresses each patch, and the code is the nearest k-means centre in its bottleneck.

    Parameters
    ----------
    n_mels : int, default=64
        Number of mel bands, a multiple of `n_bands`.
    n_bands : int, default=4
        Patches, hence codes, per step.
    patch_frames : int, default=8
        Frames of a step.
    n_codes : int, default=256
        Size of the codebook.
    bottleneck_dim : int, default=64
        Length of a compressed patch.

    Attributes
    ----------
    codebook : Tensor of shape (n_codes, bottleneck_dim)
        The k-means centres. Learned by `fit`.
    in_use : Tensor of shape (n_codes,), bool
        False for the codes that `fit` had too few patches for.

    References
    ----------
    Verma and Smith, A Framework for Contrastive and Generative Learning of Audio
    Representations, 2020.

    Examples
    --------
    >>> import torch
    >>> from audiorep._tokenizer import PatchTokenizer
    >>> tokenizer = PatchTokenizer(n_codes=8)
    >>> codes = tokenizer.encode(torch.zeros(2, 64, 96))
    >>> codes.shape, tokenizer.decode(codes).shape
    (torch.Size([2, 12, 4]), torch.Size([2, 64, 96]))
    """

    codebook: Tensor
    in_use: Tensor

    def __init__(
        self,
        n_mels: int = 64,
        n_bands: int = 4,
        patch_frames: int = 8,
        n_codes: int = 256,
        bottleneck_dim: int = 64,
    ) -> None:
        super().__init__()
        if n_mels % n_bands:
            raise ValueError(f"n_mels={n_mels} is not a multiple of n_bands={n_bands}.")
        self.patch_mels = n_mels // n_bands
        self.patch_frames = patch_frames
        self.autoencoder = PatchAutoencoder(self.patch_mels * patch_frames, bottleneck_dim)
        self.register_buffer("codebook", torch.randn(n_codes, bottleneck_dim))
        self.register_buffer("in_use", torch.ones(n_codes, dtype=torch.bool))

    def bottleneck(self, log_mel: Tensor) -> Tensor:
        """Compress the patches of log-mels.

        Parameters
        ----------
        log_mel : Tensor of shape (batch, n_mels, n_frames)
            Standardised.

        Returns
        -------
        Tensor of shape (batch, n_steps, n_bands, bottleneck_dim)
        """
        return self.autoencoder.encode(self._patches(log_mel))

    def quantize(self, bottleneck: Tensor) -> Tensor:
        """Return the nearest code of vectors of shape (..., bottleneck_dim)."""
        # The squared distance, less the vector's own square, which is the same for all codes.
        distance = self.codebook.square().sum(1) - 2 * bottleneck.float() @ self.codebook.T
        return distance.masked_fill(~self.in_use, torch.inf).argmin(-1)

    @undisturbed()  # in bfloat16, many patches would be next to another code
    def encode(self, log_mel: Tensor) -> Tensor:
        """Turn log-mels into codes.

        Parameters
        ----------
        log_mel : Tensor of shape (batch, n_mels, n_frames)
            Standardised.

        Returns
        -------
        Tensor of shape (batch, n_steps, n_bands), int64
        """
        return self.quantize(self.bottleneck(log_mel))

    def decode(self, codes: Tensor) -> Tensor:
        """Turn codes into the log-mels that they stand for.

        Parameters
        ----------
        codes : Tensor of shape (batch, n_steps, n_bands), int64

        Returns
        -------
        Tensor of shape (batch, n_mels, n_frames)
            Standardised.
        """
        patches = self.autoencoder.decode(self.codebook[codes])
        return unpatchify(patches.float(), self.patch_mels, self.patch_frames)

    def forward(self, log_mel: Tensor, n_valid: Tensor) -> Tensor:
        """Return the mean squared error of the autoencoder over valid patches."""
        patches = self._valid_patches(log_mel, n_valid)
        return (self.autoencoder(patches).float() - patches).square().mean()

    def fit(
        self,
        batches: Iterator[tuple[Tensor, Tensor]],
        *,
        n_steps: int = 300,
        learning_rate: float = 2e-3,
        dtype: torch.dtype = torch.float32,
        progress: Callable[[int, int, dict[str, float]], None] | None = None,
    ) -> list[float]:
        """Train the autoencoder, then place the codes by k-means.

        Parameters
        ----------
        batches : iterator of (log_mel, n_valid)
            Log-mels as for `encode`, and how many of their frames belong to the clip.
        n_steps : int, default=300
            Steps of the optimiser.
        learning_rate : float, default=2e-3
            Its peak.
        dtype : torch.dtype, default=torch.float32
            What matrix products are computed in.
        progress : callable, default=None
            Called as ``progress(step, n_steps, values)`` after every step.

        Returns
        -------
        list of float
            The autoencoder's loss at every step.
        """
        history = train(
            self,
            batches,
            n_steps=n_steps,
            learning_rate=learning_rate,
            weight_decay=0.01,
            dtype=dtype,
            progress=progress,
        )
        self.requires_grad_(False)
        vectors = self._collect(batches, len(self.codebook) * _PATCHES_PER_CODE)
        self._place_codes(vectors)
        return history["loss"]

    @torch.no_grad()
    def _collect(self, batches: Iterator[tuple[Tensor, Tensor]], n_vectors: int) -> Tensor:
        """Return bottleneck vectors of at least `n_vectors` patches."""
        vectors: list[Tensor] = []
        n_collected = 0
        while n_collected < n_vectors:
            patches = self._valid_patches(*next(batches))
            vectors.append(self.autoencoder.encode(patches))
            n_collected += len(patches)
        return torch.cat(vectors)[:n_vectors]

    def _place_codes(self, vectors: Tensor) -> None:
        seed = int(torch.randint(2**31 - 1, ()))
        points = torch.unique(vectors.cpu(), dim=0)
        n_codes = min(len(self.codebook), len(points))
        k_means = MiniBatchKMeans(
            n_codes, batch_size=2048, max_iter=30, n_init=1, random_state=seed
        ).fit(points.numpy())
        self.codebook[:n_codes] = torch.from_numpy(k_means.cluster_centers_).to(self.codebook)
        self.in_use[:] = torch.arange(len(self.in_use), device=self.in_use.device) < n_codes

    def _patches(self, log_mel: Tensor) -> Tensor:
        return patchify(log_mel, self.patch_mels, self.patch_frames)

    def _valid_patches(self, log_mel: Tensor, n_valid: Tensor) -> Tensor:
        patches = self._patches(log_mel)
        return patches[valid_steps(n_valid, patches.shape[1], self.patch_frames)].flatten(0, 1)
