"""``python -m moorage.adapters.gateways``: the same as ``moorage``."""

from .command_line import main

if __name__ == "__main__":
    main()
