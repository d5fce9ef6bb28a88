"""Rotation with overlap: what each step makes, who trusts whom in between, and what cannot be done."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from trust import NOW, accepts, fits

from director import errors
from director.manifest.model import Variable
from director.state import Store
from director.variables import Vault, certificates, keys, rotation

Values = dict[str, dict[str, str]]
ROOT = Variable("root", "certificate", {"is_ca": True, "common_name": "root", "duration": 3650})
MIDDLE = Variable("middle", "certificate", {"ca": "root", "is_ca": True, "common_name": "middle"})
SERVERS = [
    Variable("direct", "certificate", {"ca": "root", "common_name": "direct", "alternative_names": ["direct.internal"]}),
    Variable("deep", "certificate", {
        "ca": "middle", "common_name": "deep", "alternative_names": ["deep.internal"], "extended_key_usage": ["client_auth", "server_auth"],
        "key_length": 3072, "duration": 30}),
]
ALL = [*SERVERS, MIDDLE, ROOT]


class Numbered(keys.Keys):
    """Real keys, another one each time, that are made once for all tests."""

    made: ClassVar[dict[int, list[Any]]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._given = dict.fromkeys((2048, 3072), 0)

    def take(self, length: int) -> Any:
        known, place = self.made.setdefault(length, []), self._given[length]
        self._given[length] += 1
        if place == len(known):
            known.append(super().take(length))
        return known[place]


@pytest.fixture
def source() -> keys.Keys:
    return Numbered()


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """A state with ALL in it."""
    folder = tmp_path_factory.mktemp("deployed")
    with Store(shutil.copy(empty_database, folder / "caisson.db"), clock=lambda: NOW) as store:
        store.deployments.ensure("d")
        Vault(store, folder / "vault.key", clock=lambda: NOW).ensure("d", ALL)
    return folder


@pytest.fixture
def store(tmp_path: Path, deployed: Path) -> Iterator[Store]:
    shutil.copytree(deployed, tmp_path, dirs_exist_ok=True)
    with Store(tmp_path / "caisson.db", clock=lambda: NOW) as opened:
        yield opened


@pytest.fixture
def rotate(vault: Vault, store: Store, source: keys.Keys) -> Callable[..., rotation.Step]:
    def do(name: str, *, undo: bool = False) -> rotation.Step:
        step = rotation.plan_step(vault, store, f"/caisson/d/{name}", undo=undo, user="admin", key_source=source)
        rotation.apply_step(store, step)
        return step

    return do


def values(vault: Vault, *names: str) -> Values:
    look = vault.lookup("d")
    return {name: look(name) for name in names or ("root", "middle", "direct", "deep")}


def trusting(client: Values, server: Values) -> dict[str, bool]:
    """Whether `server`'s leaves are accepted by who trusts what `client` has: by the `ca` of the leaf and by the texts of the root."""
    found = {}
    for leaf in ("direct", "deep"):
        ways = {"ca": client[leaf]["ca"]}
        if leaf == "direct":
            ways |= {"root.certificate": client["root"]["certificate"], "root.ca": client["root"]["ca"]}
        else:
            ways |= {"middle.certificate": client["middle"]["certificate"]}
        found |= {f"{leaf} by {way}": accepts(text, server[leaf]["certificate"], f"{leaf}.internal", NOW) for way, text in ways.items()}
    return found


def steps(vault: Vault, rotate: Callable[..., rotation.Step], name: str = "root", undo: str = "fff") -> list[Values]:
    """The values at each stage; `undo` has a `b` for each step back."""
    found = [values(vault)]
    for way in undo:
        rotate(name, undo=way == "b")
        found.append(values(vault))
    return found


@pytest.mark.parametrize(("name", "way"), [("root", "fb"), ("root", "ffbfff"), ("root", "ffbb"), ("middle", "ffbfff")])
def test_neighbouring_stages_trust_each_other(vault: Vault, rotate: Callable[..., rotation.Step], name: str, way: str) -> None:
    stages = steps(vault, rotate, name, way)
    for one, other in itertools.pairwise(stages):
        for client, server in ((one, one), (one, other), (other, one), (other, other)):
            assert set(trusting(client, server).values()) == {True}
    assert all(fits(value) for stage in stages for value in stage.values())


