"""What an exported network computes in."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """The first that a model has been exported in is the one that serves."""

    INT8 = "int8"
    FP32 = "fp32"

    @property
    def files(self) -> tuple[str, str]:
        """The network's graph and its weights, as OpenVINO's intermediate representation."""
        return f"openvino/{self}.xml", f"openvino/{self}.bin"
