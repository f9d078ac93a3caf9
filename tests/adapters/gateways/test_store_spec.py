from __future__ import annotations

import moorage.stores
import pytest
from moorage.adapters.gateways.frame import CommandFailed
from moorage.adapters.gateways.store_spec import (
    FORMS,
    KINDS,
    load_store,
    parse_spec,
    spec_with_options,
    without_password,
)
from moorage.stores import JournalStore


@pytest.mark.parametrize("form", ["{}", "journal:{}"])
def test_a_directory_is_a_journal(tmp_path, form):
    path = tmp_path / "data"

    store = load_store(form.format(path), must_exist=False)

    assert isinstance(store, JournalStore)
    assert store.path == path
    assert not path.exists()


@pytest.mark.parametrize("spec", ["{}", "journal:{}", "sqlite:{}", "jsonl:{}"])
def test_what_is_read_must_be_there(tmp_path, spec):
    with pytest.raises(CommandFailed, match="there is no"):
        load_store(spec.format(tmp_path / "nothing"), must_exist=True)


@pytest.mark.parametrize("spec", ["", "nonsense:x", "ftp://host/x", "sqlite:", "journal:"])
def test_what_names_no_store_is_refused_with_all_forms(spec):
    with pytest.raises(CommandFailed) as caught:
        load_store(spec, must_exist=False)

    assert FORMS in str(caught.value)
    assert all(kind in FORMS for kind in KINDS)


class Given:
    """A store that remembers what it was made of."""

    def __init__(self, place, **options):
        self.place = place
        self.options = options


@pytest.mark.parametrize(
    ("spec", "name", "place"),
    [
        ("sqlite:some/file.db", "SqliteStore", "some/file.db"),
        ("jsonl:folder", "JsonlStore", "folder"),
        ("postgres:host=h dbname=d", "PostgresStore", "host=h dbname=d"),
        ("postgres://u:p@h/d", "PostgresStore", "postgres://u:p@h/d"),
        ("postgresql://h/d", "PostgresStore", "postgresql://h/d"),
        ("redis:redis://h:1/2", "RedisStore", "redis://h:1/2"),
        ("rediss://h:1/2", "RedisStore", "rediss://h:1/2"),
    ],
)
def test_each_kind_is_made_of_what_stands_behind_it(monkeypatch, spec, name, place):
    monkeypatch.setattr(moorage.stores, name, Given, raising=False)

    store = load_store(spec, must_exist=False)

    assert isinstance(store, Given)
    assert store.place == place


def test_a_missing_package_is_told_with_the_extra(monkeypatch):
    def missing(place):
        raise AssertionError

    class Stores:
        def __getattr__(self, name):
            raise ModuleNotFoundError(f"No module named {name!r}", name="psycopg")

    monkeypatch.setattr("moorage.adapters.gateways.store_spec.import_module", lambda name: Stores())
    with pytest.raises(CommandFailed, match=r"psycopg.*pip install 'moorage\[postgres\]'"):
        load_store("postgres:x", must_exist=False)


def test_a_kind_that_this_version_does_not_have_is_told(monkeypatch):
    monkeypatch.setattr("moorage.adapters.gateways.store_spec.import_module", lambda name: object())
    with pytest.raises(CommandFailed, match="no RedisStore"):
        load_store("redis:x", must_exist=False)


@pytest.mark.parametrize(
    ("spec", "place", "options"),
    [
        (
            "sqlite:a?durability=buffered&busy_seconds=2",
            "a",
            {"durability": "buffered", "busy_seconds": 2.0},
        ),
        ("postgres:host=h dbname=d?schema=s", "host=h dbname=d", {"schema": "s"}),
        (
            "postgres://u:p%40@h/d?sslmode=require&schema=s&lease_seconds=3",
            "postgres://u:p%40@h/d?sslmode=require",
            {"schema": "s", "lease_seconds": 3.0},
        ),
        ("postgres://h/d?sslmode=require", "postgres://h/d?sslmode=require", {}),
        (
            "redis://h/1?prefix=chats%3A&eviction_allowed=true&session_ttl_seconds=9.5",
            "redis://h/1",
            {"key_prefix": "chats:", "eviction_allowed": True, "session_ttl_seconds": 9.5},
        ),
        ("journal:what?", "what?", {}),
        ("jsonl:is a?b/c", "is a?b/c", {}),
    ],
)
def test_options_stand_behind_a_question_mark(spec, place, options):
    found = parse_spec(spec)

    assert (found.place, found.options) == (place, options)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("sqlite:a?schema=s", "'schema' is no option of sqlite: it has durability, busy_seconds"),
        ("postgres:dbname=d?lease_seconds=long", "lease_seconds of postgres: could not convert"),
        ("redis://h?eviction_allowed=maybe", "'maybe' is neither true nor false"),
        ("sqlite:a?durability=none", "names no store.*'commit' or 'buffered'"),
        ("postgres:dbname=d?schema=Bad-Name", "schema must be a name"),
    ],
)
def test_what_is_no_option_is_refused(spec, reason):
    with pytest.raises(CommandFailed, match=reason):
        load_store(spec, must_exist=False)


@pytest.mark.parametrize(
    "spec",
    [
        "postgres://me:secret@h/d",
        "postgres:host=h password=secret dbname=d",
        "postgres:host=h password='secret words' dbname=d",
        "postgres://h/d?password=secret&schema=s",
        "redis://:secret@h:1/0",
        "redis://me:secret@with:colons@h",
        "rediss://h?password=secret",
        "redis:mysql://me:secret@h",
        "mysql://me:secret@h",
        "postgres:host=h password=secret?nonsense=1",
        "postgres:host=h password=secret?lease_seconds=x",
        "postgres:this is no DSN password=secret",
    ],
)
def test_no_text_ever_shows_a_password(spec):
    told = [without_password(spec)]
    try:
        found = parse_spec(spec)
        told.append(repr(found))
        found.load(must_exist=False)
    except CommandFailed as error:
        told.append(str(error))

    assert not [text for text in told if "secret" in text or "words" in text]


@pytest.mark.parametrize(
    ("spec", "options", "text"),
    [
        ("journal:a", {}, "journal:a"),
        ("journal:a", {"durability": "buffered"}, "journal:a?durability=buffered"),
        ("postgres:dbname=x", {"schema": "y", "lease_seconds": 5}, "postgres:dbname=x?schema=y&"),
        ("redis://h/0?prefix=a:", {"lease_seconds": 5}, "redis://h/0?prefix=a:&lease_seconds=5"),
    ],
)
def test_options_can_be_put_behind_a_spec(spec, options, text):
    made = spec_with_options(spec, options)

    assert made.startswith(text)
    assert (
        parse_spec(made).options
        == parse_spec(spec)
        .with_options({name: str(value) for name, value in options.items()})
        .options
    )


def test_options_beside_a_spec_are_checked_as_those_in_it():
    with pytest.raises(CommandFailed, match="no option of journal"):
        parse_spec("journal:a").with_options({"schema": "x"})
    with pytest.raises(CommandFailed, match="the option lease_seconds of redis"):
        parse_spec("redis://h").with_options({"lease_seconds": "soon"})
