"""ONNX Runtime with its telemetry off. Import it from here, never directly.

From 1.29 on the official Linux wheels send events about models and sessions to Microsoft unless this variable
is set before the import; it is read once. Whoever wants the telemetry sets ORT_DISABLE_TELEMETRY=0.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort  # after the variable, which it reads once

__all__ = ["ort"]
