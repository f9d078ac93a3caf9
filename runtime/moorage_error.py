"""The base of all errors; errors.py has the tree."""

from __future__ import annotations

from typing import Any, ClassVar


class MoorageError(Exception):
    """Base of everything that Moorage raises on purpose."""

    code: ClassVar[str] = "moorage_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[MoorageError], args: tuple[Any, ...], facts: dict[str, Any]) -> MoorageError:
    """Make an error again from its pickled parts, whatever its constructor asks for."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(facts)
    return error
