"""Training: one loop for all arms, its optimizers, schedules and seeds."""
