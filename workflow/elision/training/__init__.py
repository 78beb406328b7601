"""Training: data on a device, the loop, checkpoints, selection."""