def test_distant_stages_do_not_get_along(vault: Vault, rotate: Callable[..., rotation.Step]) -> None:
    """What makes waiting necessary: a machine that was left out."""
    before, trusted, signing, over = steps(vault, rotate)
    assert not any(trusting(before, signing).values())
    assert not any(trusting(over, trusted).values())
    assert not any(trusting(over, before).values())


def test_three_steps(vault: Vault, store: Store, rotate: Callable[..., rotation.Step]) -> None:
    before, trusted, signing, over = steps(vault, rotate)
    old, new = before["root"]["certificate"], over["root"]["certificate"]
    assert trusted["root"] == {"ca": old + new, "certificate": old + new, "private_key": before["root"]["private_key"]}
    assert signing["root"] == {"ca": new + old, "certificate": new + old, "private_key": over["root"]["private_key"]}
    assert over["root"]["ca"] == new
    for leaf in ("direct", "deep"):
        assert trusted[leaf]["certificate"] == before[leaf]["certificate"]
        assert signing[leaf]["certificate"] == over[leaf]["certificate"] != before[leaf]["certificate"]
    assert over["deep"]["ca"] == over["middle"]["certificate"] + new
    assert over["middle"]["private_key"] != before["middle"]["private_key"], "whoever holds the old root could have made one like it"
    assert store.rotations.find("/caisson/d/root") is not None


def test_renewed_certificates_are_like_those_before(vault: Vault, rotate: Callable[..., rotation.Step]) -> None:
    before, _, _, over = steps(vault, rotate)
    for name in before:
        old, new = (certificates.request_of(stage[name]["certificate"]) for stage in (before, over))
        assert old == new or name == "deep"
    deep = x509.load_pem_x509_certificate(over["deep"]["certificate"].encode())
    assert (deep.not_valid_after_utc - deep.not_valid_before_utc).days == 30
    usages = deep.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert len(list(usages)) == 2


def test_a_deploy_in_between_keeps_what_the_rotation_made(vault: Vault, rotate: Callable[..., rotation.Step]) -> None:
    for variables in (ALL, [Variable(item.name, item.type, item.options, "converge") for item in ALL]):
        vault.ensure("d", variables)
        for _ in range(3):
            rotate("root")
            assert {entry.outcome for entry in vault.ensure("d", variables).entries} == {"kept"}


@pytest.mark.parametrize("stage", [1, 2])
def test_certificates_made_during_a_rotation_join_it(vault: Vault, rotate: Callable[..., rotation.Step], stage: int) -> None:
    for _ in range(stage):
        rotate("root")
    late = [Variable("late-ca", "certificate", {"ca": "root", "is_ca": True, "common_name": "late"}),
            Variable("late", "certificate", {"ca": "late-ca", "common_name": "x", "alternative_names": ["late.internal"]})]
    vault.ensure("d", [*ALL, *late])
    seen = [values(vault, "late")["late"]]
    if stage == 1:
        assert rotate("root").after == 1, "the CA that joined is first trusted in its new form"
        seen.append(values(vault, "late")["late"])
    else:
        with pytest.raises(errors.ConflictError, match="'/caisson/d/late-ca' was made and signed by the new CA since"):
            rotate("root", undo=True)
    while rotate("root").after != 3:
        seen.append(values(vault, "late")["late"])
    seen.append(values(vault, "late")["late"])
    for one, other in itertools.pairwise(seen):
        assert accepts(one["ca"], other["certificate"], "late.internal", NOW)
        assert accepts(other["ca"], one["certificate"], "late.internal", NOW)
    assert (seen[0]["certificate"] == seen[-1]["certificate"]) == (stage == 2)
    assert len(certificates.split(seen[-1]["ca"])) == 2


