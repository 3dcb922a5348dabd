"""Models of timm's list: which are accepted, their licences and normalisation, and the check of their attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

from stages.attention import timm_models
from stages.attention.attention_check import require_full_attention
from stages.attention.extractor import AttentionExtractor, ExtractorConfig
from stages.attention.hub import weights_without_network
from stages.attention.models import MODELS
from stages.attention.naming import find_model
from stages.attention.timm_models import find_in_timm, list_timm, why_unreadable
from stages.attention.weights import load_transformer
from stages.errors import UnknownModelError, UnsupportedModelError, WeightsError
from stages.settings import IMAGENET_MEAN, IMAGENET_STD

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)


@pytest.mark.parametrize(
    ("name", "licence", "shape", "mean"),
    [
        pytest.param("vit_base_patch16_224.mae", "CC-BY-NC-4.0 (no", (16, 12, 768, 12), IMAGENET_MEAN, id="mae"),
        pytest.param("vit_base_patch16_clip_224.openai", "Apache-2.0", (16, 12, 768, 12), _CLIP_MEAN, id="clip"),
        pytest.param("vit_small_patch16_224.augreg_in21k", "Apache-2.0", (16, 6, 384, 12), (0.5,) * 3, id="augreg"),
        pytest.param("vit_large_patch16_dinov3.lvd1689m", "DINOv3 Lic", (16, 16, 1024, 24), IMAGENET_MEAN, id="dinov3"),
        pytest.param("deit_tiny_patch16_224.fb_in1k", "Apache-2.0", (16, 3, 192, 12), IMAGENET_MEAN, id="deit"),
        pytest.param("eva02_base_patch16_clip_224.merged2b", "MIT", (16, 12, 768, 12), _CLIP_MEAN, id="eva_clip"),
    ],
)
def test_a_model_of_timm_has_its_licence_sizes_and_normalisation(name, licence, shape, mean):
    """With and without `timm/`; the name in the entry is the same, so the recipe is too."""
    entry = find_model(name)
    assert entry == find_model(f"timm/{name}")
    assert entry.licence.startswith(licence)
    assert (entry.patch, entry.heads, entry.dim, entry.depth) == shape
    assert entry.mean == pytest.approx(mean)
    assert entry.url == f"https://huggingface.co/{entry.hub}/resolve/main/model.safetensors"


@pytest.mark.skipif(not timm.is_model("vit_small_patch16_lingbot"), reason="timm has it since 1.0.31")
def test_lingbot_vision_is_found_in_its_own_repository():
    """It is under Apache-2.0, and not in timm's part of the hub."""
    entry = find_model("vit_small_patch16_lingbot.robbyant")
    assert entry.licence == "Apache-2.0"
    assert not entry.hub.startswith("timm/")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("swin_tiny_patch4_window7_224.ms_in1k", "no plain ViT", id="windows"),
        pytest.param("resnet18.a1_in1k", "no plain ViT", id="convolutions"),
        pytest.param("beit_base_patch16_224.in22k_ft_in22k", "no plain ViT", id="relative_positions"),
        pytest.param("vit_base_patch16_siglip_224.webli", r"no CLS token.*head of their own \(map\)", id="map_pooled"),
        pytest.param("vit_little_patch16_reg4_gap_256.sbb_in1k", "no CLS token.*their mean", id="average_pooled"),
        pytest.param("eva02_tiny_patch14_224.mim_in22k", "CLS token was not trained", id="unused_token"),
        pytest.param("deit_tiny_distilled_patch16_224.fb_in1k", "VisionTransformerDistilled", id="two_tokens"),
        pytest.param("vit_tiny_r_s16_p8_224.augreg_in21k", "convolutional network", id="hybrid"),
        pytest.param("vit_dwee_patch16_reg1_gap_256.sbb_in1k", "DiffAttention", id="differential_attention"),
        pytest.param("vit_base_patch16_rpn_224.sw_in1k", "ResPostBlock", id="blocks_with_the_norm_behind"),
        pytest.param("vit_relpos_small_patch16_224.sw_in1k", "no plain ViT", id="relpos"),
    ],
)
def test_a_model_whose_attention_cannot_be_read_is_refused_with_the_reason(name, reason):
    """Nothing is downloaded for it."""
    with pytest.raises(UnknownModelError, match=reason):
        find_model(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("vit_base_patch16_224.mea", r"no weights 'mea'.*vit_base_patch16_224\.mae", id="tag"),
        pytest.param("timm/vit_bse_patch16_224.mae", r"vit_base_patch16_224", id="with_prefix"),
        pytest.param("deit_tny_patch16_224", "deit_tiny_patch16_224", id="other_family"),
        pytest.param("eva02_base_patch16_clip_22", "eva02_base_patch16_clip_224", id="cut"),
        pytest.param("hf-hub:timm/vit_base_patch16_224.mae", "not known", id="hub_address"),
        pytest.param("local-dir:/etc", "not known", id="folder"),
    ],
)
def test_a_name_that_is_almost_one_of_timm_gets_the_nearest(name, expected):
    """Also `hf-hub:` and `local-dir:`, which timm itself would follow, are only names here."""
    with pytest.raises(UnknownModelError, match=expected):
        find_model(name)


def test_an_architecture_of_timm_without_weights_names_those_that_timm_has():
    """An untagged name has a default in timm that may change with its version, so none is taken."""
    with pytest.raises(WeightsError, match=r"has no weights of its own.*vit_base_patch16_224\.mae"):
        load_transformer("vit_base_patch16_224", input_size=(32, 32))


