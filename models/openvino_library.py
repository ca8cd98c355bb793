"""OpenVINO, kept from reporting home: it sends a message to a statistics service whenever it is imported.

There is no switch; but where the package that does so cannot be imported, OpenVINO goes without, and so does
NNCF. Import ``openvino`` from here only.
"""

from __future__ import annotations

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not to be imported

import openvino  # noqa: E402

__all__ = ["openvino"]
