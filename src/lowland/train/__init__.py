"""The training loop, with its optimizers, schedules and checkpoints."""
