"""Bearer tokens in a file that holds their hashes: who has read it can't ask for anything.

A token is 256 random bits, so one round of SHA-256 is enough: there is nothing to guess. The file
is read again when it has changed, which is looked for once a second at most.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.identifiers import check_name

from .authorisation import SCOPES, Principal, Scope
from .problems import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

VERSION = 1
LOOK_SECONDS = 1.0
NAME_BYTES_MAX = 128
TOKENS_MAX = 10_000
SEPARATORS = "-_./:~"
"""What the prefix of a tenant ends with, or `acme` would see the sessions of `acme2`."""
_MARK = "mrg"
_SECOND_NS = 1_000_000_000


@attrs.frozen(kw_only=True)
class StoredToken:
    """What the file has of a token: everything but the token. ``expires_at_ns`` None: never."""

    id: str
    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    prefix: str
    created_at_ns: int
    expires_at_ns: int | None

    def expired(self, now_ns: int) -> bool:
        return self.expires_at_ns is not None and now_ns >= self.expires_at_ns


@attrs.frozen
class IssuedToken:
    """A new token; ``token`` is told once, here."""

    token: str
    stored: StoredToken


def check_token(
    name: str, *, scopes: Collection[str], prefix: str, seconds: float | None
) -> tuple[str, tuple[Scope, ...], str, int | None]:
    """What a token is made of, its time in ns. Raises InvalidArgument for what none can have."""
    return (
        check_name("name", name, bytes_max=NAME_BYTES_MAX),
        _check_scopes(scopes),
        _check_prefix(prefix),
        None if seconds is None else _lifetime_ns(seconds),
    )


class TokenFile:
    """Tokens in a file of this user alone (mode 0600); an Authenticator.

    Constructing it does no I/O. Every method raises InvalidArgument for a file that others may
    read or that is not one of ours, and OSError.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._known: dict[str, StoredToken] = {}
        self._looked_at: float | None = None
        self._stamp: tuple[int, int, int] | None = None

    # ---- managing ----

    def issue(
        self,
        name: str,
        *,
        scopes: Collection[str] = ("read", "write", "approve"),
        prefix: str = "",
        seconds: float | None = None,
    ) -> IssuedToken:
        """Make a token, valid for so many seconds or until it is revoked. The file is made if it
        is not there."""
        name, known, prefix, lifetime_ns = check_token(
            name, scopes=scopes, prefix=prefix, seconds=seconds
        )
        tokens = self._read() if self._path.exists() else []
        if len(tokens) >= TOKENS_MAX:
            raise InvalidArgument(f"{self._path} has {TOKENS_MAX} tokens: revoke some first")
        now_ns = time.time_ns()
        id = secrets.token_hex(6)
        token = f"{_MARK}_{id}_{secrets.token_urlsafe(32)}"
        stored = StoredToken(
            id=id,
            name=name,
            sha256=_hash(token),
            scopes=known,
            prefix=prefix,
            created_at_ns=now_ns,
            expires_at_ns=None if lifetime_ns is None else now_ns + lifetime_ns,
        )
        self._write([*tokens, stored])
        return IssuedToken(token, stored)

    def tokens(self) -> list[StoredToken]:
        """All of them, the oldest first."""
        return self._read()

    def revoke(self, id: str) -> bool:
        """Take a token away; servers notice within a second. True if there was one."""
        tokens = self._read()
        left = [token for token in tokens if token.id != id]
        if len(left) == len(tokens):
            return False
        self._write(left)
        return True

    # ---- asking ----

    def load(self) -> None:
        """Read the file now, to find out whether it can be read."""
        self._known = {token.id: token for token in self._read()}

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """Whose token it is. Raises Unauthenticated."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("there is no bearer token")
        token = token.strip()
        self._look_again()
        parts = token.split("_", 2)
        stored = self._known.get(parts[1]) if len(parts) == 3 and parts[0] == _MARK else None
        # with or without such a token the same is done
        expected = _NOBODYS_HASH if stored is None else stored.sha256
        same = hmac.compare_digest(_hash(token), expected)
        if stored is None or not same:
            raise Unauthenticated("the token is not known, or was revoked")
        if stored.expired(time.time_ns()):
            raise Unauthenticated("the token has expired")
        return Principal(
            key=f"token {stored.id}",
            name=stored.name,
            scopes=frozenset(stored.scopes),
            prefix=stored.prefix,
        )

    def _look_again(self) -> None:
        now = trio.current_time()
        if self._looked_at is not None and now < self._looked_at + LOOK_SECONDS:
            return
        self._looked_at = now
        status = self._path.stat()
        stamp = status.st_mtime_ns, status.st_size, status.st_ino
        if stamp != self._stamp:
            self.load()
            self._stamp = stamp

    # ---- the file ----

    def _read(self) -> list[StoredToken]:
        status = self._path.stat()
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise InvalidArgument(
                f"{self._path} may be read by others (mode {stat.S_IMODE(status.st_mode):o}): "
                f"chmod 600 {self._path}"
            )
        try:
            return _parse(json.loads(self._path.read_bytes()))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidArgument(f"{self._path} is no file of tokens: {error}") from error

    def _write(self, tokens: list[StoredToken]) -> None:
        """All or nothing: a server may read it at any time."""
        content = {
            "version": VERSION,
            "tokens": [attrs.asdict(token) for token in tokens],
        }
        temporary = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(content, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


def _parse(content: Any) -> list[StoredToken]:
    if content["version"] != VERSION:
        raise ValueError(f"its version is {content['version']!r} and this release knows {VERSION}")
    return [
        StoredToken(**{**token, "scopes": _check_scopes(token["scopes"])})
        for token in content["tokens"]
    ]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


_NOBODYS_HASH = _hash("")


def _check_scopes(scopes: Collection[str]) -> tuple[Scope, ...]:
    wrong = sorted(set(scopes) - set(SCOPES))
    if wrong or not scopes:
        raise InvalidArgument(
            f"scopes must be some of {', '.join(SCOPES)}, not {', '.join(wrong) or 'none'}"
        )
    return tuple(scope for scope in SCOPES if scope in scopes)


def _check_prefix(prefix: str) -> str:
    if not prefix:
        return prefix
    check_name("prefix", prefix, bytes_max=NAME_BYTES_MAX)
    if prefix[-1] not in SEPARATORS:
        raise InvalidArgument(
            f"prefix {prefix!r} must end with one of {' '.join(SEPARATORS)}, or it would reach "
            f"sessions of others that begin alike: {prefix}-"
        )
    return prefix


def _lifetime_ns(seconds: float) -> int:
    if type(seconds) not in (int, float) or not 0 < seconds <= 100 * 366 * 86_400:
        raise InvalidArgument(
            f"a token must be valid for more than 0 seconds and at most 100 years, not {seconds!r}"
        )
    return int(seconds * _SECOND_NS)
