from __future__ import annotations

import base64

import pytest
from moorage.adapters.sinks.webhook import SignatureRefused, new_secret, sign, verify
from moorage.adapters.sinks.webhook.signing import signed_headers
from moorage.runtime import InvalidArgument

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
"""The test vector of the reference implementations of Standard Webhooks."""

HEADERS = {
    "Webhook-Id": MESSAGE_ID,
    "Webhook-Timestamp": str(TIMESTAMP),
    "Webhook-Signature": SIGNATURE,
}


def test_signatures_are_those_of_the_reference_implementations():
    assert sign(SECRET, MESSAGE_ID, TIMESTAMP, BODY) == SIGNATURE


def test_what_the_reference_implementations_sign_is_verified():
    assert verify(BODY, HEADERS, SECRET, now=TIMESTAMP) == MESSAGE_ID


def test_what_is_signed_is_verified_with_each_secret_of_a_rotation():
    old, new = new_secret(), new_secret()
    headers = signed_headers([new, old], "m", 1_000, b"body")

    assert [verify(b"body", headers, secret, now=1_000) for secret in (old, new)] == ["m", "m"]
    assert verify(b"body", headers, [new_secret(), old], now=1_000) == "m"


@pytest.mark.parametrize(
    ("changed", "body", "now", "why"),
    [
        ({}, BODY + b" ", TIMESTAMP, "none of the signatures fits"),
        ({"Webhook-Id": "msg_other"}, BODY, TIMESTAMP, "none of the signatures fits"),
        ({"Webhook-Timestamp": str(TIMESTAMP + 1)}, BODY, TIMESTAMP, "none of the signatures"),
        ({"Webhook-Signature": "v2," + SIGNATURE[3:]}, BODY, TIMESTAMP, "none of the signatures"),
        ({"Webhook-Signature": ""}, BODY, TIMESTAMP, "none of the signatures fits"),
        ({"Webhook-Signature": "v1,\u00e9"}, BODY, TIMESTAMP, "none of the signatures fits"),
        ({}, BODY, TIMESTAMP + 301, "301 seconds old and 300 are tolerated"),
        ({}, BODY, TIMESTAMP - 301, "-301 seconds old"),
        ({"Webhook-Timestamp": "yesterday"}, BODY, TIMESTAMP, "no time in seconds"),
        ({"Webhook-Timestamp": "9" * 30}, BODY, TIMESTAMP, "no time in seconds"),
    ],
)
def test_what_was_changed_or_is_old_is_refused(changed, body, now, why):
    with pytest.raises(SignatureRefused, match=why):
        verify(body, HEADERS | changed, SECRET, now=now)


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_a_missing_header_is_named(name):
    headers = {key: value for key, value in HEADERS.items() if key != name}

    with pytest.raises(SignatureRefused, match=f"no header {name.lower()}"):
        verify(BODY, headers, SECRET, now=TIMESTAMP)


def test_without_a_time_the_clock_of_the_machine_counts():
    with pytest.raises(SignatureRefused, match="seconds old"):
        verify(BODY, HEADERS, SECRET)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_!!!!",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
    ],
    ids=["empty", "nothing", "no base64", "short", "long"],
)
def test_a_bad_secret_is_refused_without_being_told(secret):
    with pytest.raises(InvalidArgument, match="base64 of 24 to 64 bytes") as caught:
        sign(secret, "m", 1, b"")

    assert not secret[6:] or secret not in str(caught.value)


def test_secrets_are_256_bits_and_never_the_same():
    secrets = {new_secret() for _ in range(10)}

    assert {len(base64.b64decode(secret.removeprefix("whsec_"))) for secret in secrets} == {32}
    assert len(secrets) == 10
