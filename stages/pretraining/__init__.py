"""Self-distillation with no labels (DINO, Caron et al. 2021): a transformer taught by images alone.

    crops        several crops of every image, distorted in different ways
    network      transformer and projection head together
    head         from CLS tokens to prototypes
    objective    what the student learns from the teacher, and what keeps the teacher from one answer to all
    schedules    learning rate, weight decay, momentum and temperature by step
    processes    sums over the processes of one run
    watch        figures that tell of collapse, and of heads that begin to look
    trainer      student, teacher and optimiser, a step at a time
    state        what it takes to go on exactly
    picture      every head's map on a few images

Files on disk are read by the stage `pretrain`; here are tensors only.
"""
