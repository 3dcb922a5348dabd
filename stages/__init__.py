"""The stages: one verb per file, built from the packages beside them.

    phantom, pretrain, extract, merge, maps, train,
    evaluate, compare, report, predict, export, view         one verb each, with one function `run`
    doctor, bundle                                           about the machine: check it, collect what it needs
    settings, errors                                         the settings of all stages, and their errors
    attention/ pretraining/ extraction/ imaging/ features/
    segmentation/ runs/ comparison/ reporting/ prediction/
    exporting/ viewing/ checking/ bundling/ pictures/
    phantoms/ outputs/ runtime/                              the parts that stages are built from

A stage never imports another stage.
"""
