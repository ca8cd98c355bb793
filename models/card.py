"""What an artifact's ``artifact.json`` has to hold."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from models.artifact import WEIGHTS

Name = Annotated[str, Field(min_length=1)]
Inside = Annotated[str, Field(pattern=r"^\w[\w.-]*(/\w[\w.-]*)*$")]
"""A path that cannot lead out of the model's folder."""


class _Network(BaseModel):
    model_config = ConfigDict(strict=True)

    name: Name
    options: dict[str, Any]


class Card(BaseModel):
    """What ``artifact.json`` has to hold."""

    model_config = ConfigDict(strict=True)

    name: Name
    version: str
    architecture: _Network
    labels: Annotated[list[Name], Field(min_length=2)]
    preprocessing: dict[str, Any]
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    files: dict[Inside, str]

    @field_validator("labels")
    @classmethod
    def _differ(cls, labels: list[str]) -> list[str]:
        if len(set(labels)) < len(labels):
            raise ValueError("each label stands there once")
        return labels

    @field_validator("files")
    @classmethod
    def _hold_weights(cls, files: dict[str, str]) -> dict[str, str]:
        if WEIGHTS not in files:
            raise ValueError(f"there has to be {WEIGHTS}")
        return files
