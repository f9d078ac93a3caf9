from __future__ import annotations

import inspect
from typing import get_args

from moorage.adapters.gateways import serve_options
from moorage.adapters.gateways.serve_command import serve
from typer.models import OptionInfo


def options():
    """The options that the module has, by their names in it."""
    return {
        name: info
        for name, kind in vars(serve_options).items()
        for info in get_args(kind)[1:]
        if isinstance(info, OptionInfo)
    }


def test_the_command_takes_every_option_that_there_is():
    taken = {kind for p in inspect.signature(serve).parameters.values() for kind in [p.annotation]}

    assert len(options()) > 10
    assert [name for name in options() if getattr(serve_options, name) not in taken] == []


def test_every_option_says_in_a_sentence_what_it_is_for():
    assert [name for name, info in options().items() if not (info.help or "").endswith(".")] == []


def test_the_help_of_the_command_names_them(moorage):
    told = moorage("serve", "--help").stdout

    for option in ("--bind", "--tokens", "--no-console", "--metrics", "--audit", "--webhooks"):
        assert option in told
