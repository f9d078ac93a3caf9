from __future__ import annotations

import json
import os
import stat
import threading

import attrs
import pytest
from moorage.adapters.gateways.webhooks import WebhookFile, WebhookLimits
from moorage.adapters.gateways.webhooks.dead_letters import DeadLetter
from moorage.runtime import InvalidArgument

URL = "https://hook.test/"
LETTER = DeadLetter(
    id="m", session_id="a", first_seq=1, last_seq=2, attempts=3, error="x", time_ns=4
)


@pytest.fixture
def file(tmp_path):
    return WebhookFile(tmp_path / "webhooks.json")


def test_there_need_be_no_file(file):
    assert (file.webhooks(), file.find("whk_1"), file.remove("whk_1")) == ([], None, False)


def test_what_is_added_is_there_for_whoever_reads_the_file(file):
    made, secret = file.add(URL, created_at_ns=7, types=("a",), tags={"x": "y"})
    other = WebhookFile(file.path)

    assert other.webhooks() == [made]
    assert other.find(made.id) == made
    assert made.keys(0) == [secret]
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_webhook_is_changed_disabled_and_removed(file):
    one, _ = file.add(URL, created_at_ns=1)
    two, _ = file.add(URL, created_at_ns=2)
    changed = file.change(one.id, lambda it: attrs.evolve(it, description="x"))
    file.disable(two, "gone")
    file.disable(one, "it was changed meanwhile, so this is about another")

    assert file.change("whk_none", lambda it: it) is None
    assert [(it.description, it.disabled_reason) for it in file.webhooks()] == [
        ("x", None),
        ("", "gone"),
    ]
    assert changed == file.find(one.id)
    assert (file.remove(one.id), file.remove(one.id)) == (True, False)
    assert [it.id for it in file.webhooks()] == [two.id]


def test_dead_letters_go_with_their_webhook(file):
    made, _ = file.add(URL, created_at_ns=1)
    file.dead_letters(made.id).add(LETTER)
    file.remove(made.id)

    assert file.dead_letters(made.id).letters() == []


def test_a_change_that_is_refused_changes_nothing(file):
    made, _ = file.add(URL, created_at_ns=1)
    before = file.path.read_bytes()
    with pytest.raises(InvalidArgument):
        file.change(made.id, lambda it: attrs.evolve(it, types=()))
    with pytest.raises(InvalidArgument):
        file.add(URL, created_at_ns=1, types=())

    assert file.path.read_bytes() == before


def test_there_is_a_limit_to_how_many_there_are(tmp_path):
    file = WebhookFile(tmp_path / "webhooks.json", limits=WebhookLimits(webhooks_max=2))
    for _ in range(2):
        file.add(URL, created_at_ns=1)

    with pytest.raises(InvalidArgument, match=r"the limit is 2 \(webhooks_max\)"):
        file.add(URL, created_at_ns=1)
    assert len(file.webhooks()) == 2


def test_no_tenant_has_all_of_them(tmp_path):
    limits = WebhookLimits(webhooks_max=4, webhooks_per_tenant_max=2)
    file = WebhookFile(tmp_path / "webhooks.json", limits=limits)
    for _ in range(2):
        file.add(URL, created_at_ns=1, tenant="acme-")
    with pytest.raises(InvalidArgument, match=r"2 .* limit is 2 \(webhooks_per_tenant_max\)"):
        file.add(URL, created_at_ns=1, tenant="acme-")
    file.add(URL, created_at_ns=1, tenant="other-")
    file.add(URL, created_at_ns=1)

    with pytest.raises(InvalidArgument, match=r"\(webhooks_max\)"):
        file.add(URL, created_at_ns=1)
    assert len(file.webhooks()) == 4


def test_changes_at_the_same_time_all_count(file):
    def add():
        for _ in range(10):
            WebhookFile(file.path).add(URL, created_at_ns=1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({it.id for it in file.webhooks()}) == 40


def test_the_stamp_is_another_one_after_each_change(file):
    stamps = [file.stamp()]
    made, _ = file.add(URL, created_at_ns=1)
    stamps.append(file.stamp())
    file.change(made.id, lambda it: attrs.evolve(it, description="y"))
    stamps.append(file.stamp())

    assert len(set(stamps)) == 3
    assert file.stamp() == stamps[-1]


def test_one_process_delivers(file):
    first = file.take_delivery()

    assert first is not None
    assert WebhookFile(file.path).take_delivery() is None
    os.close(first)


def test_a_file_that_others_may_read_is_refused(file):
    file.add(URL, created_at_ns=1)
    file.path.chmod(0o640)

    with pytest.raises(InvalidArgument, match=r"may be read by others \(mode 640\): chmod 600"):
        file.webhooks()
    with pytest.raises(InvalidArgument, match="may be read by others"):
        file.add(URL, created_at_ns=1)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"version": 2, "webhooks": []}', '{"version": 1, "webhooks": [{}]}'],
    ids=["empty", "torn", "list", "nothing", "newer", "incomplete"],
)
def test_what_is_no_file_of_webhooks_is_refused_and_left_alone(file, content):
    file.path.touch(mode=0o600)
    file.path.write_text(content)

    with pytest.raises(InvalidArgument, match="is no file of webhooks"):
        file.webhooks()
    with pytest.raises(InvalidArgument, match="is no file of webhooks"):
        file.add(URL, created_at_ns=1)
    assert file.path.read_text() == content


def test_a_newer_version_is_told(file):
    file.path.touch(mode=0o600)
    file.path.write_text(json.dumps({"version": 2, "webhooks": []}))

    with pytest.raises(InvalidArgument, match="its version is 2 and this release knows 1"):
        file.webhooks()
