"""Predict images that are too large to be in memory, tile by tile, and write their files row by row.

    sliding      tiles of one image to rows of blended probabilities
    row_file     keep rows of a picture on the disk
    connected    number the objects of a picture that is read row by row
    outlines     trace their outlines
    label_tiff   write a label image as a tiled, pyramidal TIFF
    features     write GeoJSON one object at a time
    totals       add up areas and confidences
    files        all files of one image
    driver       choose the way for every image of a run that was trained on tiles

Nothing here holds a whole image. Memory depends on the width of the image, the tile and the number of objects.
"""
