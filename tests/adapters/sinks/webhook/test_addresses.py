from __future__ import annotations

from ipaddress import ip_address

import pytest
from moorage.adapters.sinks.webhook import AddressRefused, AddressRules
from moorage.adapters.sinks.webhook.addresses import embedded, refusal
from moorage.runtime import InvalidArgument

NOT_PUBLIC = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2001::1",
    "2001:2::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "4000::1",
    "5f00::1",
]
PUBLIC = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
    "2001:200::1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(address):
    with pytest.raises(AddressRefused) as caught:
        AddressRules().check_address("hook.test", ip_address(address), encrypted=True)

    assert caught.value.address == str(ip_address(address))
    assert caught.value.code == "address_refused"


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_for_encrypted_connections_only(address):
    AddressRules().check_address("hook.test", ip_address(address), encrypted=True)

    with pytest.raises(AddressRefused, match="without encryption"):
        AddressRules().check_address("hook.test", ip_address(address), encrypted=False)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_nothing_that_is_refused_is_global_in_the_eyes_of_python(address):
    judged = embedded(ip_address(address))

    # relays, and what is reserved for networks yet to come, are refused although they are
    assert not judged.is_global or judged.is_multicast or refusal(judged) is not None


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "127.9.9.9"])
@pytest.mark.parametrize("encrypted", [True, False])
def test_allowed_networks_may_be_reached_either_way(address, encrypted):
    rules = AddressRules(["127.0.0.0/8", "fd00::/8"])

    rules.check_address("hook.test", ip_address(address), encrypted=encrypted)
    rules.check_address("hook.test", ip_address("fd00::1"), encrypted=encrypted)
    with pytest.raises(AddressRefused):
        rules.check_address("hook.test", ip_address("10.0.0.1"), encrypted=encrypted)


@pytest.mark.parametrize(
    "url",
    [
        "https://169.254.169.254/latest/meta-data",
        "https://127.0.0.1:8040/hook",
        "https://[::1]/hook",
        "https://[::ffff:10.0.0.1]/hook",
        "https://[fe80::1%25eth0]/hook",
    ],
)
def test_a_url_at_an_address_that_is_not_public_is_refused_at_once(url):
    with pytest.raises(AddressRefused, match="webhooks go to public addresses"):
        AddressRules().check_url(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "must be like https"),
        ("hook", "must be like https"),
        ("ftp://example.com/", "must be like https"),
        ("https:///hook", "must be like https"),
        ("https://example.com:0/", "must be like https"),
        ("https://example.com:99999/", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("http://example.com/", "must begin with https"),
        ("https://user:pass@example.com/", "no user, no password"),
        ("https://example.com/#here", "no fragment"),
        ("https://ex\u00e4mple.com/", "printable ASCII"),
        ("https://example.com/ x", "printable ASCII"),
        ("https://example.com/\r\nx: y", "printable ASCII"),
        ("https://example.com/" + "x" * 2_048, "the limit is 2048"),
        ("https://a..b/", "1 to 63 characters"),
        ("https://.a/", "1 to 63 characters"),
        (f"https://{'x' * 64}.test/", "1 to 63 characters"),
    ],
    ids=lambda value: value[:30].encode("unicode_escape").decode() if "://" in value else None,
)
def test_a_url_that_cannot_be_a_target_is_refused(url, why):
    with pytest.raises(InvalidArgument, match=why):
        AddressRules().check_url(url)


@pytest.mark.parametrize("host", ["example.com.", "x" * 63 + ".test", "xn--exmple-cua.com", "a_b"])
def test_a_name_that_can_be_looked_up_is_one(host):
    assert AddressRules().check_url(f"https://{host}/").hostname == host


def test_what_is_told_of_a_name_leaves_out_what_the_network_says_of_it():
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1, which is private") as caught:
        AddressRules().check_address("in.test", ip_address("10.0.0.1"), encrypted=True)

    assert caught.value.told.startswith("in.test does not resolve to a public address: webhooks go")


def test_without_encryption_only_what_is_allowed_can_be_named():
    rules = AddressRules(["10.1.0.0/16"])

    assert rules.check_url("http://10.1.2.3:8080/hook").port == 8080
    assert rules.check_url("http://intranet/hook").hostname == "intranet"  # seen when connecting
    with pytest.raises(AddressRefused):
        rules.check_url("http://1.1.1.1/hook")


@pytest.mark.parametrize("networks", [["10.1.2.3/8"], ["everything"], "10.0.0.0/8"])
def test_networks_have_to_be_networks(networks):
    with pytest.raises(InvalidArgument):
        AddressRules(networks)
