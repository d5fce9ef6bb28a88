"""`caisson int` gives the reference's recorded answers, reads files as they come, and keeps what it generates."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import pathlib
import stat
import time
from typing import Any, ClassVar

import pytest
import yaml
from cli_world import Cli
from cryptography import x509

from director.manifest.dump import dump
from director.variables import generate, keys

CORPUS = pathlib.Path(__file__).parents[2].parent / "shared/corpus"
RECORDED = CORPUS / "expected/interpolate.json"
ROWS: list[dict[str, Any]] = json.loads(RECORDED.read_text()) if RECORDED.exists() else []


class Loader(yaml.CSafeLoader):
    """A reader that is not ours; timestamps stay texts, as for the recorded digests."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
        for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def read(text: str) -> Any:
    return yaml.load(text, Loader=Loader)


@pytest.mark.walk
@pytest.mark.skipif(not ROWS, reason="the corpus is not at ../shared/corpus")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row["args"]) or "none")
def test_a_recorded_answer(offline: Cli, monkeypatch: pytest.MonkeyPatch, row: dict[str, Any]) -> None:
    monkeypatch.chdir(CORPUS / "cf-deployment")
    result = offline("int", "cf-deployment.yml", *row["args"])
    if row["ok"]:
        assert result.code == 0, result.err
        canonical = json.dumps(read(result.out), sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(canonical.encode()).hexdigest() == row["sha256_of_canonical_json"]
        return
    assert (result.code, result.out) == (1, "")
    told, recorded = result.err, row["error"][0]
    if recorded.startswith("Error '"):
        assert recorded in told
    elif "Unknown operation" in recorded:
        assert "Unknown operation [0] with type ''" in told
        assert "iaas-support/openstack/flavors.yml:2" in told
    else:
        assert "Getting all variables from variable definitions sections: Interpolating variable 'network_policy_server_external'" in told
        assert "Invalid type '[]interface {}' for variable 'system_domain'" in told
        assert "cf-deployment.yml:" in told


def test_all_sources_and_flags_together(offline: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows 31 to 34 of the manifest contract's section 22, through the flags."""
    text = "a: ((a))\nb: ((b))\nc: ((c))\nd: ((d))\ne: ((e.f.0))\ng: x-(( a ))-((a))\nvariables:\n- {name: p, type: password}\n"
    manifest = offline.file("m.yml", text)
    vars_file = offline.file("v.yml", "a: 1\nb: 1\nc: 1\n")
    more = offline.file("w.yml", "c: 2\n")
    raw = offline.file("raw.txt", "two\nlines\n")
    store = offline.file("s.yml", "a: 9\nd: 9\n")
    monkeypatch.setenv("T_a", "0")
    monkeypatch.setenv("T_d", "[from, env]")
    result = offline.ok(
        "int", manifest, "--vars-env", "T", "-l", vars_file, "--vars-file", more, "--var-file", f"b={raw}", "-v", "a=01", "--var=e.f=[z]",
        "--vars-store", store, "--var-errs",
    )  # fmt: skip
    assert read(result.out) == {
        "a": 1, "b": "two\nlines\n", "c": 2, "d": ["from", "env"], "e": "z", "g": "x-(( a ))-1", "variables": [],
    }  # fmt: skip
    assert len(read(pathlib.Path(store).read_text())["p"]) == 20
    unused = offline("int", manifest, "-v", "z=1", "--var-errs", "--var-errs-unused")
    assert unused.code == 1
    for told in (f"  a ({manifest}:1 a)", f"  e ({manifest}:5 e)", "Expected to use variables:\n  z"):
        assert told in unused.err


def test_standard_input_and_paths(offline: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\ufeffa: {b: [1, \"é\\n\"]}\r\n# c\r\n".encode())))
    assert offline.ok("int", "-", "--path", "/a/b/1").out == "é\n\n"
    path = offline.file("m.yml", "a: {b: [1, x]}\n")
    assert offline.ok("int", path, "--path", "/a/b").out == "- 1\n- x\n"
    assert offline.ok("int", path, "--path", "/a/b/0").out == "1\n"
    assert offline.ok("int", path, "--path", "/a/b/1", "--json").json["Blocks"] == ["x\n"]
    missing = offline("int", path, "--path", "/a/c")
    assert "Expected to find a map key 'c' for path '/a/c' (found map keys: 'b')" in missing.err


def test_texts_in_other_encodings(offline: Cli) -> None:
    path = pathlib.Path(offline.file("m.yml", ""))
    path.write_bytes("a: ü\n".encode("utf-16"))
    assert offline.ok("int", str(path)).out == "a: ü\n"
    path.write_bytes(b"a: \xff\n")
    assert "cannot be read: it is not UTF-8" in offline("int", str(path)).err


def test_files_that_stand_for_links(offline: Cli) -> None:
    """Git without symbolic links writes their targets into plain files."""
    manifest = offline.file("m.yml", "a: 1\n")
    (offline.folder / "sub").mkdir()
    offline.file("ops.yml", "- {type: replace, path: /a, value: 2}\n")
    assert offline.ok("int", manifest, "-o", offline.file("sub/ops.yml", "../ops.yml")).out == "a: 2\n"
    circle = offline.file("circle.yml", "circle.yml")
    assert "to be a list of operations" in offline("int", manifest, "-o", circle).err
    assert "to be a list of operations" in offline("int", manifest, "-o", offline.file("none.yml", "absent.yml")).err


def test_errors_of_all_files_are_told_at_once(offline: Cli) -> None:
    manifest = offline.file("m.yml", "a: 1\n")
    bad = offline.file("bad.yml", "- {type: remov, path: /a}\n")
    values = offline.file("values.yml", "- 1\n")
    result = offline("int", manifest, "-o", bad, "-o", "/absent.yml", "-l", values, "-v", "x", "--var-file", "y=/absent.txt")
    for told in ("Did you mean 'remove'?", "'/absent.yml' cannot", "to be a map of names to values", "format 'name=value'", "/absent.txt"):
        assert told in result.err


def test_operations_that_fail_half_way_write_nothing(offline: Cli) -> None:
    manifest = offline.file("m.yml", "a: 1\nvariables: [{name: p, type: password}]\n")
    ops = offline.file("o.yml", "- {type: replace, path: /b?, value: 1}\n\n- {type: remove, path: /c}\n")
    result = offline("int", manifest, "-o", ops, "--vars-store", str(offline.folder / "store.yml"))
    assert (result.code, result.out) == (1, "")
    assert f"Error 'operation [1] in {ops} failed': Expected to find a map key 'c' for path '/c'" in result.err
    assert f"({ops}:3 [1])" in result.err
    assert not (offline.folder / "store.yml").exists()


STORE_MANIFEST = """variables:
- {name: leaf, type: certificate, options: {ca: root, common_name: ((name)), alternative_names: [a], extended_key_usage: [client_auth]}}
- {name: root, type: certificate, options: {is_ca: true, common_name: root, duration: 0, key_length: 2048, alternative_names: [z]}}
- {name: short, type: password, options: {length: 1.5}}
- {name: usual, type: password, options: {length: 0}}
- {name: key, type: rsa, options: {key_length: 4096, odd: 1}}
- {name: login, type: ssh, options: {odd: 1}}
"""


def test_a_store_makes_all_types(offline: Cli) -> None:
    store = offline.folder / "new/store.yml"
    result = offline.ok("int", offline.file("m.yml", STORE_MANIFEST), "-v", "name=leaf", "--vars-store", str(store))
    assert result.out == "variables: []\n"
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert [item.name for item in store.parent.iterdir()] == ["store.yml"]
    made = read(store.read_text())
    assert (len(made["short"]), len(made["usual"])) == (1, 20)
    assert set(made["key"]) == {"private_key", "public_key"}
    assert set(made["login"]) == {"private_key", "public_key", "public_key_fingerprint"}
    assert made["leaf"]["ca"] == made["root"]["certificate"] == made["root"]["ca"]
    leaf, root = (x509.load_pem_x509_certificate(made[name]["certificate"].encode()) for name in ("leaf", "root"))
    assert leaf.issuer == root.subject
    assert "-----BEGIN RSA PRIVATE KEY-----" in made["leaf"]["private_key"]
    # A second time nothing is made.
    before = store.read_bytes()
    offline.ok("int", str(offline.folder / "m.yml"), "-v", "name=other", "--vars-store", str(store))
    assert store.read_bytes() == before


def test_a_given_authority_signs(offline: Cli) -> None:
    store = offline.folder / "root.yml"
    root = offline.file("r.yml", "variables: [{name: root, type: certificate, options: {is_ca: true, common_name: r, key_length: 2048}}]\n")
    offline.ok("int", root, "--vars-store", str(store))
    text = "variables: [{name: l, type: certificate, options: {ca: root, common_name: l, key_length: 2048}}]\na: ((l.ca))\n"
    leaf = offline.file("l.yml", text)
    result = offline.ok("int", leaf, "-l", str(store), "--vars-store", str(offline.folder / "other.yml"))
    assert read(result.out)["a"] == read(store.read_text())["root"]["certificate"]
    assert list(read((offline.folder / "other.yml").read_text())) == ["l"]


@functools.cache
def store_with_a_leaf() -> str:
    sources = generate.Sources(keys.Keys(), lambda _name: None, time.time)
    return dump({"leaf": generate.generate("leaf", "certificate", {"self_sign": True, "common_name": "leaf"}, sources)})


@pytest.mark.parametrize(("definition", "told"), [
    ("type: certificate, options: {common_name: x, ca: c, key_usage: [x]}", "Unsupported parameter 'key_usage'"),
    ("type: user", "Unsupported value type: user"), ("type: certificate, options: {common_name: x}", "Missing required CA name"),
    ("type: certificate, options: {ca: none}", "Expected to find variable 'none' with a certificate"),
    ("type: certificate, options: {ca: leaf}", "'leaf' cannot sign: it is no certificate authority"),
    ("type: certificate, options: {is_ca: true, key_length: 1024}", "Invalid key_length: 1024.  Must be one of: [2048 3072 4096]"),
    ("type: certificate, options: {is_ca: true, duration: 100000000}", "'duration' must be between 1 and"),
    ("type: certificate, options: {is_ca: true, duration: 1e300}", "'duration' must be between 1 and"),
    ("type: certificate, options: {is_ca: true, common_name: []}", "'common_name' must be a String"),
    ("type: certificate, options: {ca: leaf, extended_key_usage: [any]}", "Unsupported extended key usage value: any"),
    ("type: password, options: {length: -1}", "'length' must be between 1 and"),
    ("type: password, options: {length: 999999999999}", "'length' must be between 1 and"),
    ("type: password, options: {length: .nan}", "'length' must be an Integer"), ("type: [password]", "Unsupported value type"),
    ("type: password, options: {include_special: true}", "Unsupported parameter 'include_special'"),
    ("type: password, options: x", "is not a Hash"),
])  # fmt: skip
def test_what_cannot_be_made_is_told_and_earlier_values_stay(offline: Cli, definition: str, told: str) -> None:
    store = offline.file("store.yml", store_with_a_leaf())
    manifest = offline.file("m.yml", f"variables:\n- {{name: first, type: password}}\n- {{name: bad, {definition}}}\n")
    result = offline("int", manifest, "--vars-store", store)
    assert (result.code, result.out) == (1, "")
    assert told in result.err
    assert f"{manifest}:3" in result.err
    assert len(read(pathlib.Path(store).read_text())["first"]) == 20


def test_what_a_store_holds_and_nobody_uses_is_told(offline: Cli) -> None:
    manifest = offline.file("m.yml", "variables: [{name: p, type: password}]\nq: ((q))\n")
    store = offline.file("store.yml", "q: 1\nold: 2\n")
    offline.ok("int", manifest, "--vars-store", store, "--var-errs")
    result = offline("int", manifest, "--vars-store", store, "--var-errs-unused")
    assert result.code == 1
    assert "Expected to use variables:\n  old\n" in result.err


def test_stores_that_cannot_be_used(offline: Cli) -> None:
    manifest = offline.file("m.yml", "variables: [{name: p, type: password}]\n")
    assert "to be a map of names to values" in offline("int", manifest, "--vars-store", offline.file("list.yml", "- 1\n")).err
    assert "cannot be read: Is a directory" in offline("int", manifest, "--vars-store", str(offline.folder)).err
    blocked = offline.file("file", "x")
    assert "cannot be" in offline("int", manifest, "--vars-store", f"{blocked}/store.yml").err


def test_a_linked_store_stays_a_link(offline: Cli) -> None:
    store = pathlib.Path(offline.file("real.yml", "q: 1\n"))
    link = offline.folder / "link.yml"
    link.symlink_to(store)
    offline.ok("int", offline.file("m.yml", "variables: [{name: p, type: password}]\n"), "--vars-store", str(link))
    assert link.is_symlink()
    assert set(read(store.read_text())) == {"p", "q"}
