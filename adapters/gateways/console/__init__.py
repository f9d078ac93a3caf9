"""The console: a web page over the gateway's own routes, as files that need no build step.

The files are in ``static``: HTML, CSS, ES modules, and the libraries that they import, whose
versions, licences and checksums are in ``static/libraries/THIRD_PARTY.md``. What serves them is
``moorage.adapters.gateways.http``.
"""

from .files import ConsoleFile, console_files

__all__ = ["console_files", "ConsoleFile"]
