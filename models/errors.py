"""What can go wrong with models and their data in a way a user can act upon."""

from pathlib import Path


class ModelError(Exception):
    """Base of all errors that this package raises on purpose."""


class ArtifactError(ModelError):
    """A stored model is missing, damaged or of another format."""


class DatasetError(ModelError):
    """Training or evaluation data is missing or inconsistent."""


class WeightsError(ModelError):
    """Pretrained weights are missing or do not fit the network."""


class ExperimentError(ModelError):
    """An experiment or a grid of them is not described as it should be."""


class DivergedError(ModelError):
    """A training that leaves no network to keep, as its loss is no number; ``folder`` is its run's."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"the training diverged, its loss is no number; take a lower learning rate and another folder "
            f"than {folder}"
        )
