"""What all augmentations of waveforms share."""

from torch import Tensor

from audiorep.augmentations._augmentation import Augmentation


class WaveformAugmentation(Augmentation):
    """Base class of the augmentations of waveforms."""

    def forward(self, x: Tensor) -> Tensor:
        """Alter a batch.

        Parameters
        ----------
        x : Tensor of shape (batch, n_timesteps)
            One clip per row, of any floating dtype.

        Returns
        -------
        Tensor of shape (batch, n_timesteps)
            Of the same dtype; in ``eval()`` the very same tensor.

        Raises
        ------
        ValueError
            When `x` is anything else.
        """
        if not isinstance(x, Tensor) or x.ndim != 2 or not x.is_floating_point():
            came = type(x).__name__
            if isinstance(x, Tensor):
                came = f"one of shape {tuple(x.shape)}, {x.dtype}"
            raise ValueError(
                f"{type(self).__name__} takes a tensor of shape (batch, n_timesteps) of floating "
                f"numbers, but got {came}; use torch.from_numpy(clips) for an array of clips, and "
                "clip[None] for a single one."
            )
        return super().forward(x)
