"""What all augmentations of waveforms share."""

from audiorep.augmentations._augmentation import Augmentation


class WaveformAugmentation(Augmentation):
    """Base class of the augmentations of waveforms."""

    _axes = ("batch", "n_timesteps")
