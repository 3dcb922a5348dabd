"""Describe miniatures of public data sets: every kind of file that the data set has, under its published name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["MINIATURES", "Miniature"]


@dataclass(frozen=True, kw_only=True)
class Miniature:
    """Describe a small data set and what must be found in it.

    Folders may be given as one root or as two. All of these ways must find the same samples.
    """

    layout: str
    pairs: dict[str, tuple[str, ...]]
    """The image and its masks by id, relative to the root."""
    others: dict[str, str] = field(default_factory=dict)
    """The files that are left out, each with a part of the reason."""
    texts: dict[str, str] = field(default_factory=dict)
    """The content of files that are read."""
    groups: dict[str, str] = field(default_factory=dict)
    """Groups by id; an id that is not here is its own group."""
    labels: str | None = None
    classes: dict[str, int | str] | None = None
    class_files: dict[str, str] = field(default_factory=dict)
    """The class of a mask file, where every class has its own."""
    folders: tuple[tuple[str, str], ...] = ()
    """Folders of images and of masks, relative to the root, that hold all pairs when given separately."""
    test_images: dict[str, str] = field(default_factory=dict)
    """Images without masks by id: left out where masks are needed, and predicted."""

    def write(self, root: Path) -> Path:
        """Create the files, empty unless they have a text, and return the root."""
        files = [file for pair in self.pairs.values() for file in pair]
        for name in (*files, *self.others, *self.test_images.values()):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.texts.get(name, ""))
        return root


def _isic(number: int, images: str, masks: str, ending: str) -> tuple[str, str]:
    return f"{images}/ISIC_{number:07}.jpg", f"{masks}/ISIC_{number:07}{ending}.png"


ISIC16 = ("ISBI2016_ISIC_Part1_Training_Data", "ISBI2016_ISIC_Part1_Training_GroundTruth")
ISIC17 = ("ISIC-2017_Training_Data", "ISIC-2017_Training_Part1_GroundTruth")
ISIC18 = ("ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth")
TASK2 = "ISIC2018_Task2_Training_GroundTruth_v3"
KVASIR = ("cju0qkwl35piu0993l0dewei2", "cju0qoxqj9q6s0835b43399p4")
NUCLEI = ("00071198d059ba7f5914a526d124d28e6d010c92466da21d4a04cd5413362552", "003cee89357d9fe13516167fd67b609a")
TCGA = ("TCGA-18-5592-01Z-00-DX1", "TCGA-18-5592-01Z-00-DX2")
PH2 = "PH2 Dataset images/IMD003/IMD003"

MINIATURES = {
    "isic_2016": Miniature(
        layout="isic",
        pairs={"ISIC_0000000": _isic(0, *ISIC16, "_Segmentation"), "ISIC_0000001": _isic(1, *ISIC16, "_Segmentation")},
        folders=(ISIC16,),
    ),
    "isic_2017": Miniature(
        layout="isic",
        pairs={"ISIC_0000000": _isic(0, *ISIC17, "_segmentation"), "ISIC_0000001": _isic(1, *ISIC17, "_segmentation")},
        others={
            f"{ISIC17[0]}/ISIC_0000000_superpixels.png": "superpixels",
            f"{ISIC17[0]}/ISIC-2017_Training_Data_metadata.csv": "not pictures",
        },
        folders=(ISIC17,),
    ),
    "isic_2018": Miniature(
        layout="isic",
        pairs={"ISIC_0000000": _isic(0, *ISIC18, "_segmentation"), "ISIC_0000001": _isic(1, *ISIC18, "_segmentation")},
        others={f"{ISIC18[0]}/ATTRIBUTION.txt": "not pictures", f"{ISIC18[0]}/LICENSE.txt": "not pictures"},
        folders=(ISIC18,),
    ),
    "isic_2018_task_2": Miniature(
        layout="isic_attributes",
        pairs={
            "ISIC_0000000": (
                f"{ISIC18[0]}/ISIC_0000000.jpg",
                f"{TASK2}/ISIC_0000000_attribute_globules.png",
                f"{TASK2}/ISIC_0000000_attribute_milia_like_cyst.png",
            )
        },
        class_files={
            "ISIC_0000000_attribute_globules.png": "globules",
            "ISIC_0000000_attribute_milia_like_cyst.png": "milia_like_cyst",
        },
        labels="multilabel",
        folders=((ISIC18[0], TASK2),),
    ),
    "ham10000": Miniature(
        layout="ham10000",
        pairs={
            f"ISIC_00{number}": (
                f"HAM10000_images_part_{part}/ISIC_00{number}.jpg",
                f"HAM10000_segmentations_lesion_tschandl/ISIC_00{number}_segmentation.png",
            )
            for part, number in ((1, 24306), (1, 24307), (2, 29306))
        },
        others={"HAM10000_metadata.csv": "not pictures"},
        texts={
            "HAM10000_metadata.csv": "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
            "HAM_0000118,ISIC_0024306,bkl,histo,80.0,male,scalp\nHAM_0000118,ISIC_0024307,bkl,histo,80.0,male,scalp\n"
            "HAM_0002730,ISIC_0029306,bkl,histo,80.0,male,scalp\n"
        },
        groups={"ISIC_0024306": "HAM_0000118", "ISIC_0024307": "HAM_0000118", "ISIC_0029306": "HAM_0002730"},
    ),
    "ph2": Miniature(
        layout="ph2",
        pairs={"IMD003": (f"{PH2}_Dermoscopic_Image/IMD003.bmp", f"{PH2}_lesion/IMD003_lesion.bmp")},
        others={
            f"{PH2}_roi/IMD003_R1_Label3.bmp": "colour regions",
            f"{PH2}_roi/IMD003_R2_Label4.bmp": "colour regions",
            "PH2_dataset.txt": "not pictures",
            "PH2_dataset.xlsx": "not pictures",
        },
    ),
    "kvasir": Miniature(
        layout="kvasir",
        pairs={name: (f"Kvasir-SEG/images/{name}.jpg", f"Kvasir-SEG/masks/{name}.jpg") for name in KVASIR},
        others={"Kvasir-SEG/kavsir_bboxes.json": "bounding boxes"},
        texts={
            "Kvasir-SEG/kavsir_bboxes.json": '{"cju0qkwl35piu0993l0dewei2": {"height": 529, "width": 622, "bbox": []}}'
        },
    ),
    "cvc_clinicdb": Miniature(
        layout="cvc_clinicdb",
        pairs={str(number): (f"PNG/Original/{number}.png", f"PNG/Ground Truth/{number}.png") for number in (1, 2, 26)},
        others={
            "TIF/Original/1.tif": "once more",
            "TIF/Ground Truth/1.tif": "once more",
            "metadata.csv": "not pictures",
        },
        texts={"metadata.csv": "frame_id,sequence_id,png_image_path\n1,1,PNG/Original/1.png\n2,1,x\n26,2,x\n"},
        groups={"1": "1", "2": "1", "26": "2"},
        folders=(("PNG/Original", "PNG/Ground Truth"),),
    ),
    "cvc_clinicdb_tif_only": Miniature(
        layout="cvc_clinicdb",
        pairs={str(number): (f"Original/{number}.tif", f"Ground Truth/{number}.tif") for number in (1, 2)},
        folders=(("Original", "Ground Truth"),),
    ),
    "busi": Miniature(
        layout="busi",
        pairs={
            "benign (1)": ("benign/benign (1).png", "benign/benign (1)_mask.png"),
            "benign (4)": ("benign/benign (4).png", "benign/benign (4)_mask.png", "benign/benign (4)_mask_1.png"),
            "malignant (1)": ("malignant/malignant (1).png", "malignant/malignant (1)_mask.png"),
            "normal (1)": ("normal/normal (1).png", "normal/normal (1)_mask.png"),
        },
    ),
    "glas": Miniature(
        layout="glas",
        pairs={name: (f"{name}.bmp", f"{name}_anno.bmp") for name in ("train_1", "testA_1", "testB_1")},
        others={"Grade.csv": "not pictures"},
        texts={
            "Grade.csv": "name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)\n"
            "testA_1,4, benign, adenomatous\ntestB_1,10, malignant, x\ntrain_1,4, benign, healthy\n"
        },
        groups={"testA_1": "4", "train_1": "4", "testB_1": "10"},
        labels="instances",
    ),
    "dsb2018": Miniature(
        layout="dsb2018",
        pairs={
            name: (f"stage1_train/{name}/images/{name}.png", *(f"stage1_train/{name}/masks/{one}.png" for one in "ab"))
            for name in NUCLEI
        },
        others={"stage1_train_labels.csv": "not pictures", "stage1_sample_submission.csv": "not pictures"},
        test_images={"0f1f896d": "stage1_test/0f1f896d/images/0f1f896d.png"},
        labels="instances",
    ),
    "monuseg": Miniature(
        layout="dsb2018",
        pairs={
            name: (f"{name}/images/{name}.tif", *(f"{name}/masks/{one}.png" for one in (1, 2, 10))) for name in TCGA
        },
        labels="instances",
    ),
    "drive": Miniature(
        layout="drive",
        pairs={
            "21": ("training/images/21_training.tif", "training/1st_manual/21_manual1.gif"),
            "01": ("test/images/01_test.tif", "test/1st_manual/01_manual1.gif"),
        },
        others={
            "training/mask/21_training_mask.gif": "field of view",
            "test/mask/01_test_mask.gif": "field of view",
            "test/2nd_manual/01_manual2.gif": "second annotator",
        },
    ),
    "nnunet": Miniature(
        layout="nnunet",
        pairs={
            name: (f"Dataset001_Glands/imagesTr/{name}_0000.png", f"Dataset001_Glands/labelsTr/{name}.png")
            for name in ("gland_001", "gland_002")
        },
        others={"Dataset001_Glands/dataset.json": "not used as annotations"},
        texts={
            "Dataset001_Glands/dataset.json": '{"channel_names": {"0": "R"}, "labels": {"background": 0, "gland": 1}, '
            '"numTraining": 2, "file_ending": ".png"}'
        },
        test_images={"gland_003": "Dataset001_Glands/imagesTs/gland_003_0000.png"},
        classes={"background": 0, "gland": 1},
        folders=(("Dataset001_Glands/imagesTr", "Dataset001_Glands/labelsTr"),),
    ),
    "nnunet_scans": Miniature(
        layout="nnunet",
        pairs={
            name: (f"Dataset003_Liver/imagesTr/{name}_0000.nii.gz", f"Dataset003_Liver/labelsTr/{name}.nii.gz")
            for name in ("liver_001", "liver_002")
        },
        others={"Dataset003_Liver/dataset.json": "not used as annotations"},
        texts={
            "Dataset003_Liver/dataset.json": '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, '
            '"numTraining": 2, "file_ending": ".nii.gz"}'
        },
        test_images={"liver_003": "Dataset003_Liver/imagesTs/liver_003_0000.nii.gz"},
        classes={"background": 0, "liver": 1},
        folders=(("Dataset003_Liver/imagesTr", "Dataset003_Liver/labelsTr"),),
    ),
    "decathlon": Miniature(
        layout="decathlon",
        pairs={
            name: (f"Task03_Liver/imagesTr/{name}.nii.gz", f"Task03_Liver/labelsTr/{name}.nii.gz")
            for name in ("liver_0", "liver_1")
        },
        others={
            "Task03_Liver/dataset.json": "not used as annotations",
            "Task03_Liver/imagesTr/._liver_0.nii.gz": "hidden",
        },
        texts={
            "Task03_Liver/dataset.json": '{"name": "Liver", "labels": {"0": "background", "1": "liver"}, "training": '
            '[{"image": "./imagesTr/liver_0.nii.gz", "label": "./labelsTr/liver_0.nii.gz"}]}'
        },
        test_images={"liver_9": "Task03_Liver/imagesTs/liver_9.nii.gz"},
        classes={"background": 0, "liver": 1},
        folders=(("Task03_Liver/imagesTr", "Task03_Liver/labelsTr"),),
    ),
    "synapse": Miniature(
        layout="synapse",
        pairs={
            name: (f"train_npz/{name}.npz", f"train_npz/{name}.npz")
            for name in ("case0005_slice000", "case0005_slice001", "case0006_slice000")
        },
        others={"test_vol_h5/case0001.npy.h5": "HDF5", "lists/lists_Synapse/train.txt": "not pictures"},
        groups={"case0005_slice000": "case0005", "case0005_slice001": "case0005", "case0006_slice000": "case0006"},
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
    ),
    "acdc": Miniature(
        layout="slices",
        pairs={
            name: (f"images/{name}.png", f"masks/{name}.png")
            for name in ("patient001_frame01_slice_1", "patient001_frame12_slice_1", "patient002_frame01_slice_1")
        },
        groups={
            "patient001_frame01_slice_1": "patient001",
            "patient001_frame12_slice_1": "patient001",
            "patient002_frame01_slice_1": "patient002",
        },
        folders=(("images", "masks"),),
    ),
}
