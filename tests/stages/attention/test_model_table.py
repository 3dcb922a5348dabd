"""The model table: cheap to read, complete, and helpful about a misspelt name."""

from __future__ import annotations

import subprocess
import sys

import pytest
import timm

from stages.attention.models import MODELS
from stages.attention.naming import find_model
from stages.errors import UnknownModelError, UsageError


def test_reading_the_table_imports_no_transformer_library():
    """Help and `pipeline models` stay quick: the table pulls in neither torch nor timm."""
    code = "import sys, stages.attention.models; sys.exit(bool({'torch', 'timm'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("entry", [entry for entry in MODELS.values() if entry.timm_id], ids=lambda entry: entry.name)
def test_every_timm_id_exists_with_weights(entry):
    """A name of the table never leads to a model that timm does not have."""
    assert timm.is_model(entry.timm_id.split(".")[0])
    assert timm.models.is_model_pretrained(entry.timm_id)
    assert entry.url.startswith("https://")
    assert entry.url.endswith((".pth", ".safetensors"))


def test_unknown_name_names_the_close_ones():
    """A misspelt name is answered with what was probably meant."""
    with pytest.raises(UnknownModelError, match="dino_vits8") as caught:
        find_model("dino_vit_s8")
    assert isinstance(caught.value, UsageError)
    assert "pipeline models" in str(caught.value)


def test_random_weights_are_labelled_as_such():
    """Nobody takes the untrained model for a trained one."""
    assert "untrained" in find_model("untrained_tiny8").name
    assert find_model("untrained_tiny8").source.startswith("untrained: random weights")
