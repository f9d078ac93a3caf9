from __future__ import annotations

from moorage.adapters.gateways.http.operations import RouteTable
from moorage.adapters.gateways.http.routes import OPERATIONS


def test_every_operation_is_found_at_its_path():
    table = RouteTable(OPERATIONS)
    for operation in OPERATIONS:
        path = operation.path.replace("{", "").replace("}", "").encode()

        assert table.find(operation.method, path)[0] is operation


def test_what_changes_something_needs_more_than_read():
    for operation in OPERATIONS:
        if operation.method not in ("GET", "HEAD"):
            assert operation.scope in ("write", "approve", "admin"), operation.id


def test_only_health_and_the_document_are_open_to_all():
    open_to_all = {operation.id for operation in OPERATIONS if operation.scope is None}

    assert open_to_all == {"healthz", "readyz", "get_openapi"}
