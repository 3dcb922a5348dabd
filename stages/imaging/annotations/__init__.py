"""Read annotations that people draw as outlines, and rasterise them to masks.

    formats       recognise a file's format, parse it once              is_annotation, annotated_images, read_annotation
    documents     JSON and XML from untrusted sources
    labelme       LabelMe: one JSON per image
    coco          COCO: one JSON for many images, polygons and run lengths
    cvat          CVAT for images 1.1: one XML for many images
    geojson       GeoJSON as QuPath writes it: one JSON per image
    run_lengths   the run lengths of COCO and CVAT
    drawn         outlines and encoded pixels with their labels
    shapes        outlines to pixels                                    Shape
    painting      shapes to a mask                                      paint
    regions       the shapes within a region of the image               read_annotation_region

To add a format, write a file with `recognise` and `parse`, and add it to `formats.FORMATS`.
"""

from stages.imaging.annotations.formats import annotated_images, is_annotation, label_names, read_annotation
from stages.imaging.annotations.painting import paint
from stages.imaging.annotations.regions import check_annotation, encoded_size, read_annotation_region
from stages.imaging.annotations.shapes import Shape

__all__ = [
    "Shape",
    "annotated_images",
    "check_annotation",
    "encoded_size",
    "is_annotation",
    "label_names",
    "paint",
    "read_annotation",
    "read_annotation_region",
]
