"""The comparison that we publish: both encoders beside their controls."""

from typing import Any

from audiorep import ContrastiveAudioEncoder, VQTransformerEncoder
from audiorep.evaluation._baselines import LogMelStatistics, MFCCStatistics
from audiorep.evaluation._supervised import SupervisedAudioClassifier

BOTH = "both"
SUPERVISED = "supervised"


def standard_entries(
    names: list[str] | None = None, *, n_epochs: int | str = "auto", device: str = "auto"
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Return the encoders of the standard comparison, with a supervised control, and their unions.

    Parameters
    ----------
    names : list of str, default=None
        Which entries to return. None means all. What "both" is made of comes with it.
    n_epochs : int or "auto", default="auto"
        For how long what is trained trains.
    device : str, default="auto"
        Where they compute.

    Returns
    -------
    encoders : dict of str to estimator
    unions : dict of str to tuple of str

    Raises
    ------
    ValueError
        When a name is not among them.
    """
    encoders: dict[str, Any] = {
        "log-mel statistics": LogMelStatistics(),
        "MFCC statistics": MFCCStatistics(),
        "contrastive untrained": ContrastiveAudioEncoder(n_epochs=0, device=device),
        "VQ-transformer untrained": VQTransformerEncoder(n_epochs=0, device=device),
        SUPERVISED: SupervisedAudioClassifier(n_epochs=n_epochs, device=device),
        "contrastive": ContrastiveAudioEncoder(n_epochs=n_epochs, device=device),
        "VQ-transformer": VQTransformerEncoder(n_epochs=n_epochs, device=device),
    }
    unions: dict[str, tuple[str, ...]] = {BOTH: ("contrastive", "VQ-transformer")}
    if names is None:
        return encoders, unions
    unknown = [name for name in names if name not in encoders and name not in unions]
    if unknown:
        raise ValueError(
            f"There is no encoder {unknown[0]!r}; choose among {', '.join([*encoders, *unions])}."
        )
    chosen_unions = {name: members for name, members in unions.items() if name in names}
    needed = {*names}.union(*chosen_unions.values())
    return {name: e for name, e in encoders.items() if name in needed}, chosen_unions
