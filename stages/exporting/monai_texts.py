"""Write the texts of a MONAI bundle: its metadata, its inference, its README and its licence.

The metadata have the keys of MONAI's schema of July 2024, as the bundles of MONAI's model zoo have them. The inference
needs MONAI and Pillow. It resizes images with Pillow, as the pipeline does, and writes one PNG of class indices per
image, at the network's size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from stages.exporting.description import WARNING, describe
from stages.exporting.loading import Loaded
from stages.imaging.image_rules import PAD, ImageRules
from stages.outputs.kinds import MONAI_KEY
from stages.runtime.installation import version_of_program

__all__ = ["inference", "licence", "metadata", "readme"]

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
RUN = (
    "$[@postprocessing(one) for batch in @dataloader for one in monai.data.decollate_batch("
    "{**batch, 'pred': @inferer(batch['image'].to(@device), @network)})]"
)
"""Expression that predicts and writes the masks of all images."""
MONAI = "1.4.0"
"""The oldest version of MONAI that the bundle is meant for."""


def metadata(loaded: Loaded) -> dict[str, Any]:
    """Return the content of `configs/metadata.json`."""
    card = loaded.card
    names = {str(index): name for index, name in enumerate(card.classes)}
    return {
        "schema": SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"exported by diamant-pipeline {version_of_program()}"},
        "monai_version": MONAI,
        "pytorch_version": str(torch.__version__).partition("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"pillow": "11.0.0"},
        "supported_apps": {},
        "name": "DIAMANT segmentation",
        "task": f"Segment 2-D images: {', '.join(card.classes[1:])}",
        "description": "A convolutional segmenter of the image and of the attention maps of a frozen DINO transformer, "
        f"which is inside. {WARNING}",
        "authors": "not stated",
        "copyright": f"weights of the transformer: {loaded.licence}",
        "intended_use": WARNING,
        "data_type": "RGB images",
        "image_classes": "three channels of an RGB image, values from 0 to 1",
        "pred_classes": f"probabilities of {loaded.channels} classes, see channel_def",
        "references": ["https://arxiv.org/abs/2304.14571"],
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "RGB",
                    "modality": "n/a",
                    "num_channels": 3,
                    "spatial_shape": list(loaded.frame.size),
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {"0": "red", "1": "green", "2": "blue"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "modality": "n/a",
                    "num_channels": loaded.channels,
                    "spatial_shape": list(card.network.size),
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": names,
                }
            },
        },
        MONAI_KEY: describe(loaded),
    }


def inference(loaded: Loaded) -> dict[str, Any]:
    """Return the content of `configs/inference.json`.

    Its `run` needs MONAI alone. Its `evaluator` is for programs that look for one; it needs pytorch-ignite.
    """
    rows, columns = loaded.frame.size
    padded = ImageRules.from_dict(loaded.card.images).fit == PAD
    bilinear = "Image.Resampling.BILINEAR"
    fitted = (
        f"ImageOps.pad(image.convert('RGB'), ({columns}, {rows}), {bilinear})"
        if padded
        else f"image.convert('RGB').resize(({columns}, {rows}), {bilinear})"
    )
    read = {"_target_": "PILReader", "converter": f"$lambda image: {fitted}"}
    return {
        "imports": [
            "$import glob",
            "$import os",
            "$from importlib.util import find_spec",
            "$from PIL import Image",
            "$from PIL import ImageOps",
        ],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/masks'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": "$torch.jit.load(os.path.join(@bundle_root, 'models', 'model.ts'), map_location='cpu')",
        "network": "$@network_def.to(@device)",
        "datalist": "$[{'image': path} for path in sorted(glob.glob(os.path.join(@dataset_dir, '*.*')))]",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "reader": read, "ensure_channel_first": True},
                {"_target_": "Transposed", "keys": "image", "indices": [0, 2, 1]},
                {
                    "_target_": "ScaleIntensityRanged",
                    "keys": "image",
                    "a_min": 0,
                    "a_max": 255,
                    "b_min": 0,
                    "b_max": 1,
                },
            ],
        },
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                _decision(loaded),
                {"_target_": "Transposed", "keys": "pred", "indices": [0, 2, 1]},
                {
                    "_target_": "SaveImaged",
                    "keys": "pred",
                    "output_dir": "@output_dir",
                    "output_ext": ".png",
                    "output_postfix": "",
                    "output_dtype": "uint8",
                    "resample": False,
                    "separate_folder": False,
                    "print_log": False,
                },
            ],
        },
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "_disabled_": "$find_spec('ignite') is None",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
        "run": ["$torch.set_grad_enabled(False)", RUN],
    }


def _decision(loaded: Loaded) -> dict[str, Any]:
    """Return the transform from probabilities to one channel of class indices, or of one bit for each label."""
    network = loaded.card.network
    if not network.multilabel:
        return {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
    bits = [1 << label for label in range(network.classes - 1)]
    func = f"$lambda pred: ((pred[1:] > 0.5) * torch.tensor({bits}).reshape(-1, 1, 1)).sum(0, keepdim=True)"
    return {"_target_": "Lambdad", "keys": "pred", "func": func}


def readme(loaded: Loaded) -> str:
    """Return the content of `docs/README.md`."""
    rows, columns = loaded.frame.size
    high, wide = loaded.card.network.size
    classes = "\n".join(f"| {index} | {_cell(name)} |" for index, name in enumerate(loaded.card.classes))
    notes = "".join(f"- {note}\n" for note in loaded.notes)
    return f"""# DIAMANT segmentation

**{WARNING}**

Exported by diamant-pipeline {version_of_program()}. The network takes one RGB image of {rows} x {columns} pixels,
float32 from 0 to 1, and gives the probability of every class at {high} x {wide} pixels. The transformer is inside.

Put images into the folder `images` of the bundle and run, in the bundle's folder:

    python -m monai.bundle run --config_file configs/inference.json --meta_file configs/metadata.json

The masks are written to `masks`: {_meaning(loaded)}, at {high} x {wide} pixels. The `evaluator` of the
configuration needs pytorch-ignite; the command above does not.

| value | class |
|---|---|
{classes}

Transformer: {loaded.card.recipe.get("model")}; licence of its weights: {loaded.licence}.
{notes}"""


def _meaning(loaded: Loaded) -> str:
    return "bit k - 1 for label k" if loaded.card.network.multilabel else "the index of the class"


def _cell(name: str) -> str:
    """Return a class name as the cell of a table in Markdown."""
    return name.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def licence(loaded: Loaded) -> str:
    """Return the content of `LICENSE`. The owner of a run decides on the licence of its segmenter."""
    return (
        f"Weights of the transformer ({loaded.card.recipe.get('model')}): {loaded.licence}\n"
        "Weights of the segmenter: the owner of the run decides; add your licence here.\n"
        "diamant-pipeline, which wrote this bundle: Apache-2.0\n"
    )
