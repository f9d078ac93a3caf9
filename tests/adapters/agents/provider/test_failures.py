from __future__ import annotations

import pickle

import pytest
from moorage.adapters.agents.provider import failures
from moorage.adapters.agents.provider.failures import (
    AgentFailure,
    AuthenticationFailed,
    ContentRefused,
    ContextOverflow,
    Overloaded,
    ProtocolViolated,
    ProviderExited,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RequestInvalid,
    failure_of_status,
)
from moorage.runtime.codec import pack
from moorage.runtime.errors import MoorageError

KINDS = AgentFailure.__subclasses__()


def test_each_kind_has_a_code_of_its_own_and_stands_in_the_tree_of_the_docstring():
    codes = {kind.code for kind in KINDS}

    assert len(KINDS) == len(codes) == 15
    for kind in KINDS:
        line = next(line for line in failures.__doc__.splitlines() if f" {kind.__name__} " in line)
        assert kind.category in line
        assert kind.retryable == ("  yes  " in line)


def test_only_what_may_pass_by_itself_is_retryable():
    retryable = {kind.code for kind in KINDS if kind.retryable}

    expected = {
        "provider_rate_limited",
        "provider_overloaded",
        "provider_unavailable",
        "provider_timeout",
        "connection_lost",
    }
    assert expected == retryable


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "temperature must be below 2", RequestInvalid),
        (400, "prompt is too long: 250000 tokens > 200000 maximum", ContextOverflow),
        (400, "error code context_length_exceeded", ContextOverflow),
        (
            400,
            "input length and `max_tokens` exceed context limit: 19 + 2 > 20",
            ContextOverflow,
        ),
        (400, "Your input exceeds the context window of this model", ContextOverflow),
        (400, "The input token count (9) exceeds the maximum number of tokens", ContextOverflow),
        (400, "This model's maximum prompt length is 8 but there are 9 tokens", ContextOverflow),
        (400, "the request exceeds the available context size", ContextOverflow),
        (400, "the prompt is longer than the maximum model length of 8", ContextOverflow),
        (400, "Please reduce the length of the messages or completion.", ContextOverflow),
        (400, "Input is too long for requested model.", ContextOverflow),
        (413, "Request exceeds the maximum size", ContextOverflow),
        (400, "max_tokens must be at least 1", RequestInvalid),
        (400, "blocked by our content management policy", ContentRefused),
        (401, "invalid x-api-key", AuthenticationFailed),
        (402, "no credit", AuthenticationFailed),
        (403, "not allowed", AuthenticationFailed),
        (404, "no such model", RequestInvalid),
        (408, "", ProviderTimeout),
        (409, "", ProviderUnavailable),
        (429, "slow down", RateLimited),
        (500, "", ProviderUnavailable),
        (503, "", ProviderUnavailable),
        (503, "the engine is overloaded", Overloaded),
        (504, "", ProviderTimeout),
        (529, "", Overloaded),
        (302, "", ProtocolViolated),
    ],
)
def test_a_status_tells_the_kind_of_failure(status, message, kind):
    failure = failure_of_status("anthropic", status, message)

    assert type(failure) is kind
    assert (failure.status, failure.provider) == (status, "anthropic")
    assert f"anthropic answered {status}" in str(failure)


def test_the_wait_that_the_provider_asks_for_is_kept():
    failure = failure_of_status("openai", 429, "slow down", 2.5)

    assert failure.retry_after_seconds == 2.5
    assert failure.details["retry_after_seconds"] == 2.5


def test_the_facts_are_attributes_and_plain_details():
    failure = ProviderExited(
        "codex ended", provider="codex", exit_code=3, stderr="no", facts={"line": 7}
    )

    expected = {
        "provider": "codex",
        "category": "protocol",
        "exit_code": 3,
        "stderr": "no",
        "line": 7,
    }
    assert expected == failure.details
    pack(failure.details)


def test_details_stay_small_enough_for_the_runtime_to_keep():
    failure = ProviderExited("codex ended", provider="codex", stderr="x" + "ä" * 100_000 + "end")

    assert len(pack(failure.details)) < 65_536
    assert failure.stderr.endswith("ääend")


def test_a_failure_can_be_told_as_an_event():
    event = RateLimited("slow down", provider="openai").event()

    expected = {
        "code": "provider_rate_limited",
        "category": "limit",
        "message": "slow down",
        "retryable": True,
    }
    assert expected == event


def test_a_message_that_no_log_can_keep_is_made_one():
    event = RateLimited("\ud800" + "x" * 10_000, provider="openai").event()

    pack(event)
    assert event["message"] == "?" + "x" * 4_095


def test_they_are_caught_with_all_other_errors_and_survive_pickling():
    failure = pickle.loads(pickle.dumps(RateLimited("slow down", provider="openai", status=429)))

    assert isinstance(failure, MoorageError)
    assert (str(failure), failure.status, failure.code) == (
        "slow down",
        429,
        "provider_rate_limited",
    )
