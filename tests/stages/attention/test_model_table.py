"""The model table: fast to import, complete, and helpful with misspelt names."""

from __future__ import annotations

import subprocess
import sys

import pytest
import timm

from stages.attention.models import MODELS
from stages.attention.naming import find_model
from stages.errors import UnknownModelError, UsageError


def test_reading_the_table_imports_no_transformer_library():
    """The table imports neither torch nor timm, so help and `pipeline models` stay fast."""
    code = "import sys, stages.attention.models; sys.exit(bool({'torch', 'timm'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("entry", [entry for entry in MODELS.values() if entry.timm_id], ids=lambda entry: entry.name)
def test_every_timm_id_exists_with_weights(entry):
    """Every timm id of the table is a pretrained model of timm, with the address of its weights."""
    assert timm.is_model(entry.timm_id.split(".")[0])
    assert timm.models.is_model_pretrained(entry.timm_id)
    assert entry.url.startswith("https://")
    assert entry.url.endswith((".pth", ".safetensors"))


def test_unknown_name_names_the_close_ones():
    """The error for a misspelt name lists similar names."""
    with pytest.raises(UnknownModelError, match="dino_vits8") as caught:
        find_model("dino_vit_s8")
    assert isinstance(caught.value, UsageError)
    assert "pipeline models" in str(caught.value)


def test_random_weights_are_labelled_as_such():
    """The name and the source of the untrained model say that its weights are random."""
    assert "untrained" in find_model("untrained_tiny8").name
    assert find_model("untrained_tiny8").source.startswith("untrained: random weights")
