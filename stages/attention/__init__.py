"""Load a pretrained transformer and compute the attention of its CLS token.

    models         the model table: names, sizes and sources, as plain data
    architectures  build the network of a name, without weights
    naming         find the model that a name or a file stands for
    card           the description inside a weights file of `pipeline pretrain`
    weight_files   read tensors from a file or the hub, without running code
    weights        build a transformer with its weights for a given input size
    untrained      fixed random weights
    cls_attention  compute the CLS token's attention, block by block
    chunked_mlp    compute MLPs in chunks of tokens on a CPU
    recipe         all that determines the maps
    extractor      compute the stored float16 maps of uint8 images
    memo           cache of computed maps
    shipped        weights that come with the package

Training and evaluation never import this package.
"""
