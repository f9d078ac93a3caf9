from __future__ import annotations

from moorage.adapters.gateways.demo.places import SOCKET_BYTES_MAX, Places


def test_a_socket_has_a_path_that_the_kernel_takes_however_deep_the_directory_is(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)

    assert Places(tmp_path).socket == tmp_path / "socket"
    assert len(bytes(Places(deep).socket)) <= SOCKET_BYTES_MAX
    assert Places(deep).socket == Places(deep).socket
