"""CLS attention equals the row of timm's unfused attention matrix, for every supported family."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from timm.layers import DiffAttention
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from stages.attention.cls_attention import absolute_layers, cls_attention, head_names
from stages.errors import UnsupportedModelError, UsageError

_TINY = {"patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": 0}
_DINOV3 = {
    **_TINY,
    "rope_type": "dinov3",
    "rope_temperature": 100,
    "rope_rotate_half": True,
    "use_rot_pos_emb": True,
    "use_abs_pos_emb": False,
    "num_reg_tokens": 4,
    "init_values": 1.0,
}


def _spread(model: nn.Module) -> nn.Module:
    """Set frozen random weights, large enough that no map is flat."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1 and not name.endswith(("token", "pos_embed")):
            values *= 1.3 / math.sqrt(math.prod(parameter.shape[1:]))
        elif "norm" in name and name.endswith("weight"):
            values = 1 + 0.1 * values
        elif parameter.ndim == 1:
            values *= 0.2
        parameter.data.copy_(values)
    return model.eval().requires_grad_(requires_grad=False)


def _images(height: int, width: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(3))


def _oracle(model: nn.Module, images: Tensor, layers: list[int]) -> Tensor:
    """Return the same rows of the full softmax matrices that timm computes without fused attention."""
    matrices: dict[int, Tensor] = {}
    for index, block in enumerate(model.blocks):
        block.attn.fused_attn = False

        def keep(_module: nn.Module, inputs: tuple[Tensor, ...], index: int = index) -> None:
            matrices[index] = inputs[0]

        block.attn.attn_drop.register_forward_pre_hook(keep)
    model.forward_features(images)
    rows = [matrices[layer][:, :, 0, model.num_prefix_tokens :] for layer in layers]
    patch = model.patch_embed.patch_size[0]
    return torch.cat(rows, dim=1).unflatten(2, (images.shape[-2] // patch, images.shape[-1] // patch))


def _vit(**changes: Any) -> nn.Module:
    return _spread(VisionTransformer(**{**_TINY, "img_size": 32, **changes}))


def _eva(**changes: Any) -> nn.Module:
    return _spread(Eva(**{**_DINOV3, "img_size": 32, **changes}))


@pytest.mark.parametrize(
    ("model", "size"),
    [
        pytest.param(_vit, (32, 32), id="vit_native"),
        pytest.param(lambda: _vit(img_size=(32, 56)), (32, 56), id="vit_non_square_grid"),
        pytest.param(lambda: _vit(dynamic_img_size=True), (48, 40), id="vit_any_size"),
        pytest.param(lambda: _vit(qkv_bias=False), (32, 32), id="vit_without_bias"),
        pytest.param(lambda: _vit(qk_norm=True), (32, 32), id="vit_qk_norm"),
        pytest.param(lambda: _vit(init_values=1.0), (32, 32), id="vit_layer_scale"),
        pytest.param(lambda: _vit(reg_tokens=4, no_embed_class=True), (32, 32), id="vit_registers"),
        pytest.param(lambda: _vit(pre_norm=True), (32, 32), id="vit_norm_before_blocks"),
        pytest.param(lambda: _eva(qkv_bias=False), (32, 32), id="dinov3"),
        pytest.param(lambda: _eva(qkv_bias=True), (32, 48), id="dinov3_query_bias"),
        pytest.param(lambda: _eva(dynamic_img_size=True), (48, 40), id="dinov3_any_size"),
        pytest.param(lambda: _eva(qkv_fused=False), (32, 32), id="eva_separate_projections"),
        pytest.param(lambda: _eva(attn_type="rope"), (32, 32), id="eva_other_attention_class"),
        pytest.param(
            lambda: _eva(attn_type="rope", qkv_fused=False, num_kv_heads=1), (32, 32), id="eva_grouped_queries"
        ),
        pytest.param(lambda: _eva(qk_norm=True), (32, 32), id="eva_qk_norm"),
        pytest.param(lambda: _eva(rope_type="mixed", rope_rotate_half=False), (32, 32), id="eva_rope_of_every_block"),
        pytest.param(
            lambda: _eva(rope_type="cat", use_abs_pos_emb=True, rope_rotate_half=False, num_reg_tokens=0),
            (32, 32),
            id="eva_rope_and_positions",
        ),
        pytest.param(lambda: _eva(use_rot_pos_emb=False, use_abs_pos_emb=True), (32, 32), id="eva_without_rope"),
    ],
)
def test_agrees_with_the_unfused_attention_matrix(model, size):
    """For each family and option the maps are rows of the matrix that the transformer itself uses."""
    transformer = model()
    if transformer.patch_embed.strict_img_size:
        transformer.set_input_size(img_size=size)
    images = _images(*size)
    maps = cls_attention(transformer, images, [0, -1])
    expected = _oracle(transformer, images, [0, 2])
    assert maps.dtype == torch.float32
    assert maps.shape == (2, 6, size[0] // 8, size[1] // 8)
    assert maps.std(dim=(2, 3)).min() > 0.01 / maps[0, 0].numel(), "a flat map would prove nothing"
    assert (maps - expected).abs().max() < 1e-6


def test_heads_come_layer_by_layer_in_the_order_given():
    """`head_names` gives the names of the channels for every order of layers."""
    model, images = _vit(), _images(32, 32)
    together = cls_attention(model, images, [2, 0])
    assert torch.equal(together[:, :3], cls_attention(model, images, [2]))
    assert torch.equal(together[:, 3:], cls_attention(model, images, [0]))
    assert head_names([-1, 0], heads=3, depth=3) == ["L2H0", "L2H1", "L2H2", "L0H0", "L0H1", "L0H2"]


def test_prefix_tokens_keep_their_share():
    """Maps are not renormalised: without the CLS token every map sums to less than one."""
    sums = cls_attention(_vit(), _images(32, 32), [-1]).sum(dim=(2, 3))
    assert (sums < 1).all()
    assert (sums > 0).all()


def test_nothing_after_the_last_chosen_layer_runs():
    """The MLP of the chosen block and all later blocks do not run."""
    model = _vit()
    ran: list[int] = []
    for index, block in enumerate(model.blocks):
        block.mlp.register_forward_pre_hook(lambda _module, _inputs, index=index: ran.append(index))
    cls_attention(model, _images(32, 32), [1])
    assert ran == [0]


class _LargestTensor(TorchDispatchMode):
    """Record the largest number of elements that an operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self.elements = max(self.elements, value.numel())
        return result


def test_no_matrix_of_tokens_by_tokens_is_made():
    """Memory grows with the number of tokens, not with its square."""
    model = _vit(img_size=256)  # 1,025 tokens
    with _LargestTensor() as largest:
        cls_attention(model, _images(256, 256, count=1), [0, 2])
    assert 0 < largest.elements < 1025 * 1025


def test_bfloat16_weights_still_give_a_float32_softmax():
    """Half precision changes the scores a little, and not the type of a map."""
    model, images = _vit(), _images(32, 32)
    exact = cls_attention(model, images, [-1])
    rough = cls_attention(model.to(torch.bfloat16), images.to(torch.bfloat16), [-1])
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().max() < 0.05


class _Derived(VisionTransformer):
    """A subclass of VisionTransformer, which could compute anything."""


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lambda: nn.Linear(3, 3), id="no_transformer"),
        pytest.param(lambda: _Derived(**_TINY, img_size=32), id="subclass"),
        pytest.param(lambda: _vit(attn_layer=DiffAttention), id="other_attention"),
        pytest.param(lambda: _vit(block_fn=ParallelScalingBlock), id="other_block"),
        pytest.param(lambda: _eva(use_post_norm=True), id="norm_after_attention"),
        pytest.param(lambda: _vit(class_token=False, global_pool="avg"), id="no_cls_token"),
    ],
)
def test_unknown_class_is_an_error_not_a_guess(model):
    """A model whose queries and keys may be computed in another way raises an error."""
    with pytest.raises(UnsupportedModelError):
        cls_attention(model(), _images(32, 32), [-1])


@pytest.mark.parametrize("layers", [[3], [-4], [], [0, 0], [-1, 2]], ids=str)
def test_impossible_layers_are_refused(layers):
    """Layers out of range, no layer, or a layer twice is an error before anything runs."""
    with pytest.raises(UsageError, match="layers"):
        absolute_layers(layers, depth=3)


@pytest.mark.parametrize("size", [(33, 32), (40, 32)], ids=["part_of_a_patch", "another_size"])
def test_images_of_another_size_are_refused(size):
    """A model that was built for one size refuses another size."""
    with pytest.raises(UsageError, match=f"{size[0]}x{size[1]}"):
        cls_attention(_vit(), _images(*size), [-1])
