"""A DCN exported as it stands, by torch's own exporter: the reference for parity and for load tests.

It takes one line of rows per candidate (user, codes and item repeated) and does the whole work of the network
for each of them. Needs `onnxscript`, a development dependency.
"""

import contextlib
import io
import warnings

import torch
from torch import Tensor, nn

from userip.models.recommenders.layers import FieldNetwork


class _Probability(nn.Module):
    def __init__(self, model: FieldNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: Tensor) -> Tensor:
        return torch.sigmoid(self.model(rows))


def plain_onnx(model: FieldNetwork) -> bytes:
    """Export `rows` int64 [N, F] -> `probability` float32 [N] as the bytes of an ONNX model."""
    rows = torch.zeros(2, len(model.offsets), dtype=torch.int64)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # torch 2.13 copies its own deprecated tree specs while it exports; nothing here can change that.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        program = torch.onnx.export(
            _Probability(model).eval(),
            (rows,),
            input_names=["rows"],
            output_names=["probability"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            opset_version=18,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    content: bytes = program.model_proto.SerializeToString(deterministic=True)
    return content
