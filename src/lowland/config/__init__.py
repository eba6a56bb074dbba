"""What an experiment is: its settings, each checked once, and its arms."""