def test_the_list_has_only_what_can_be_used(monkeypatch):
    """A pattern is a part of a name, or has wildcards. Every entry is what `find_model` returns."""
    names = ["vit_tiny_patch16_224.augreg_in21k", "vit_tiny_r_s16_p8_224.augreg_in21k", "deit_tiny_patch16_224.fb_in1k"]
    monkeypatch.setattr(timm, "list_pretrained", lambda *_: names)
    assert [entry.name for entry in list_timm("tiny")] == [names[0], names[2]]
    assert [entry.name for entry in list_timm("vit_tiny*")] == [names[0]]
    assert list_timm("tiny")[0] == find_in_timm(names[0])


def test_every_table_model_of_timm_would_be_accepted():
    """The rules do not refuse what the project recommends."""
    for architecture in {entry.timm_id.partition(".")[0] for entry in MODELS.values() if entry.timm_id}:
        assert why_unreadable(architecture) is None


def test_offline_the_message_names_the_repository(monkeypatch, tmp_path):
    """The weights of some models are not in timm's part of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"models--timm--vit_tiny_patch16_224\.augreg_in21k"):
        weights_without_network("vit_tiny_patch16_224.augreg_in21k", None)


def test_maps_follow_the_models_own_normalisation(tmp_path):
    """The recipe has timm's mean and deviation. An older recipe, with those of ImageNet, is still followed."""
    name = "vit_tiny_patch16_224.augreg_in21k"
    module = timm.create_model(name, pretrained=False, num_classes=0)
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, tmp_path / "w.safetensors")

    def config(**options: Any) -> ExtractorConfig:
        return ExtractorConfig(
            model=name, weights=tmp_path / "w.safetensors", input_size=(32, 32), layers=[-1], precision="float32",
            **options,
        )  # fmt: skip

    recipe = AttentionExtractor.load(config(), device="cpu", batch_size=1).recipe
    assert recipe.mean == recipe.std == (0.5, 0.5, 0.5)
    old = AttentionExtractor.load(config(normalisation=(IMAGENET_MEAN, IMAGENET_STD)), device="cpu", batch_size=1)
    again = AttentionExtractor.from_recipe(old.recipe, weights=tmp_path / "w.safetensors", device="cpu", batch_size=1)
    assert again.recipe == old.recipe != recipe


_SMALL: dict[str, Any] = {
    "img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 0,
}  # fmt: skip
_KINDS: dict[str, Any] = {
    "plain": lambda: VisionTransformer(**_SMALL),
    "clip": lambda: VisionTransformer(**_SMALL, pre_norm=True, norm_layer=torch.nn.LayerNorm, global_pool="token"),
    "query_and_key_norm": lambda: VisionTransformer(**_SMALL, qk_norm=True),
    "registers": lambda: VisionTransformer(**_SMALL, reg_tokens=3, no_embed_class=True, init_values=0.1),
    "eva": lambda: Eva(**_SMALL, use_rot_pos_emb=True, ref_feat_shape=(4, 4)),
    "dinov3": lambda: Eva(
        **_SMALL,
        use_rot_pos_emb=True,
        use_abs_pos_emb=False,
        rope_type="dinov3",
        rope_rotate_half=True,
        num_reg_tokens=4,
    ),
    "mixed_rope": lambda: Eva(**_SMALL, attn_type="rope", use_rot_pos_emb=True, rope_type="mixed"),
}


@pytest.fixture(params=_KINDS)
def module(request: pytest.FixtureRequest) -> Any:
    """Return a small transformer of each kind that is accepted."""
    torch.manual_seed(5)
    made = _KINDS[request.param]()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made.eval().requires_grad_(requires_grad=False)


def test_the_check_accepts_what_is_right_and_changes_nothing(module):
    """Size, position embeddings, hooks and the fused attention are as before."""
    images = torch.randn(1, 3, 32, 32)
    before = module.forward_features(images)
    require_full_attention(module, "small")
    assert torch.equal(module.forward_features(images), before)
    assert tuple(module.patch_embed.img_size) == (32, 32)
    assert not any(block.attn.attn_drop._forward_pre_hooks for block in module.blocks)


def test_the_check_refuses_attention_that_differs(module):
    """As a new option of timm's class would, the second block scales its queries by another factor."""
    attention = module.blocks[1].attn
    original = attention.q_norm

    class Changed(torch.nn.Module):
        def forward(self, query: torch.Tensor) -> torch.Tensor:
            many = query.shape[-2] > 6  # timm normalises the queries of all 7 or more tokens, we that of the CLS token
            return original(query) * (3 if many else 1)

    attention.q_norm = Changed()
    with pytest.raises(UnsupportedModelError, match="small: in block 1 the attention that is read differs"):
        require_full_attention(module, "small")


def test_loading_a_model_of_timm_runs_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So nothing is extracted with a model whose attention would be wrong."""
    module = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0)
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, tmp_path / "w.safetensors")
    monkeypatch.setattr("stages.attention.attention_check.cls_attention", lambda *_: torch.zeros(1, 36, 2, 3))
    with pytest.raises(UnsupportedModelError, match="in block 0"):
        load_transformer("vit_tiny_patch16_224", input_size=(32, 32), weights=tmp_path / "w.safetensors")


def test_a_licence_that_timm_does_not_state_is_unknown(monkeypatch):
    """Never invent one."""

    class Config:
        license = None
        hf_hub_id = None
        mean = std = (0.5, 0.5, 0.5)

    monkeypatch.setattr(timm_models.timm, "get_pretrained_cfg", lambda _: Config)
    assert find_in_timm("vit_tiny_patch16_224.augreg_in21k").licence.startswith("unknown")
