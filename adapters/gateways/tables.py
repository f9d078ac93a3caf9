"""Tables: rich on a terminal, plain columns in a pipe, JSON on request."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from moorage.adapters.sinks.text import one_line
from moorage.runtime.reversible_json import to_json
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .frame import write

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMN_CELLS_MIN = 8
"""A column that may be cut gets no narrower; the terminal breaks lines beyond that."""
STATE_STYLES = {
    "open": "green",
    "paused": "yellow",
    "closed": "dim",
    "quarantined": "red",
    "deleted": "dim",
    "completed": "green",
    "failed": "red",
    "timed_out": "red",
    "cancelled": "yellow",
    "live": "green",
    "draining": "yellow",
    "gone": "red",
    "interrupted": "yellow",
}


class OutputConsole(Console):
    """A console on what is standard output when it is made.

    Raises BrokenPipeError when nobody reads any more; rich would leave the process.
    """

    def __init__(self) -> None:
        super().__init__(file=sys.stdout, highlight=False)

    def on_broken_pipe(self) -> None:
        self.quiet = True  # what is still to come must not fail again
        raise BrokenPipeError


def standard_output() -> Console:
    """A console on what is standard output now."""
    return OutputConsole()


def in_color() -> bool:
    """Whether standard output is a terminal that shows colors (NO_COLOR is respected)."""
    console = standard_output()
    return console.is_terminal and not console.no_color and console.color_system is not None


def terminal_width() -> int | None:
    """How many characters a line of standard output has; None if it is no terminal."""
    console = standard_output()
    return console.width if console.is_terminal else None


def show_json(value: Any) -> None:
    """Write one JSON document; bytes, NaN and large integers as reversible_json says."""
    document = to_json(value)
    write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


def show_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[str] = (),
    states: str | None = None,
    full: Sequence[str] = (),
) -> None:
    """Write a table. ``numbers`` are the columns to align right, ``states`` the one to color,
    ``full`` others that are never cut. In a pipe nothing is cut."""
    full = [*full, *numbers, *([] if states is None else [states])]
    clean = [[one_line(cell) for cell in row] for row in rows]
    console = standard_output()
    if not console.is_terminal:
        write(_plain(headings, clean, numbers))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    widths = _fitting(headings, clean, full, console.width - 3 * len(headings) - 2)
    for heading, width in zip(headings, widths, strict=True):
        table.add_column(
            heading,
            justify="right" if heading in numbers else "left",
            no_wrap=heading not in full,
            overflow="fold" if heading in full else "ellipsis",
            width=width,
        )
    for row in clean:
        table.add_row(
            *(
                Text(cell, style=STATE_STYLES.get(cell, "") if heading == states else "")
                for heading, cell in zip(headings, row, strict=True)
            )
        )
    console.print(table)


def _fitting(
    headings: Sequence[str], rows: Sequence[Sequence[str]], full: Sequence[str], room: int
) -> list[int]:
    """Column widths that fit, taken from the widest column that may be cut; rich would take from
    all of them."""
    lines = [headings, *rows]
    widths = [max(cell_len(line[index]) for line in lines) for index in range(len(headings))]
    cuttable = [index for index, heading in enumerate(headings) if heading not in full]
    while sum(widths) > room and cuttable:
        widest = max(cuttable, key=widths.__getitem__)
        if widths[widest] <= COLUMN_CELLS_MIN:
            break
        widths[widest] -= 1
    return widths


def _plain(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> str:
    lines = [list(headings), *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headings))]
    text = ""
    for line in lines:
        cells = [
            cell.rjust(width) if heading in numbers else cell.ljust(width)
            for heading, cell, width in zip(headings, line, widths, strict=True)
        ]
        text += "  ".join(cells).rstrip() + "\n"
    return text


def show_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Write names and values, one pair per line; values may have several lines."""
    console = standard_output()
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        for number, line in enumerate(value.split("\n") or [""]):
            label = name if number == 0 else ""
            if console.is_terminal:
                text = Text(f"{label:<{width}}  ", style="bold")
                style = STATE_STYLES.get(line, "") if name == "state" else ""
                text.append(one_line(line), style=style or "not bold")
                console.print(text, soft_wrap=True)
            else:
                write(f"{label:<{width}}  {one_line(line)}".rstrip() + "\n")
