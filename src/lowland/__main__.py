"""`python -m lowland`: the same as the command `lowland`."""

import sys

from lowland.cli import main

if __name__ == "__main__":
    sys.exit(main())
