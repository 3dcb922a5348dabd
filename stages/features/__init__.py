"""Make the maps of a store from features that other programs have written, so that nothing is computed twice.

    formats            the table of formats
    found              what is found in a folder of features, and the features of one image
    trident            HDF5 files of TRIDENT, and of CLAM
    slide2vec          tile embeddings of slide2vec
    slide2vec_dense    grids of patches of slide2vec
    eva                embeddings of kaiko-eva with their manifest
    reduction          reduce the features to a few components
    placing            place the features of tiles on the grid of a sample
    building           write the store

To add a format, add an entry to `formats.FORMATS` and a module with a function that finds its files.
"""
