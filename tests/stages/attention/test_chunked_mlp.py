"""A chunked MLP gives the result of the whole MLP, whatever the size of the chunks."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.layers import GlobalResponseNormMlp, Mlp, SwiGLU

from stages.attention import chunked_mlp
from stages.attention.chunked_mlp import ChunkedMlp, chunk_mlps
from stages.attention.cls_attention import cls_attention
from stages.attention.extractor import AttentionExtractor, ExtractorConfig


@pytest.mark.parametrize("tokenwise", [Mlp(8, 32), SwiGLU(8, 32)], ids=["mlp", "swiglu"])
@pytest.mark.parametrize(("batch", "count"), [(1, 1), (3, 5), (2, 16), (5, 17), (1, 50), (0, 5)])
def test_chunks_give_what_the_whole_gives(tokenwise, batch, count, monkeypatch):
    monkeypatch.setattr(chunked_mlp, "TOKENS", 16)
    sizes = []
    tokenwise.register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape[0] * given[0].shape[1]))
    tokens = torch.randn(batch, count, 8)
    with torch.inference_mode():
        whole = tokenwise(tokens)
        sizes.clear()
        torch.testing.assert_close(ChunkedMlp(tokenwise)(tokens), whole, rtol=1e-5, atol=1e-6)
    assert sum(sizes) == batch * count
    assert max(sizes, default=0) <= 16


def test_attention_is_the_same_with_and_without_chunks(monkeypatch):
    monkeypatch.setattr(chunked_mlp, "TOKENS", 16)
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=(80, 96), num_classes=0).eval()
    images = torch.randn(3, 3, 80, 96)
    with torch.inference_mode():
        whole = cls_attention(model, images, [-2, -1])
        chunk_mlps(model)
        assert all(isinstance(block.mlp, ChunkedMlp) for block in model.blocks)
        torch.testing.assert_close(cls_attention(model, images, [-2, -1]), whole, rtol=1e-5, atol=1e-7)


def test_an_mlp_that_mixes_tokens_is_not_chunked():
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, depth=1)
    model.blocks[0].mlp = GlobalResponseNormMlp(192, 32, use_conv=False)
    chunk_mlps(model)
    assert isinstance(model.blocks[0].mlp, GlobalResponseNormMlp)


def test_the_extractor_chunks_mlps_on_a_cpu():
    config = ExtractorConfig(
        model="untrained_tiny8", weights=None, input_size=(32, 32), layers=[-1], precision="float32"
    )
    extractor = AttentionExtractor.load(config, device="cpu", batch_size=1)
    assert all(isinstance(block.mlp, ChunkedMlp) for block in extractor._module.blocks)
