"""ConvWindowClassifier and its objective: the encoders' network under a cross-entropy."""

from torch import Tensor, nn

from audiorep._contrastive import ConvWindowEncoder
from audiorep._training import Objective
from audiorep.augmentations._views import make_augmentation


class ConvWindowClassifier(ConvWindowEncoder):
    """A scaler, a convolutional backbone, and a linear layer on its standardised embedding.

    Parameters
    ----------
    n_mels : int
        Number of mel bands.
    n_frames : int
        Width of a window, in frames.
    width : int
        Channels of the backbone's first stage.
    n_classes : int
        Number of classes.
    """

    def __init__(self, n_mels: int, n_frames: int, width: int, n_classes: int) -> None:
        super().__init__(n_mels, n_frames, width)
        embedding_dim = self.backbone.embedding_dim
        self.head = nn.Sequential(
            nn.BatchNorm1d(embedding_dim), nn.Linear(embedding_dim, n_classes)
        )

    def forward(self, log_mel: Tensor, n_valid: Tensor) -> Tensor:
        """Return logits of shape (batch, n_classes)."""
        return self.head(super().forward(log_mel, n_valid))


class ClassificationObjective(Objective):
    """Cross-entropy between clips' labels and what the network says of their augmented crops.

    The logits of a clip's crops are averaged, as those of its windows are when it is classified:
    a crop that tells nothing may say so.

    The logarithm of each class's share is added to its logits in training only. So the network
    need not learn which classes are frequent, and what it says without that suits classes of
    equal weight.

    Parameters
    ----------
    classifier : ConvWindowClassifier
        What is trained.
    shares : Tensor of shape (n_classes,)
        Share of the training clips that each class has.

    References
    ----------
    Menon et al., Long-Tail Learning via Logit Adjustment, 2021.
    """

    log_shares: Tensor

    def __init__(self, classifier: ConvWindowClassifier, shares: Tensor) -> None:
        super().__init__()
        self.register_buffer("log_shares", shares.log())
        self.classifier = classifier
        self.augmentation = make_augmentation(None)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, crops: Tensor, n_valid: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        crops : Tensor of shape (n_crops * batch, n_mels, n_frames)
            Log-mel power. All first crops of the clips come first, then all second ones.
        n_valid : Tensor of shape (n_crops * batch,)
            Frames of each crop that belong to the clip.
        targets : Tensor of shape (batch,)
            Position of each clip's class.

        Returns
        -------
        Tensor of shape ()
        """
        logits = self.classifier(self.augmentation(crops), n_valid)
        # (n_crops, batch, n_classes)
        of_clips = logits.float().unflatten(0, (-1, len(targets))).mean(0)
        self._hits = of_clips.detach().argmax(1) == targets
        return self.loss(of_clips + self.log_shares, targets)

    def diagnostics(self) -> dict[str, float]:
        """Return the part of the last batch's clips that were told right."""
        return {"accuracy": self._hits.float().mean().item()}
