from __future__ import annotations

import os
import subprocess

import pytest
import trio
from moorage.adapters.gateways.demo import story as module
from moorage.adapters.gateways.demo.checks import Finding
from moorage.adapters.gateways.demo.story import StoryFailed, programs_alive, tell_story
from moorage.adapters.gateways.frame import CommandFailed, bare


def test_programs_are_found_by_the_token_in_their_environment():
    token = f"token-of-this-test-{os.getpid()}"
    environment = {**os.environ, "MOORAGE_DEMO": token}
    pipe = subprocess.PIPE
    with subprocess.Popen(["cat"], stdin=pipe, stdout=pipe, env=environment) as program:
        program.stdin.write(b"begun\n")
        program.stdin.flush()
        program.stdout.readline()  # until then the kernel may still be loading it
        alive = programs_alive(token)

    assert alive == [program.pid]
    assert programs_alive(token) == []


async def reason_of(tell):
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - groups of them, too
        await tell
    error = bare(caught.value)
    assert isinstance(error, CommandFailed), error
    return str(error)


async def test_a_service_that_cannot_start_ends_the_story_with_its_last_words(
    tmp_path, monkeypatch
):
    keep = tmp_path / "kept"

    def places(root):
        made = original(root)
        made.journal.write_text("in the way")
        return made

    original = module.Places
    monkeypatch.setattr(module, "Places", places)

    reason = await reason_of(tell_story(seconds=1, keep=keep))

    assert "the service ended" in reason
    assert "journal" in reason


async def test_a_story_that_takes_too_long_says_where_it_was(monkeypatch):
    monkeypatch.setattr(module, "DEADLINE_SECONDS", 0.0)

    reason = await reason_of(tell_story(seconds=0.3, keep=None))

    assert "was not over after" in reason
    assert "starting" in reason


async def test_a_finding_that_does_not_hold_fails_the_story(monkeypatch, capsys):
    async def tell(self):
        await trio.lowlevel.checkpoint()
        return [Finding("all is well", "0 of 1", ["it is not"])]

    monkeypatch.setattr(module.Story, "tell", tell)

    with pytest.raises(StoryFailed, match="all is well: it is not"):
        await tell_story(seconds=1, keep=None)
    assert "✗ all is well" in capsys.readouterr().out


async def test_programs_that_outlive_the_service_fail_the_story(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "programs_alive", lambda token: [1])
    monkeypatch.setattr(module, "CHILDREN_GONE_SECONDS", 0.02)
    story = module.Story(tmp_path, module.Screen(), 1)

    with pytest.raises(StoryFailed, match="1 programs were alive"):
        await story._wait_children_gone(trio.current_time())
