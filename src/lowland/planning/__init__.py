"""What an experiment will do, before it starts: examples, steps, memory and time."""
