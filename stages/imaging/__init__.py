"""Find images and their masks on disk, decode them to arrays, and resize them.

    pairing       match images with masks             find_samples, find_masks
    decoding      image file to 8-bit RGB             read_image, read_resized
    labels        label files of one image to masks   LabelRules, read_labels
    classes       class names and their values       ClassMap
    masks         mask file to class indices          read_mask
    mask_sanity   warnings about a set of masks       MaskSanityCheck
    resizing      to the store's size and back        resize_image, resize_mask, resize_probabilities

Torch is never imported here.
"""
