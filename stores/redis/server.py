"""The server as the store talks to it: keys, scripts, and what went wrong."""

from __future__ import annotations

import contextlib
import re
import secrets
from typing import TYPE_CHECKING, Any

import coredis
import structlog
import trio
from coredis.exceptions import NoScriptError, RedisError, ResponseError
from coredis.retry import NoRetryPolicy
from moorage.runtime.errors import CorruptLog, StoreFailed

from ..bounds import check_name
from .scripts import FORMAT, SCRIPTS, SHAS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

NOT_DONE = re.compile(r"(^|-)(OOM|MISCONF|READONLY|NOREPLICAS|NOAUTH|NOPERM|MASTERDOWN) ")
"""Answers that say that nothing was done; a script's own first write may be what was refused."""
PAUSE_SECONDS = 0.05
PAUSE_SECONDS_MAX = 0.5
NO_EVICTION = "noeviction"
SCANNED_AT_ONCE = 1_000
"""Keys of the database that the server looks at for one answer."""

LOST = (RedisError, OSError, trio.ClosedResourceError, trio.BrokenResourceError)
"""What a call raises when no answer comes."""

_log = structlog.get_logger("moorage.redis")


class Unsure(Exception):
    """No answer came: whether it was done is not known."""


class RedisServer:
    """One Redis database, and the part of it whose keys begin with ``key_prefix``."""

    def __init__(
        self,
        url: str,
        *,
        password: str | None,
        database: int,
        connections_max: int,
        key_prefix: str,
        answer_seconds: float,
        patience_seconds: float,
        eviction_allowed: bool,
    ) -> None:
        self.key_prefix = key_prefix
        self.channel = f"{key_prefix}news"
        self.nodes_channel = f"{key_prefix}unheld"
        self.place = f"Redis at {url.rpartition('@')[2].partition('?')[0]}"
        self.store_id = ""
        self._patience_seconds = patience_seconds
        self._eviction_allowed = eviction_allowed
        self._url = url
        self._options: dict[str, Any] = {
            "max_connections": connections_max,
            "stream_timeout": answer_seconds,
            "connect_timeout": answer_seconds,
        }
        if password is not None:
            self._options["password"] = password
        self._database = database
        self._client: coredis.Redis[bytes] | None = None

    @contextlib.asynccontextmanager
    async def connected(self, *, store_id: str) -> AsyncGenerator[None]:
        """Be connected, to the store that is there, or to a new one with that id.

        Raises StoreFailed: not to be reached, refused, none there (without ``store_id``), of a
        newer format, or one that may evict keys.
        """
        client: coredis.Redis[bytes] = coredis.Redis.from_url(
            self._url,
            db=self._database,
            retry_policy=NoRetryPolicy(),
            pool_timeout=self._patience_seconds,
            verify_version=False,
            **self._options,
        )
        problem: BaseException | None = None
        try:
            async with client:
                try:
                    self._client = client
                    await self._look_around(store_id)
                    yield
                except BaseException as error:  # raised again below, not wrapped in a group
                    problem = error
                finally:
                    self._client = None
        except* (RedisError, OSError) as group:
            if problem is None:
                problem = self._unreachable(group.exceptions[0])
        if problem is not None:
            try:
                raise problem
            finally:
                del problem  # its traceback refers to this frame

    async def _look_around(self, store_id: str) -> None:
        try:
            memory = await self.client.info("memory")
            policy = str(memory.get("maxmemory_policy", "unknown"))
            if policy != NO_EVICTION and not self._eviction_allowed:
                raise StoreFailed(
                    f"{self.place} may evict keys (maxmemory-policy is {policy}), which would take "
                    "events out of sessions: set it to noeviction, or pass eviction_allowed=True",
                    written=False,
                )
            answer = await self._call("open", [f"{self.key_prefix}meta"], [store_id, str(FORMAT)])
        except (RedisError, OSError, Unsure) as error:
            raise self._unreachable(error) from error
        if answer[0] != b"ok":
            raise StoreFailed(
                f"there is no store in {self.place} under {self.key_prefix!r}", written=False
            )
        if int(answer[2]) > FORMAT:
            raise StoreFailed(
                f"the store in {self.place} has format {int(answer[2])} and this version knows "
                f"{FORMAT}: use a newer moorage",
                written=False,
            )
        self.store_id = answer[1].decode()

    def _unreachable(self, error: BaseException) -> StoreFailed:
        failure = StoreFailed(f"{self.place} cannot be used: {error or repr(error)}", written=False)
        failure.__cause__ = error
        return failure

    @property
    def client(self) -> coredis.Redis[bytes]:
        if self._client is None:
            raise StoreFailed(f"{self.place} is not connected", written=False)
        return self._client

    def keys(self, session_id: str) -> list[str]:
        """Those that a script about the session gets. Raises InvalidArgument."""
        check_name("session id", session_id)
        prefix = self.key_prefix
        own = [f"{prefix}{kind}:{session_id}" for kind in ("s", "l", "r", "k", "c")]
        return [f"{prefix}meta", *own, f"{prefix}sessions"]

    async def ask(self, name: str, session_id: str, *arguments: Any) -> list[Any]:
        """Call a script that changes nothing, or nothing that matters if done twice.

        Raises StoreFailed, and CorruptLog when what was there is gone.
        """
        answer, _ = await self.insist(name, self.keys(session_id), arguments, session_id)
        return answer

    async def listed(self) -> list[str]:
        """The ids of all sessions, the one that changed last first. Raises StoreFailed."""
        try:
            found: Any = await self.client.zrevrange(f"{self.key_prefix}sessions", 0, -1)
        except LOST as error:
            raise self._unreachable(error) from error
        return [session_id.decode() for session_id in found]

    async def found(self, kind: str) -> list[str]:
        """The keys that begin with our prefix and ``kind``, each once; the server looks through all
        of the database, a thousand keys at a time. Raises StoreFailed."""
        begin = f"{self.key_prefix}{kind}"
        pattern = "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in begin)
        keys: set[str] = set()
        cursor: Any = 0
        try:
            while True:
                cursor, part = await self.client.scan(
                    cursor, match=f"{pattern}*", count=SCANNED_AT_ONCE
                )
                keys.update(key.decode() for key in part)
                if not cursor:
                    return sorted(keys)
        except LOST as error:
            raise self._unreachable(error) from error

    async def buried(self) -> list[tuple[str, int]]:
        """The ids of sessions that were deleted, with their last seqs. Raises StoreFailed."""
        begin = f"{self.key_prefix}s:"
        buried: list[tuple[str, int]] = []
        for key in await self.found("s:"):
            try:
                head, info = await self.client.hmget(key, ["head", "info"])
            except LOST as error:
                raise self._unreachable(error) from error
            if head is not None and info is None:
                buried.append((key.removeprefix(begin), int(head)))
        return buried

    async def insist(
        self, name: str, keys: Sequence[str], arguments: Sequence[Any], session_id: str
    ) -> tuple[list[Any], bool]:
        """Call a script until an answer comes, as long as there is patience; returns it and
        whether it may have been done before, by a call whose answer was lost.

        Raises StoreFailed, of unknown outcome if no answer came at all.
        """
        deadline = trio.current_time() + self._patience_seconds
        pause = PAUSE_SECONDS
        unsure = False
        while True:
            try:
                answer = await self._call(name, keys, [self.store_id, *arguments])
            except Unsure as error:
                unsure = True
                if trio.current_time() + pause > deadline:
                    raise StoreFailed(
                        f"{self.place} did not answer for {self._patience_seconds} seconds: "
                        f"{error.__cause__!r}",
                        written=None,
                    ) from error
                await trio.sleep(pause)
                pause = min(2 * pause, PAUSE_SECONDS_MAX)
                continue
            self._check(answer, session_id)
            return answer, unsure

    def _check(self, answer: list[Any], session_id: str) -> None:
        if answer[0] == b"lost":
            reason = "the store that was opened is gone: the server lost it, or was emptied"
            raise CorruptLog(file=self.place, offset=0, reason=reason)
        if answer[0] == b"damaged":
            reason = (
                f"session {session_id!r} is not whole: keys of it were evicted, or removed by "
                "somebody else"
            )
            raise CorruptLog(file=self.place, offset=int(answer[1]), reason=reason)

    async def _call(self, name: str, keys: Sequence[str], arguments: Sequence[Any]) -> list[Any]:
        client = self.client
        try:
            answer: Any
            try:
                answer = await client.evalsha(SHAS[name], keys, arguments)
            except NoScriptError:  # the server was restarted: nothing was done
                await client.script_load(SCRIPTS[name])
                answer = await client.evalsha(SHAS[name], keys, arguments)
        except ResponseError as error:
            if NOT_DONE.search(str(error)):
                raise StoreFailed(f"{self.place} refused a call: {error}", written=False) from error
            if str(error).startswith("LOADING"):
                raise Unsure from error
            raise StoreFailed(f"{self.place} failed in {name}: {error}") from error
        except LOST as error:
            if NOT_DONE.search(str(error)):
                raise StoreFailed(f"{self.place} refused a call: {error}", written=False) from error
            raise Unsure from error
        return answer  # type: ignore[no-any-return]


def new_id() -> str:
    """A name that nobody else has."""
    return secrets.token_hex(16)
