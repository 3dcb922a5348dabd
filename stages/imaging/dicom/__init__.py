"""Read DICOM: single files, series of files, and the labels in DICOM SEG.

    recognition   which files are DICOM                    is_dicom, DicomFile
    headers       the facts of a file, without its pixels  read_facts, Facts
    pixels        values of a frame                        read_frame
    files         a file as a volume                       open_file
    series        the slices of a series as a volume       SeriesPath
    gathering     the files of a folder to series          gather_series
    segments      a segment of a SEG as labels             SegmentPath
    pairing       SEG files to the images they refer to    add_segmentations

Of the patient's data only the PatientID is used: it is the group of the samples. Nothing else is kept.
"""
