"""Answers with fields of another type are none: what is guessed of a machine's disks or marks would be believed."""

from __future__ import annotations

from typing import Any

import pytest

from cpis.openstack.answers import Server

ATTACHED = "os-extended-volumes:volumes_attached"
SERVER: dict[str, Any] = {
    "id": "s", "status": "ACTIVE", "metadata": {"a": "b"}, ATTACHED: [{"id": "v"}, {"id": "root", "delete_on_termination": True}]}


def test_a_server_as_nova_tells_it() -> None:
    server = Server.read(SERVER)
    assert (server.metadata, server.volumes) == ({"a": "b"}, (("v", False), ("root", True)))
    assert Server.read({key: value for key, value in SERVER.items() if key not in (ATTACHED, "metadata")}).volumes == ()


@pytest.mark.parametrize("wrong", [
    {ATTACHED: None}, {ATTACHED: {}}, {ATTACHED: [{"id": "v", "delete_on_termination": "no"}]}, {ATTACHED: [{"id": 7}]},
    {"metadata": {"caisson-token": ["t"]}}, {"metadata": {"caisson-token": None}}, {"metadata": []}, {"status": None},
])
def test_one_with_a_field_of_another_type_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Server.read({**SERVER, **wrong})
