"""The stages: one verb per file, built from the packages beside them.

    phantom, pretrain, extract, train, evaluate, predict     one stage each, with one function `run`
    settings, errors                                         the settings of all stages, and their errors
    attention/ pretraining/ extraction/ imaging/
    segmentation/ runs/ pictures/ phantoms/ runtime/         the parts that stages are built from

A stage never imports another stage.
"""