@pytest.mark.parametrize("stage", [1, 2])
def test_what_an_older_version_of_the_ca_signed_is_taken_along(
    vault: Vault, store: Store, rotate: Callable[..., rotation.Step], stage: int,
) -> None:
    """A deployment whose CA waits for a stemcell makes a new leaf with the version that it has."""
    (held,) = store.variables.versions("/caisson/d/root")
    pinned = store.variables.begin_set("d")
    store.variables.pin(pinned.id, {"/caisson/d/root": held.id})
    for _ in range(stage):
        rotate("root")
    late = Variable("late", "certificate", {"ca": "root", "common_name": "x", "alternative_names": ["late.internal"]})
    vault.ensure("d", [late, ROOT], keep={"/caisson/d/root": held.id})
    seen = [values(vault, "late")["late"]]
    step = rotate("root")
    assert (step.before, step.after, [fresh.row.name for fresh in step.fresh]) == (stage, stage, ["/caisson/d/late"])
    seen.append(values(vault, "late")["late"])
    while rotate("root").after != 3:
        seen.append(values(vault, "late")["late"])
    seen.append(values(vault, "late")["late"])
    for one, other in itertools.pairwise(seen[1:]):
        assert accepts(one["ca"], other["certificate"], "late.internal", NOW)
        assert accepts(other["ca"], one["certificate"], "late.internal", NOW)
    assert seen[-1]["ca"] == values(vault, "root")["root"]["ca"]


def test_undone_is_as_before(vault: Vault, store: Store, rotate: Callable[..., rotation.Step]) -> None:
    stages = steps(vault, rotate, undo="fb")
    assert stages[-1] == stages[0]
    assert store.rotations.all() == []
    stages = steps(vault, rotate, undo="ffbb")
    assert stages[-1]["root"] == stages[0]["root"]
    assert stages[-1]["direct"]["ca"] == stages[0]["direct"]["ca"]


def test_a_second_rotation_begins_where_the_first_ended(vault: Vault, store: Store, rotate: Callable[..., rotation.Step]) -> None:
    first = steps(vault, rotate)
    second = steps(vault, rotate)
    assert first[-1] == second[0]
    assert first[0]["root"]["certificate"] not in second[1]["root"]["certificate"]
    row = store.rotations.find("/caisson/d/root")
    assert row is not None
    assert row.stage == 3


def test_a_ca_that_was_made_anew_begins_again(vault: Vault, rotate: Callable[..., rotation.Step]) -> None:
    rotate("root")
    vault.ensure("d", [Variable("root", "certificate", {"is_ca": True, "common_name": "other"}, "converge"), *ALL[:-1]])
    step = rotate("root")
    assert (step.before, step.after) == (0, 1)


def test_self_signed_leaves_overlap_too(vault: Vault, rotate: Callable[..., rotation.Step]) -> None:
    vault.ensure("d", [Variable("own", "certificate", {"self_sign": True, "common_name": "own", "alternative_names": ["own.internal"]})])
    seen = [values(vault, "own")["own"]]
    for _ in range(3):
        rotate("own")
        seen.append(values(vault, "own")["own"])
    assert seen[0]["certificate"] != seen[3]["certificate"]
    for one, other in itertools.pairwise(seen):
        assert x509.load_pem_x509_certificate(one["certificate"].encode()) in x509.load_pem_x509_certificates(other["ca"].encode())
        assert x509.load_pem_x509_certificate(other["certificate"].encode()) in x509.load_pem_x509_certificates(one["ca"].encode())
    assert all(fits(value) for value in seen)


def test_only_one_rotation_in_a_family(vault: Vault, rotate: Callable[..., rotation.Step]) -> None:
    rotate("root")
    with pytest.raises(errors.ConflictError, match="takes part in the rotation of '/caisson/d/root', which is at stage 1 of 3"):
        rotate("middle")
    rotate("root", undo=True)
    rotate("middle")
    with pytest.raises(errors.ConflictError, match="takes part in the rotation of '/caisson/d/middle'"):
        rotate("root")


