"""Sessions over HTTP: a supervisor behind JSON, long polls and server-sent events.

``create_app`` makes an ASGI application of a supervisor and ``serve`` runs it. Needs the extra
``http``. All routes are composed in ``routes``, whoever may do what is decided in
``authorisation``, every error becomes a document in ``problems``, and everything that is sent as
JSON is shaped in ``encoding``.
"""

from .app import HttpGateway, create_app
from .authorisation import SCOPES, Authenticator, Principal, Scope
from .limits import HttpLimits
from .serving import serve
from .tokens import IssuedToken, StoredToken, TokenFile

__all__ = [
    "create_app",
    "serve",
    "HttpGateway",
    "HttpLimits",
    "Authenticator",
    "Principal",
    "Scope",
    "SCOPES",
    "TokenFile",
    "StoredToken",
    "IssuedToken",
]
