"""Transformers of every family are exported: the graph gives the maps of the extractor, for batches of any size.

Every family has one transformer of two blocks with random weights, so nothing is downloaded.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from torch import Tensor, nn

from stages.attention.chunked_mlp import chunk_mlps
from stages.attention.cls_attention import cls_attention
from stages.exporting.graphs import quiet

FAMILIES = {
    "DINO": ("vit_small_patch16_224.dino", 16),
    "DINOv2 with registers": ("vit_small_patch14_reg4_dinov2.lvd142m", 14),
    "DINOv3, rotary embedding": ("vit_small_patch16_dinov3.lvd1689m", 16),
}


class Maps(nn.Module):
    """Compute the maps of the last two blocks."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, images: Tensor) -> Tensor:
        """Return the maps of normalised images."""
        return cls_attention(self.transformer, images, (0, 1))


@pytest.mark.parametrize(("name", "patch"), FAMILIES.values(), ids=FAMILIES.keys())
def test_a_graph_gives_the_maps_of_the_extractor(name: str, patch: int):
    """The extractor computes scores image by image and MLPs in chunks; the graph computes the batch at once."""
    torch.manual_seed(0)
    size = (3 * patch, 4 * patch)
    transformer = timm.create_model(name, pretrained=False, num_classes=0, img_size=size, depth=2).eval()
    chunk_mlps(transformer)
    maps = Maps(transformer).requires_grad_(requires_grad=False)
    batch = torch.export.Dim("batch", min=1)
    with quiet(), torch.no_grad():
        program = torch.export.export(maps, (torch.rand(2, 3, *size),), dynamic_shapes=({0: batch},), strict=False)
        converted = torch.onnx.export(program, (), input_names=["image"], opset_version=18, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(
        converted.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for count in (1, 3, 7):
        images = torch.rand(count, 3, *size)
        with torch.inference_mode():
            expected = maps(images).numpy()
            recorded = program.module()(images).numpy()
        (found,) = session.run(None, {"image": images.numpy()})
        assert expected.shape == (count, 12, 3, 4)
        np.testing.assert_allclose(recorded, expected, atol=1e-6)
        np.testing.assert_allclose(found, expected, atol=1e-5)
