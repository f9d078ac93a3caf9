"""Whether a store keeps the promises of ``moorage.runtime.ports``, for anybody's store.

Needs no test framework::

    def new_content():                 # an OpenStore over content of its own
        directory = tempfile.mkdtemp()
        return lambda: MyStore(directory)

    for result in trio.run(check_store, new_content):
        print(result)

With pytest, one test per check::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_my_store(check, tmp_path):
        await check(lambda: MyStore(tmp_path / "store"))

Each check is an async function whose docstring is the rule; it raises Nonconformance. Checks of
leases pass on a store without any, and that of the second opener on one with leases. Those of
crashes and failures need a ``Content``, which says how to bring them about, and pass on a plain
OpenStore: give one. Checks are proved by ``moorage.stores.broken``: for each way of being wrong
there, at least one fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .appending import APPENDING
from .failing import FAILING
from .keeping import KEEPING
from .letters import LETTERS
from .ordering import ORDERING
from .ownership import OWNERSHIP
from .placing import PLACING
from .reading import READING
from .refusing import REFUSING
from .scenario import PATIENCE_SECONDS, Check, Content, Nonconformance, OpenStore
from .waiting import WAITING

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKS: tuple[Check, ...] = (
    *OWNERSHIP,
    *LETTERS,
    *PLACING,
    *APPENDING,
    *READING,
    *ORDERING,
    *REFUSING,
    *KEEPING,
    *FAILING,
    *WAITING,
)


@attrs.frozen
class CheckResult:
    """``problem`` is None if the check passed."""

    name: str
    rule: str
    problem: str | None

    @property
    def passed(self) -> bool:
        return self.problem is None

    def __str__(self) -> str:
        return f"passed  {self.name}" if self.passed else f"FAILED  {self.problem}"


async def check_store(
    new_content: Callable[[], OpenStore], checks: tuple[Check, ...] = CHECKS
) -> tuple[CheckResult, ...]:
    """Run all checks, each on content of its own, and return what each found."""
    results = []
    for check in checks:
        problem = None
        try:
            await check(new_content())
        except Nonconformance as error:
            problem = str(error)
        rule = " ".join((check.__doc__ or "").split())
        results.append(CheckResult(check.__name__, rule, problem))
    return tuple(results)


__all__ = [
    "CHECKS",
    "Check",
    "CheckResult",
    "Content",
    "Nonconformance",
    "OpenStore",
    "PATIENCE_SECONDS",
    "check_store",
]
