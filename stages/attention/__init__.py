"""The transformer side: the model table, weights, and the attention of the CLS token.

    models         names a user can ask for, as plain data
    weight_files   from a file or the hub to tensors, without running anything
    weights        from tensors to a transformer of a given input size
    cls_attention  from images to the CLS token's attention, block by block
    recipe         all that determines the maps
    extractor      from uint8 images to the float16 maps that are stored
    memo           maps computed already

Training and evaluation never import this package.
"""
