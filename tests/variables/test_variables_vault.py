"""Made once, in the right order, kept encrypted, looked up by version."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from director import errors
from director.manifest.model import Variable
from director.state import Store
from director.variables import Lookup, Vault

LEAF = Variable("leaf", "certificate", {"ca": "middle", "common_name": "leaf"}, "converge")
MIDDLE = Variable("middle", "certificate", {"ca": "root", "is_ca": True, "common_name": "middle"}, "converge")
ROOT = Variable("root", "certificate", {"is_ca": True, "common_name": "root"}, "converge")
PASSWORD = Variable("password", "password")


def raw(store_path: Path) -> bytes:
    connection = sqlite3.connect(store_path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return b"".join(path.read_bytes() for path in store_path.parent.glob("caisson.db*"))


def test_made_once_and_kept(vault: Vault) -> None:
    first = vault.ensure("d", [PASSWORD])
    assert [(entry.name, entry.outcome) for entry in first.entries] == [("/caisson/d/password", "created")]
    second = vault.ensure("d", [PASSWORD])
    assert [(entry.id, entry.outcome) for entry in second.entries] == [(first.entries[0].id, "kept")]
    assert vault.lookup("d")("password") == vault.value(first.entries[0].id)


def test_signers_may_be_listed_after_what_they_sign(vault: Vault) -> None:
    report = vault.ensure("d", [LEAF, MIDDLE, ROOT])
    assert [entry.name for entry in report.entries] == ["/caisson/d/leaf", "/caisson/d/middle", "/caisson/d/root"]
    look = vault.lookup("d")
    leaf, middle = (x509.load_pem_x509_certificate(look(name)["certificate"].encode()) for name in ("leaf", "middle"))
    leaf.verify_directly_issued_by(middle)
    assert look("leaf")["ca"] == look("middle")["certificate"] + look("root")["certificate"]


def test_absolute_names_are_shared(vault: Vault, store: Store) -> None:
    store.deployments.ensure("e")
    vault.ensure("d", [Variable("/shared/ca", "certificate", {"is_ca": True, "common_name": "c"})])
    leaf = Variable("leaf", "certificate", {"ca": "/shared/ca", "common_name": "x"})
    vault.ensure("e", [leaf])
    assert vault.lookup("e")("leaf")["ca"] == vault.lookup("d")("/shared/ca")["certificate"]


@pytest.mark.parametrize(("mode", "converge", "outcomes"), [
    ("", False, ["kept", "kept"]), ("no-overwrite", True, ["kept", "kept"]), ("", True, ["kept", "regenerated"]),
    ("converge", False, ["kept", "regenerated"]), ("overwrite", False, ["regenerated", "regenerated"]),
])
def test_update_modes(vault: Vault, mode: str, converge: bool, outcomes: list[str]) -> None:
    """Made, then deployed again unchanged, then with another length."""
    vault.ensure("d", [Variable("p", "password", {"length": 10}, mode)], converge=converge)
    reports = [vault.ensure("d", [Variable("p", "password", {"length": length}, mode)], converge=converge) for length in (10, 11)]
    told = [report.entries[0].outcome for report in reports]
    assert told == outcomes
    assert len(vault.lookup("d")("p")) == (11 if outcomes[1] == "regenerated" else 10)


def test_new_authority_renews_what_it_signed(vault: Vault) -> None:
    vault.ensure("d", [ROOT, MIDDLE, LEAF])
    other = Variable("root", "certificate", {"is_ca": True, "common_name": "another"}, "converge")
    report = vault.ensure("d", [other, MIDDLE, LEAF])
    assert [entry.outcome for entry in report.entries] == ["regenerated"] * 3
    assert [entry.outcome for entry in vault.ensure("d", [other, MIDDLE, LEAF]).entries] == ["kept"] * 3


def test_circle_is_told(vault: Vault) -> None:
    circle = [Variable(name, "certificate", {"ca": ca, "is_ca": True}) for name, ca in (("a", "b"), ("b", "c"), ("c", "a"), ("x", "a"))]
    with pytest.raises(errors.ManifestError, match="sign each other in a circle"):
        vault.ensure("d", circle)
    with pytest.raises(errors.ManifestError, match="circle"):
        vault.ensure("d", [Variable("a", "certificate", {"ca": "a", "is_ca": True})])


def test_nothing_is_stored_when_one_is_wrong(vault: Vault, store: Store) -> None:
    with pytest.raises(errors.ManifestError) as caught:
        vault.ensure("d", [PASSWORD, Variable("q", "password", {"length": 0}), Variable("ca", "certificate", {"is_ca": 1}),
                           Variable("leaf", "certificate", {"ca": "ca"})])
    assert store.variables.all_latest() == []
    assert not any("/leaf" in item.summary for item in caught.value.diagnostics), "the CA's error is not repeated for what it signs"


def test_other_type_under_the_same_name(vault: Vault) -> None:
    vault.ensure("d", [PASSWORD])
    with pytest.raises(errors.ManifestError, match="it exists with type 'password'"):
        vault.ensure("d", [Variable("password", "rsa")])
    assert vault.ensure("d", [Variable("password", "user", {}, "converge")]).entries[0].outcome == "regenerated"


def test_preview_writes_nothing_and_looks_like_the_real_thing(vault: Vault, store: Store) -> None:
    vault.ensure("d", [ROOT])
    before = store.variables.all_latest()
    report, look = vault.preview("d", [LEAF, MIDDLE, ROOT, PASSWORD])
    assert [entry.outcome for entry in report.entries] == ["created", "created", "kept", "created"]
    assert len(look("password")) == 30
    x509.load_pem_x509_certificate(look("leaf")["certificate"].encode())
    assert look("root") == vault.lookup("d")("root")
    assert store.variables.all_latest() == before
    with pytest.raises(KeyError):
        vault.lookup("d")("password")


def test_pinned_versions(vault: Vault, store: Store) -> None:
    chosen = store.variables.begin_set("d")
    vault.ensure("d", [PASSWORD], set_id=chosen.id)
    vault.set("/other", "value", "first")
    look = vault.lookup("d", set_id=chosen.id, pin=True)
    old = look("password"), look("/other")
    vault.ensure("d", [Variable("password", "password", {}, "overwrite")])
    vault.set("/other", "value", "second")
    pinned = vault.lookup("d", set_id=chosen.id)
    assert (pinned("password"), pinned("/other")) == old == (old[0], "first")
    assert vault.lookup("d")("/other") == "second"
    assert vault.lookup("d")("password") != old[0]
    assert look.used.keys() == {"/caisson/d/password", "/other"}


def test_names_that_nothing_pinned(vault: Vault, store: Store) -> None:
    vault.set("/late", "value", "x")
    chosen = store.variables.begin_set("d")
    with pytest.raises(errors.NotFoundError, match="Expected variable '/late' to be already versioned in deployment 'd'") as caught:
        vault.lookup("d", set_id=chosen.id)("/late")
    assert caught.value.code == 540008
    for look in (vault.lookup("d"), vault.lookup("d", set_id=chosen.id, pin=True)):
        with pytest.raises(KeyError, match="/caisson/d/none"):
            look("none")


def test_spiff_mark_is_no_part_of_a_name(vault: Vault) -> None:
    vault.ensure("d", [PASSWORD])
    assert vault.lookup("d")("!password") == vault.lookup("d")("/caisson/d/password")


def test_encrypted_at_rest(vault: Vault, store: Store, tmp_path: Path, key_path: Path) -> None:
    vault.ensure("d", [PASSWORD, ROOT, Variable("u", "user", {"username": "visible-name"})])
    content = raw(tmp_path / "caisson.db")
    look = vault.lookup("d")
    for secret in (look("password"), look("root")["private_key"].splitlines()[3], look("u")["password"], "visible-name"):
        assert secret.encode() not in content
    assert key_path.read_bytes() not in content
    assert stat.S_IMODE(key_path.stat().st_mode) == 0o600
    assert len(key_path.read_bytes()) == 32


def test_opened_by_the_next_director_with_the_key_only(vault: Vault, store: Store, key_path: Path, tmp_path: Path) -> None:
    vault.ensure("d", [PASSWORD])
    assert Vault(store, key_path).lookup("d")("password") == vault.lookup("d")("password")
    with pytest.raises(errors.CaissonError, match=r"The encryption key .* is missing"):
        Vault(store, tmp_path / "none.key")
    (tmp_path / "other.key").write_bytes(b"x" * 32)
    with pytest.raises(errors.CaissonError, match="cannot be decrypted"):
        Vault(store, tmp_path / "other.key")
    (tmp_path / "short.key").write_bytes(b"x")
    with pytest.raises(errors.CaissonError, match="no encryption key"):
        Vault(store, tmp_path / "short.key")


def test_rows_cannot_be_exchanged(vault: Vault, store: Store, tmp_path: Path, key_path: Path) -> None:
    """Someone who can write to the database cannot pass one secret off as another."""
    vault.ensure("d", [PASSWORD, Variable("other", "password")])
    connection = sqlite3.connect(tmp_path / "caisson.db")
    connection.execute("UPDATE variables SET sealed = (SELECT sealed FROM variables WHERE name LIKE '%/other')")
    connection.commit()
    connection.close()
    with pytest.raises(errors.CaissonError, match="cannot be decrypted"):
        Vault(store, key_path).lookup("d")("password")


def test_sealed_for_other_tables(vault: Vault) -> None:
    content: dict[str, Any] = {"cloud_properties": {"key": "s3cret"}, "n": [1, None]}
    assert vault.unseal(vault.seal(content)) == content
    assert vault.seal(content) != vault.seal(content)
    with pytest.raises(errors.CaissonError):
        vault.unseal(vault.seal(content)[:-8] + "AAAAAAA=")


def test_secrets_are_told_for_redaction_and_public_parts_are_not(store: Store, key_path: Path) -> None:
    told: list[str] = []
    vault = Vault(store, key_path, on_secret=told.append)
    vault.ensure("d", [PASSWORD, ROOT, Variable("u", "user", {"username": "admin"}), Variable("s", "ssh")])
    vault.set("/j", "json", {"a": ["deep-secret"]})
    look = vault.lookup("d")
    assert {look("password"), look("root")["private_key"], look("u")["password"], look("s")["private_key"], "deep-secret"} <= set(told)
    assert not {"admin", look("root")["certificate"], look("s")["public_key"]} & set(told)
    later: list[str] = []
    Vault(store, key_path, on_secret=later.append).lookup("d")("password")
    assert later == [look("password")], "also those of an earlier director, as soon as they are opened"


def test_nothing_secret_in_reprs(vault: Vault) -> None:
    report = vault.ensure("d", [PASSWORD])
    look = vault.lookup("d")
    secret = look("password")
    for thing in (vault, look, report, vault.preview("d", [PASSWORD])):
        assert secret not in repr(thing)
    assert isinstance(look, Lookup)
