"""Find images and their masks on disk, decode them to arrays, and resize them.

    pairing       match images with masks             find_samples, find_masks, Inputs, Found
    layouts       how public data sets name files     LAYOUTS
    patterns      `{id}_mask.{ext}` and the like      Pattern
    decoding      image file to 8-bit RGB             read_image, read_resized
    labels        label files of one image to masks   LabelRules, read_labels
    classes       class names and their values       ClassMap
    masks         mask file to class indices          read_mask
    mask_sanity   warnings about a set of masks       MaskSanityCheck
    tiling        the regions of tiles                TileRule, tile_boxes
    regions       regions of images; `label_regions` of their labels; `context` with their surroundings
    resizing      to the store's size and back        resize_image, resize_mask, resize_probabilities

Torch is never imported here.

Matching images with masks is divided into small steps. `pairing` calls them in this order:

    listing       all files of a folder, with their kinds
    trees         how the folder of images and the folder of masks lie to each other
    recognition   the choice of the layout, by trying `matching` with those that may fit
    matching      samples, problems, and files left out: `forms` compiles the patterns of a layout, `sorting` gives
                  every file its use, `owners` finds the image of a mask, `annotating` that of an annotation
    groups        the patient of every image; `suggesting` proposes a pattern where none is known
    describing    the classes that a data set itself names
    table         all of this from a table instead
"""
