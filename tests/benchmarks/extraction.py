"""Time the transformer alone: our way, which computes only one CLS row, against two ways with full attention.

The model is ViT-S/8 with random weights, which take the same time as trained ones. All ways use the same batch and
threads. The reference is the loop of facebookresearch/dino over the same timm blocks and weights. The error of bfloat16
is reported for each head of a trained model.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor

from stages.attention.chunked_mlp import chunk_mlps
from stages.attention.cls_attention import cls_attention
from stages.attention.extractor import AttentionExtractor, ExtractorConfig
from tests.benchmarks.measure import Measurement, Skipped, side_by_side

TARGETS = {224: (1.7, 2.4, 2.6), 480: (2.4, 4.0, None)}
"""Targets by side of the image: reference / ours, transformers / ours, reference / ours in bfloat16."""
BATCH = {224: 8, 480: 1}
ROUNDS = {224: 3, 480: 2}


def measure() -> Iterator[Measurement]:
    """Yield the speed at two sizes, the error of bfloat16, peak memory and, on a GPU, the share of its matrix rate."""
    for side in TARGETS:
        yield from _speed(side)
    yield _bfloat16_error()
    missing = []
    if Path("/proc/self/status").exists():
        yield from (_memory(count) for count in (1, 4))
    else:
        missing.append("peak memory is read from /proc, which only Linux has")
    if importlib.util.find_spec("transformers") is None:
        missing.append("transformers is not installed (the extra `bench`)")
    if torch.cuda.is_available():
        yield _gpu()
    else:
        missing.append("there is no GPU")
    if missing:
        raise Skipped("in part: " + "; ".join(missing))


def _speed(side: int) -> Iterator[Measurement]:
    images = torch.randn(BATCH[side], 3, side, side)
    model = _vit_small(side)
    quick, halved = _ours(side), _ours(side).bfloat16()
    ways: dict[str, Callable[[], object]] = {
        "reference": lambda: reference_attention(model, images),
        "ours": lambda: cls_attention(quick, images, [-1]),
        "ours in bfloat16": lambda: cls_attention(halved, images.bfloat16(), [-1]),
    }
    if importlib.util.find_spec("transformers") is not None:
        theirs = _transformers(side)
        ways["transformers"] = lambda: theirs(images, output_attentions=True)
    with torch.inference_mode():
        apart = float((ways["reference"]()[:, :, 0, 1:] - ways["ours"]().flatten(2)).abs().max())  # type: ignore[index,attr-defined]
        seconds = {name: took / len(images) for name, took in side_by_side(ways, rounds=ROUNDS[side]).items()}
    pairs = [("reference", "ours"), ("transformers", "ours"), ("reference", "ours in bfloat16")]
    for (slow, fast), target in zip(pairs, TARGETS[side], strict=True):
        if slow in seconds:
            yield Measurement(
                name=f"extraction: {slow} / {fast}, {side}²",
                ratio=seconds[slow] / seconds[fast],
                target=target,
                claim=f"{slow} / {fast}, seconds an image",
                details={slow: seconds[slow], fast: seconds[fast], "batch": BATCH[side], "largest difference": apart},
            )


def reference_attention(model: Any, images: Tensor) -> Tensor:
    """Return the last block's attention (batch, heads, tokens, tokens), with full attention computed in every block."""
    tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))
    weights = tokens
    for block in model.blocks:
        attention = block.attn
        batch, count, dim = tokens.shape
        parts = attention.qkv(block.norm1(tokens)).reshape(batch, count, 3, attention.num_heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        weights = ((query @ key.transpose(-2, -1)) * attention.scale).softmax(dim=-1)
        tokens = tokens + attention.proj((weights @ value).transpose(1, 2).reshape(batch, count, dim))
        tokens = tokens + block.mlp(block.norm2(tokens))
    return weights


def _vit_small(side: int) -> Any:
    torch.manual_seed(0)
    return timm.create_model("vit_small_patch8_224", pretrained=False, img_size=side, num_classes=0).eval()


def _ours(side: int) -> Any:
    """Return the same model, prepared as the extractor does on a CPU."""
    model = _vit_small(side)
    chunk_mlps(model)
    return model


def _transformers(side: int) -> Any:
    from transformers import ViTConfig, ViTModel

    shape = ViTConfig(
        hidden_size=384, num_attention_heads=6, intermediate_size=1536, patch_size=8, image_size=side,
        attn_implementation="eager",
    )  # fmt: skip
    return ViTModel(shape, add_pooling_layer=False).eval()


def _bfloat16_error() -> Measurement:
    images = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), dtype=np.uint8)
    whole, halved = (
        AttentionExtractor.load(
            ExtractorConfig(
                model="dino_phantom_tiny8", weights=None, input_size=(224, 224), layers=[-1], precision=precision
            ),
            device="cpu",
            batch_size=8,
        ).extract(images).astype(np.float32)
        for precision in ("float32", "bfloat16")
    )  # fmt: skip
    apart = np.abs(halved - whole).mean(axis=(0, 2, 3)) / whole.mean(axis=(0, 2, 3))
    return Measurement(
        name="extraction: error of bfloat16",
        ratio=float(apart.max()),
        target=None,
        claim="mean difference from float32 / mean attention, the worst head of dino_phantom_tiny8",
        details={f"head {head}": float(error) for head, error in enumerate(apart)},
    )


