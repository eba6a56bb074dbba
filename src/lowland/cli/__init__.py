"""The command `lowland`."""

from __future__ import annotations

import argparse

from lowland.version import __version__


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The arguments, without the name of the command; those of the process by default.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="lowland", description="Sharpness-Aware Minimization for language models."
    )
    parser.add_argument("--version", action="version", version=f"lowland {__version__}")
    parser.parse_args(argv)
    parser.print_help()
    return 0
