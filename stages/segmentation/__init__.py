"""The convolutional side: network, losses, augmentation, batches, splits, checkpoints and scores."""
