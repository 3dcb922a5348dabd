"""Self-distillation without labels (DINO, Caron et al. 2021): train a transformer on images alone.

images       all images of a folder in memory
crops        several crops of every image, each with its own augmentation
network      transformer and projection head together
head         from CLS tokens to prototypes
objective    loss between student and teacher, and the prevention of collapse
schedules    learning rate, weight decay, momentum and temperature by step
processes    sums over the processes of one run
watch        figures that show a collapse, or heads that attend to objects
trainer      student, teacher and optimiser, a step at a time
state        the state file, from which a run is resumed
"""
