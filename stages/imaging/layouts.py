"""Describe the layouts in which public data sets are distributed: one table entry each.

A layout is recognised by file names only; see `stages.imaging.recognition`. Its patterns are written as in
`stages.imaging.patterns`. If images and masks are given as two folders, the last part of a pattern is enough.

To add a layout, add an entry to `LAYOUTS` and a miniature of the data set to `tests/stages/imaging/miniatures.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LAYOUTS", "MASK_ENDINGS", "GroupTable", "Layout"]

MASK_ENDINGS = ("_segmentation", "_mask", "_lesion")
"""Texts after the id in the name of a mask, in the layout `names`."""


@dataclass(frozen=True, kw_only=True)
class GroupTable:
    """Describe a table of the data set that names the patient, or another group, of every image."""

    file: str
    """Pattern of the table's path."""
    key: str
    """Column with the image's file name without its extension."""
    group: str
    """Column with the patient, the lesion or the video sequence."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Describe how one data set, or a kind of data sets, names its files."""

    title: str
    """Name of the data set, or the rule in a few words."""
    images: tuple[str, ...]
    """Patterns of the images. The first that fits gives the id."""
    masks: tuple[str, ...]
    """Patterns of the masks, in the order in which they are tried."""
    masks_beside: tuple[str, ...] = ()
    """Further patterns of masks. In a folder of images they count only if there is an image of that id."""
    signs: tuple[tuple[str, ...], ...] = ()
    """The layout is recognised if every pattern of one of these tuples fits at least one file."""
    left_out: tuple[tuple[str, str], ...] = ()
    """Patterns of by-products, each with the reason why it is neither image nor mask. A pattern with `{id}` counts only
    if there is an image of that id."""
    unlabelled: tuple[tuple[str, str], ...] = ()
    """Patterns of images without masks that are left out where masks are wanted, each with the reason."""
    channels: tuple[str, ...] = ()
    """Patterns of files with further channels of an image `{id}`. Such an image is refused."""
    copies: tuple[str, str] | None = None
    """Two patterns: if a file has the first form, all files of the second form are the same images once more."""
    groups: str | None = None
    """Regular expression whose first group, found in an image's file name, is the patient."""
    group_table: GroupTable | None = None
    labels: str | None = None
    """`instances` or `multilabel` if the masks are of this kind; None for masks of classes."""
    classes: dict[str, int | str] | None = None
    """The mask values, if the data set has several classes and no file that names them."""
    arrays: bool = False
    """NumPy files (`.npz`) with the arrays `image` and `label` are images with their masks."""
    annotations: bool = False
    """JSON and XML files may be annotations of the images."""
    one_root: bool = False
    """The layout is recognised only if images and masks are in one root folder."""
    description: str | None = None
    """Name of a file in the root that lists the classes, as nnU-Net's `dataset.json`."""
    root_counts: bool = True
    """The name of the root folder is a part of the paths, so that `imagesTr` itself can be the root."""
    general: bool = False
    """The layout is not that of one data set. It is chosen only if no other one fits."""
    regions: bool = False
    """In one root folder, a file `<id>_…` in another folder than the image `<id>` is a by-product of that image."""


BY_NAME = tuple(f"{{id}}{ending}.{{ext}}" for ending in ("", *MASK_ENDINGS))
BESIDE = tuple(
    f"{{id}}{ending}.{{ext}}"
    for ending in ("_masks", "_anno", "_annotation", "_label", "_labels", "_seg", "_gt", "_groundtruth")
)
"""Further names of masks. Some images have such names too."""
BY_PREDICT = (
    *(
        (f"{{id}}_{kind}.{{ext}}", "pictures made by `predict`, not masks")
        for kind in ("overlay", "uncertainty", "instances", "z*_overlay", "z*_uncertainty")
    ),
    ("{id}_z*.npy", "probabilities of `predict`, not masks"),
)
SUPERPIXELS = ("{id}_superpixels.{ext}", "superpixels, not images")

