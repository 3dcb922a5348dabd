"""Files on disk: finding images and their masks, decoding them, resizing them.

    pairing     which image goes with which mask         SourceSample, find_samples
    decoding    an image file to 8-bit RGB               DecodedImage, read_image, read_resized
    masks       a mask file to class indices             ClassMap, read_mask
    resizing    to the store's size and back again       resize_image, resize_mask, resize_probabilities

Besides, what the drawing of phantoms is made of (`phantom_*`). Torch is never imported here.
"""
