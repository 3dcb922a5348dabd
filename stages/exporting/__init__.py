"""Write trained networks for programs that do not have this package, and masks for viewers.

    formats        the table of formats
    places         where a format is written, and which files it may replace
    resizing       the resize of Pillow as products of matrices, for inside a graph
    networks       the networks that are exported: the segmenter, and the whole with the transformer
    loading        make such a network from a run and its transformer
    description    the metadata that every file carries
    graphs         record a network with `torch.export`
    checking       compare what was exported with PyTorch
    reports        what is said at the end
    onnx_file      the format `onnx`
    torch_file     the format `torch`
    monai_bundle   the format `monai-bundle`; `monai_texts` has its texts
    from_predictions, from_store, labelled    images and masks that are exported to viewers
    ome_zarr, coco, fiftyone, geojson_files   the formats of viewers
    marks          recognise exported files of this program

To add a format, add an entry to `formats.FORMATS` and a module with the function that writes it.
"""
