"""`lowland eval`."""

HELP = DESCRIPTION = EPILOG = USAGE = ""


def add_arguments(parser): ...
def run(arguments):
    return 0
