"""Load a pretrained transformer and compute the attention of its CLS token.

    models         the model table: names, sizes and sources, as plain data
    architectures  build the network of a name, without weights
    timm_models    models of timm's list: licences, normalisation, and which of them can be read
    naming         find the model that a name or a file stands for
    card           the description inside a weights file of `pipeline pretrain`
    hub            get the weights from the hub, or from an earlier download
    weight_files   read tensors from a file, without running code
    checkpoint_parts
                   take the transformer out of a training checkpoint
    sharded        advice for checkpoints in several files
    transformers_layout
                   rename the tensors of transformers' files
    zip_directory, pickle_scan, safetensors_header
                   compare what a weights file promises with limits, before memory is allocated
    plain_tensors  refuse tensors of kinds that a transformer does not take
    foreign_text   names from a file in a message
    input_size     limits of the input size
    positions      resample position embeddings
    weights        build a transformer with its weights for a given input size
    untrained      fixed random weights
    cls_attention  compute the CLS token's attention, block by block
    attention_check
                   compare it with the full attention on a small input
    chunked_mlp    compute MLPs in chunks of tokens on a CPU
    recipe         all that determines the maps
    extractor      compute the stored float16 maps of uint8 images
    memo           cache of computed maps
    memo_file      check the file of a memo before it is used
    shipped        weights that come with the package

Training and evaluation never import this package.
"""