_PEAK = """
import sys, torch
from tests.benchmarks import extraction
make = extraction._vit_small if sys.argv[1] == "reference" else extraction._ours
model, images = make(480), torch.randn(int(sys.argv[2]), 3, 480, 480)
def peak():  # not getrusage: its value starts at the peak of the parent process
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
with torch.inference_mode():
    model.blocks(model.patch_embed(images)[:, :16])  # the libraries' own code and buffers
    before = peak()
    if sys.argv[1] == "reference":
        extraction.reference_attention(model, images)
    else:
        extraction.cls_attention(model, images, [-1])
print(peak() - before)
"""


def _memory(count: int) -> Measurement:
    command = [sys.executable, "-c", _PEAK]
    extra = {way: int(subprocess.check_output([*command, way, str(count)])) for way in ("reference", "ours")}
    return Measurement(
        name=f"extraction: memory, 480², batch of {count}",
        ratio=extra["ours"] / extra["reference"],
        target=0.1,
        at_most=True,
        claim="ours / reference, peak memory beyond the weights, float32",
        details={f"{way}, MiB": size / 2**20 for way, size in extra.items()},
    )


def _gpu() -> Measurement:
    """Compare operations a second with those of a large matrix product: bfloat16, compiled, a large batch."""
    model = _vit_small(224).to("cuda", torch.bfloat16)
    images = torch.randn(256, 3, 224, 224, device="cuda", dtype=torch.bfloat16)
    matrix = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for block in model.blocks:
        block.compile()

    def ours() -> None:
        cls_attention(model, images, [-1])
        torch.cuda.synchronize()

    def product() -> None:
        for _ in range(20):
            matrix @ matrix
        torch.cuda.synchronize()

    with torch.inference_mode():
        seconds = side_by_side({"ours": ours, "product": product}, rounds=5, warm_up=2)
    tokens, dim, depth = 785, 384, 12
    operations = (depth - 1) * (24 * tokens * dim**2 + 4 * tokens**2 * dim) + 2 * tokens * dim * (dim + 192)
    rate, top = len(images) * operations / seconds["ours"], 20 * 2 * 8192**3 / seconds["product"]
    return Measurement(
        name="extraction: GPU",
        ratio=rate / top,
        target=None,
        claim="operations a second / those of a product of 8192² matrices, bfloat16",
        details={"images/s": len(images) / seconds["ours"], "TFLOP/s": rate / 1e12, "product, TFLOP/s": top / 1e12},
    )
