"""The transformer side: the model table, weights, and the attention of the CLS token.

    models         names a user can ask for, as plain data
    architectures  what a name is built as
    card           what a weights file of our own says of itself
    weight_files   from a file or the hub to tensors, without running anything
    weights        from tensors to a transformer of a given input size
    cls_attention  from images to the CLS token's attention, block by block
    recipe         all that determines the maps
    extractor      from uint8 images to the float16 maps that are stored
    memo           maps computed already
    pretraining    teaching a transformer on images alone
    shipped        weights that come with the package

Training and evaluation never import this package.
"""
