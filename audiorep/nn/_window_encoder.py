"""What an encoder trains: a module that turns windows of log-mel power into feature maps."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class WindowEncoder(nn.Module, ABC):
    """Base class of the modules behind the encoders.

    Parameters
    ----------
    n_frames : int
        Width of a window, in frames.
    grid : int
        Windows of a clip start at multiples of this many frames, so that the positions of its
        maps are evenly spaced.
    banded_map : tuple of (int, int), default=None
        A feature map whose filters answer in several frequency bands, and how many filters it has:
        channel ``c * n_bands + b`` is filter ``c`` in band ``b``. Features then tell, too, which of
        its filters answer in the same bands. None means that there is no such map.
    n_beyond : int, default=0
        Frames behind a clip's end that its maps depend on, which must not be missing.
    """

    def __init__(
        self,
        n_frames: int,
        grid: int,
        banded_map: tuple[int, int] | None = None,
        n_beyond: int = 0,
    ) -> None:
        super().__init__()
        self.n_frames = n_frames
        self.grid = grid
        self.banded_map = banded_map
        self.n_beyond = n_beyond

    @abstractmethod
    def centres(self, n_positions: int) -> Tensor:
        """Return where the positions of a feature map are in a window of `n_frames`.

        Parameters
        ----------
        n_positions : int
            Positions of the map.

        Returns
        -------
        Tensor of shape (n_positions,)
            The frames that the positions are centred on.
        """

    @abstractmethod
    def feature_maps(self, log_mel: Tensor, n_valid: Tensor) -> list[Tensor]:
        """Return feature maps, from shallow to deep.

        Parameters
        ----------
        log_mel : Tensor of shape (batch, n_mels, width)
            Natural logarithm of mel-band power; as wide as a window, two thirds of it (a multiple
            of `grid`), or twice as wide.
        n_valid : Tensor of shape (batch,)
            Frames that belong to the clip; what stands behind them has no effect.

        Returns
        -------
        list of Tensor of shape (batch, n_channels, n_positions)
            float32; `centres` tells where the positions are.
        """

    def deepest_map(self, log_mel: Tensor, n_valid: Tensor) -> Tensor:
        """Return the map that features over time are read from: by default the last one.

        It has the shape (batch, n_channels, n_positions), and is float32.
        """
        return self.feature_maps(log_mel, n_valid)[-1]