LAYOUTS: dict[str, Layout] = {
    "ham10000": Layout(
        title="HAM10000",
        signs=(("HAM10000_*/**", "ISIC_*.jpg"), ("HAM10000_metadata*", "ISIC_*.jpg")),
        images=("{id}.{ext}",),
        masks=("{id}_segmentation.{ext}",),
        group_table=GroupTable(file="HAM10000_metadata*", key="image_id", group="lesion_id"),
    ),
    "isic": Layout(
        title="ISIC 2016 to 2018, lesion masks",
        signs=(("ISIC_*_segmentation.*",), ("ISIC*_Input/ISIC_*.jpg",), ("ISIC*_Data/ISIC_*.jpg",)),
        images=("{id}.{ext}",),
        masks=("{id}_segmentation.{ext}",),
        left_out=(SUPERPIXELS, ("ISIC_*_attribute_*.*", "attributes of Task 2; give --layout isic_attributes")),
    ),
    "isic_attributes": Layout(
        title="ISIC 2018 Task 2, five attributes that may overlap",
        signs=(("ISIC_*_attribute_*.*",),),
        images=("{id}.{ext}",),
        masks=("{id}_attribute_{label}.{ext}",),
        left_out=(SUPERPIXELS, ("ISIC_*_segmentation.*", "lesion masks of Task 1; give --layout isic")),
        labels="multilabel",
    ),
    "ph2": Layout(
        title="PH2",
        signs=(("*_Dermoscopic_Image/{id}.{ext}",),),
        images=("{id}_Dermoscopic_Image/{id}.{ext}",),
        masks=("{id}_lesion/{id}_lesion.{ext}",),
        left_out=(("*_roi/**", "colour regions, not lesion masks"),),
        one_root=True,
    ),
    "kvasir": Layout(
        title="Kvasir-SEG",
        signs=(("images/c*.jpg", "masks/c*.jpg", "kavsir_bboxes.json"), ("images/cju*.jpg", "masks/cju*.jpg")),
        images=("images/{id}.{ext}",),
        masks=("masks/{id}.{ext}",),
        left_out=(("*_bboxes.json", "bounding boxes, not masks"), ("bbox/**", "bounding boxes, not masks")),
        one_root=True,
    ),
    "cvc_clinicdb": Layout(
        title="CVC-ClinicDB",
        signs=(("Original/*.*", "Ground Truth/*.*"),),
        images=("Original/{id}.{ext}",),
        masks=("Ground Truth/{id}.{ext}",),
        copies=("PNG/**", "TIF/**"),
        group_table=GroupTable(file="metadata.csv", key="frame_id", group="sequence_id"),
        one_root=True,
    ),
    "busi": Layout(
        title="BUSI",
        signs=(("benign (*)_mask.*",), ("malignant (*)_mask.*",), ("normal (*)_mask.*",)),
        images=("{id}.{ext}",),
        masks=("{id}_mask.{ext}", "{id}_mask*.{ext}"),
    ),
    "glas": Layout(
        title="GlaS",
        signs=(("train_*_anno.*",), ("testA_*_anno.*",), ("testB_*_anno.*",)),
        images=("{id}.{ext}",),
        masks=("{id}_anno.{ext}",),
        group_table=GroupTable(file="Grade.csv", key="name", group="patient ID"),
        labels="instances",
    ),
    "dsb2018": Layout(
        title="Data Science Bowl 2018, also MoNuSeg in that form",
        signs=(("{id}/images/{id}.*",),),
        images=("{id}/images/{id}.{ext}",),
        masks=("{id}/masks/*.{ext}",),
        unlabelled=(("stage1_test/**", "test images without masks"),),
        labels="instances",
        one_root=True,
    ),
    "drive": Layout(
        title="DRIVE",
        signs=(("{id}_manual1.*",), ("images/*_training.tif",), ("images/*_test.tif",)),
        images=("images/{id}_training.{ext}", "images/{id}_test.{ext}"),
        masks=("1st_manual/{id}_manual1.{ext}", "2nd_manual/{id}_manual2.{ext}"),
        left_out=(
            ("mask/*_mask.*", "masks of the field of view, not of vessels"),
            ("2nd_manual/*", "masks by the second annotator; give --masks with that folder to use them"),
        ),
    ),
    "nnunet": Layout(
        title="nnU-Net raw data",
        signs=(("imagesTr/*_0000.*",), ("imagesTs/*_0000.*",)),
        images=("imagesTr/{id}_0000.{ext}", "imagesTs/{id}_0000.{ext}"),
        masks=("labelsTr/{id}.{ext}", "labelsTs/{id}.{ext}"),
        left_out=(
            ("labelsTs/**", "the data set's own test images; give both folders with --images and --masks to use them"),
        ),
        channels=("imagesTr/{id}_*.{ext}", "imagesTs/{id}_*.{ext}"),
        unlabelled=(("imagesTs/**", "test images without labels"),),
        description="dataset.json",
    ),
    "decathlon": Layout(
        title="Medical Segmentation Decathlon, scans with labels of the same names",
        signs=(("imagesTr/{id}.*", "labelsTr/{id}.*"),),
        images=("imagesTr/{id}.{ext}", "imagesTs/{id}.{ext}"),
        masks=("labelsTr/{id}.{ext}",),
        unlabelled=(("imagesTs/**", "test images without labels"),),
        description="dataset.json",
    ),
    "synapse": Layout(
        title="TransUNet's slices of the Synapse multi-organ CT",
        signs=(("train_npz*/case*_slice*.npz",),),
        images=("{id}.{ext}",),
        masks=(),
        groups=r"^(case\d+)_",
        classes={
            "background": 0,
            "aorta": 1,
            "gallbladder": 2,
            "left kidney": 3,
            "right kidney": 4,
            "liver": 5,
            "pancreas": 6,
            "spleen": 7,
            "stomach": 8,
        },
        arrays=True,
    ),
    "slices": Layout(
        title="slices of volumes, as in ACDC",
        signs=(
            ("case*_slice*.npz",),
            ("patient*_frame*_slice_*.npz",),
            ("{images}/**/patient*_slice_*.*", "{masks}/**/patient*_slice_*.*"),
            ("patient*_frame*_slice_*_gt.*",),
        ),
        images=("{images}/**/{id}.{ext}", "{id}.{ext}"),
        masks=("{masks}/**/{id}.{ext}", "{masks}/**/{id}_gt.{ext}", "{id}_gt.{ext}", "{id}_mask.{ext}"),
        groups=r"^(case\d+|patient\d+)_",
        arrays=True,
    ),
    "folders": Layout(
        title="a folder of images and a folder of masks with the same names in one root",
        signs=(("{images}/**/{id}.*", "{masks}/**/{id}.*"),),
        images=("{images}/**/{id}.{ext}",),
        masks=tuple(f"{{masks}}/**/{name}" for name in BY_NAME),
        masks_beside=(*BY_NAME[1:], "{id}_mask*.{ext}", *BESIDE),
        annotations=True,
        one_root=True,
        general=True,
    ),
    "names": Layout(
        title="a mask is named like its image, also with _segmentation, _mask or _lesion at the end",
        images=("{id}.{ext}",),
        masks=(*BY_NAME, "{id}_mask*.{ext}", "{masks}/**/{id}.{ext}"),
        masks_beside=BESIDE,
        left_out=(SUPERPIXELS, *BY_PREDICT),
        annotations=True,
        general=True,
        regions=True,
    ),
}
"""All layouts by name. If two recognise a folder and find the same pairs, the first one is used."""
