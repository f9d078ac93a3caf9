from __future__ import annotations

from moorage.adapters.gateways.http.responses import answers


def test_an_answer_refers_to_its_schema():
    (answer,) = answers({200: "Run"}).values()

    assert answer.content == {"application/json": {"$ref": "#/components/schemas/Run"}}
    assert "run" in answer.description.lower()


def test_one_without_content_says_what_it_means():
    (answer,) = answers({204: ""}).values()

    assert (answer.content, bool(answer.description)) == ({}, True)
