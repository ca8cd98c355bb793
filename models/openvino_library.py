"""OpenVINO, kept from reporting home: it sends a message to a statistics service whenever it is imported.

There is no switch; but where the package that does so cannot be imported, OpenVINO goes without, and so does
NNCF. Import ``openvino`` from here only.
"""

from __future__ import annotations

import sys
from typing import Any

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not to be imported

import openvino  # noqa: E402

__all__ = ["has_bfloat16", "openvino"]


def has_bfloat16(core: Any) -> bool:
    """Whether this machine's processor computes in bfloat16, as an ``openvino.Core`` knows it."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