@pytest.mark.parametrize(("variable", "differs"), [
    (Variable("x", "password", {"length": 12, "exclude_upper": True}), lambda old, new: len(new) == 12 and new == new.lower()),
    (Variable("x", "user", {"username": "me"}), lambda old, new: new["username"] == "me" and new["password"] != old["password"]),
    (Variable("x", "rsa", {"key_length": 2048}), lambda old, new: new["public_key"] != old["public_key"]),
    (Variable("x", "ssh", {"ssh_comment": "me@here"}), lambda old, new: new["public_key"].endswith(" me@here")),
])
def test_what_nobody_trusts_is_renewed_at_once(
    vault: Vault, store: Store, rotate: Callable[..., rotation.Step], variable: Variable, differs: Callable[[Any, Any], bool],
) -> None:
    vault.ensure("d", [variable])
    old = vault.lookup("d")("x")
    step = rotate("x")
    new = vault.lookup("d")("x")
    assert new != old
    assert differs(old, new)
    assert [item.what for item in step.fresh] == ["new value"]
    assert vault.ensure("d", [variable]).entries[0].outcome == "kept"
    assert store.rotations.all() == []
    with pytest.raises(errors.ConflictError, match="there is none to undo"):
        rotate("x", undo=True)


def test_a_leaf_is_signed_anew_at_once(vault: Vault, rotate: Callable[..., rotation.Step]) -> None:
    before = values(vault)
    rotate("deep")
    after = values(vault)
    assert {name for name in before if before[name] != after[name]} == {"deep"}
    assert after["deep"]["ca"] == before["deep"]["ca"]
    assert accepts(before["deep"]["ca"], after["deep"]["certificate"], "deep.internal", NOW)


def test_what_cannot_be_rotated(vault: Vault, rotate: Callable[..., rotation.Step]) -> None:
    vault.set("/caisson/d/given", "value", "x")
    vault.set("/caisson/d/imported", "password", "x")
    for name, problem, hint in (
        ("rot", "There is no variable '/caisson/d/rot'", "Did you mean '/caisson/d/root'?"),
        ("given", "was not made here", "where it came from"),
        ("imported", "not known with which options", "update_mode: overwrite"),
    ):
        with pytest.raises(errors.CaissonError, match=problem) as caught:
            rotate(name)
        assert hint in caught.value.diagnostics[0].suggestion
    for _ in range(2):
        with pytest.raises(errors.ConflictError, match="nothing to undo"):
            rotate("root", undo=True)
        for _ in range(3):
            rotate("root")


def test_a_leaf_whose_ca_is_not_here(vault: Vault, store: Store, rotate: Callable[..., rotation.Step]) -> None:
    for source, name in (("direct", "leaf"), ("middle", "authority")):
        vault.set(f"/caisson/d/{name}", "certificate", values(vault)[source])
        with pytest.raises(errors.ConflictError, match=f"'/caisson/d/{name}' was signed by a CA that this director does not hold"):
            rotate(name)


def test_keys_of_a_rotation_are_encrypted_and_gone_at_its_end(vault: Vault, store: Store, rotate: Callable[..., rotation.Step]) -> None:
    for stage in (1, 2, 3):
        step = rotate("root")
        row = store.rotations.find("/caisson/d/root")
        assert row is not None
        assert b"PRIVATE" not in row.sealed
        assert ("PRIVATE" in str(vault.unseal(row.sealed.decode()))) == (stage < 3)
        assert "PRIVATE" not in repr(step) + repr(row)


def test_planning_writes_nothing(vault: Vault, store: Store) -> None:
    before = store.variables.all()
    step = rotation.plan_step(vault, store, "/caisson/d/root", key_source=keys.SameKeys())
    assert [item.row.name for item in step.fresh] == [f"/caisson/d/{name}" for name in ("root", "direct", "middle", "deep")]
    assert store.variables.all() == before
    assert store.rotations.all() == []
