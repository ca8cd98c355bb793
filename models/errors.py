"""What can go wrong with models and their data in a way a user can act upon."""


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
