"""Train and score the convolutional network: losses, augmentation, batches, splits, checkpoints and metrics."""
