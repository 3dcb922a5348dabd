"""The convolutional side: network, losses, augmentation, batches, splits, checkpoints, scores and pictures."""
