"""Provider options of a program as flags of its command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.runtime.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping, Set


def option_flags(options: Mapping[str, object], *, taken: Set[str]) -> list[str]:
    """``{"thinking": "high"}`` is ``--thinking high``: a flag of the option's name and its value.

    True stands for the flag alone, False and None for none, a list for the flag once per item.
    ``taken`` are names that the agent sets itself. Raises InvalidArgument for those, for what is no
    name and for values that are no text.
    """
    parts: list[str] = []
    for name, value in options.items():
        if name in taken or not name.replace("_", "").replace("-", "").isalnum():
            raise InvalidArgument(
                f"provider_options has {name!r}, which is not for the program's command line: use "
                "the agent's own arguments, or leave it out"
            )
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            parts.append(flag)
        elif value is not None and value is not False:
            for item in value if isinstance(value, list | tuple) else [value]:
                parts += [flag, _text(name, item)]
    return parts


def _text(name: str, value: object) -> str:
    if type(value) not in (str, int, float):
        raise InvalidArgument(
            f"provider_options[{name!r}] must be a text, a number, a bool or a list of texts, "
            f"not {value!r}"
        )
    return str(value)
