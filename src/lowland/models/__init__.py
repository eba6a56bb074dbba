"""Language models: load a checkpoint, build one, and save one."""
