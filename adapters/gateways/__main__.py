"""``python -m moorage.adapters.gateways``: the same as ``moorage``, which starts here too."""

import sys


def main() -> None:
    """The command line, or what to install for it: the base install has none of its packages."""
    try:
        from .command_line import main as command_line
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"moorage: the command line needs {error.name}: pip install 'moorage[cli]'")
    command_line()


if __name__ == "__main__":
    main()
