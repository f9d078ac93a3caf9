from __future__ import annotations

from moorage.adapters.gateways.http import SCOPES, TokenFile


async def test_statistics_count_what_is_resident_and_streams(serving):
    async with serving() as service:
        await service.supervisor.session("a")
        async with service.client.stream("/v1/sessions/a/events"):
            told = (await service.client("GET", "/v1/statistics")).json()

    assert (told["sessions_resident"], told["streams"], told["draining"]) == (1, 1, False)
    assert told["runs"].keys() == {"limit", "in_use", "waiting"}


async def test_whoever_watches_needs_no_token(serving, tmp_path):
    async with serving(auth=TokenFile(tmp_path / "none")) as service:
        statuses = [
            (await service.client("GET", path)).status
            for path in ("/healthz", "/readyz", "/v1/openapi.json")
        ]

    assert statuses == [200, 200, 200]


async def test_an_admin_of_a_tenant_is_not_told_of_the_server(serving, tmp_path):
    file = TokenFile(tmp_path / "tokens.json")
    token = file.issue("acme", scopes=SCOPES, prefix="acme-").token
    async with serving(auth=file) as service:
        answer = await service.client(
            "GET", "/v1/statistics", headers={"authorization": f"Bearer {token}"}
        )

    assert (answer.status, answer.code) == (403, "scope_missing")
    assert "for all sessions" in answer.json()["detail"]
