"""`python -m tests.docs.cloud_rows`: writes docs/clouds/rows.md, what is easy to get wrong on clouds and the tests of each row by cloud."""

from __future__ import annotations

from tests.docs.proofs import ROOT, as_pytest_names, rows

PAGE = ROOT / "docs/clouds/rows.md"
CLOUDS = {"aws": "AWS", "azure": "Azure", "gcp": "GCP", "openstack": "OpenStack", "vsphere": "vSphere"}
# Proofs below these are run against each cloud: cases of the suite by tests/cpis/*/test_*_conformance.py, the fault suite by
# tests/cpis/test_clouds_faults.py; and what all clouds' CPIs stand on is tested once.
SHARED = ("cpis/conformance/", "tests/cpis/cloud/", "tests/cpis/wire/", "tests/cpis/test_")
HEAD = """# Clouds, row by row

The tables "Easy to get wrong" of the CPI contract and of the stand-ins' reference, and what proves each row on each cloud. Made of
`tests/rows.yml` by `python -m tests.docs.cloud_rows`; a test sees that it is up to date, that each proof exists, and that no cloud is
without a proof or a reason. What is under *every cloud* is a case of the conformance suite, which runs against the stand-in of each, or
code that all of them stand on.

"""
CASES = {
    1: "properties of a CPI config entry win over the executable's own file, and are in no log",
    2: "no `api_version`: answers of version 1",
    3: "`create_vm` fails after the machine is there: all is deleted; when that fails, too, both errors are told",
    4: "killed between the request and its answer: the next run finds the machine, and there is one",
    5: "a creation without a token times out, and its machine appears later: no second one",
    6: "`has_vm` while the cloud is out of order: an error, not no",
    7: "`delete_vm` of an unknown CID is done",
    8: "a machine is deleted with a persistent disk on it: the disk stays",
    9: "`delete_disk` of an attached disk: an error that names the machine",
    10: "`detach_disk` of what is attached elsewhere: left alone",
    11: "`attach_disk` again: the same hint, one attachment",
    12: "1,025 MiB are 2 GiB, and growing to 2,048 MiB is nothing",
    13: "a smaller size is `NotSupported`",
    14: "`update_disk` ends in its middle: data neither lost nor doubled",
    15: "metadata that a cloud does not take is cut, cleaned, dropped",
    16: "more metadata than a cloud takes: BOSH's own keys stay",
    17: "several networks: the default route is where `default: [gateway]` says",
    18: "`vip` networks alone are refused",
    19: "security groups: of the machine type, else of all networks, else the default",
    20: "no public address that nobody asked for",
    21: "an address of a machine just deleted is waited for",
    22: "refused for the rate for ten minutes: late, not failed",
    23: "`Retry-After` as seconds, as a date, as 0, absent",
    24: "a token that ends meanwhile: one silent login",
    25: "what is on a list's second page is found",
    26: "user data beyond the limit: refused before any request",
    27: "secrets are in no log and no error",
    28: "an upload that breaks off leaves nothing",
    29: "one stemcell uploaded twice at once",
    30: "names that match nothing, or two: the error lists what there is",
    31: "a disk of another zone: refused before anything is made",
    32: "no machine is large enough, or nothing is asked for: the error says so",
    33: "a machine that fails while it is waited for: ends at once, with the cloud's reason, deleted",
    34: "metadata that another changes meanwhile survives",
    35: "two disks attached at the same time are both attached",
    36: "a page for people, or half an answer, instead of an answer",
    37: "the session has ended: a new login, and the call succeeds",
    38: "`info` without credentials and network",
}
REASONS: dict[int, dict[str, str]] = {
    5: dict.fromkeys(("aws", "azure", "gcp", "vsphere"), "creations have a token or a name that is unique: row 4"),
    14: dict.fromkeys(("aws", "azure", "openstack", "vsphere"), "the disk is changed in place or not at all; no copy is made"),
    19: {"vsphere": "has no security groups"},
    20: {"aws": "the subnet's own setting decides", **dict.fromkeys(("azure", "openstack", "vsphere"), "gives none by itself")},
    22: {"vsphere": "queues, and refuses nobody for a rate"},
    30: dict.fromkeys(("aws", "azure", "gcp"), "machine types and places are the cloud's own words, which it refuses itself"),
    34: dict.fromkeys(("aws", "azure", "openstack", "vsphere"), "has no fingerprint of metadata that could be stale"),
    37: dict.fromkeys(("aws", "azure", "gcp", "openstack"), "has no sessions; for tokens see row 24"),
}
STAND_INS = {
    1: "a stand-in that ignores tokens proves nothing of them",
    2: "object stores behind a stand-in's front keep their lengths",
    3: "recorded answers prove how they are read, not how a cloud behaves",
    4: "two suites at once have ports of their own",
    5: "nothing is left running",
    6: "services begin on databases that none has run on",
    7: "the scheduler begins after the catalog",
    8: "each connection to the web services is closed",
    9: "`*` for the host of an upload is the vCenter, and nothing else is",
    10: "TLS is tested where it is verified",
    11: "waits in tests cost nothing",
    12: "the proxy of faults passes a request once",
}


def text() -> str:
    """The page."""
    lines = ["## CPIs", "", "| Row | Case | Tests |", "|---|---|---|"]
    lines += [f"| {number} | {CASES[number]} | {_by_cloud(number, proofs)} |" for number, proofs in rows("cpi").items()]
    lines += ["", "## Stand-ins", "", "| Row | Case | Tests |", "|---|---|---|"]
    lines += [
        f"| {number} | {STAND_INS[number]} | {'<br>'.join(map(_shown, proofs))} |" for number, proofs in rows("cloud-emulators").items()]
    return HEAD + "\n".join(lines) + "\n"


def gaps() -> list[str]:
    """Clouds of rows that have neither a proof nor a reason, and reasons where there is a proof."""
    found = []
    for number, proofs in rows("cpi").items():
        every = any(proof.startswith(SHARED) for proof in proofs)
        for cloud in CLOUDS:
            own = any(proof.startswith(f"tests/cpis/{cloud}/") for proof in proofs)
            excused = cloud in REASONS.get(number, {})
            if not (every or own or excused):
                found.append(f"row {number}: nothing proves it on {cloud}")
            elif own and excused:
                found.append(f"row {number}: proved on {cloud}, and yet there is a reason why not")
    return found


def _by_cloud(number: int, proofs: list[str]) -> str:
    parts = [f"every cloud: {', '.join(_shown(proof) for proof in proofs if proof.startswith(SHARED))}"]
    parts += [
        f"{name}: {', '.join(_shown(proof) for proof in proofs if proof.startswith(f'tests/cpis/{cloud}/'))}"
        for cloud, name in CLOUDS.items()]
    reasons: dict[str, list[str]] = {}
    for cloud, reason in REASONS.get(number, {}).items():
        reasons.setdefault(reason, []).append(CLOUDS[cloud])
    told = [part for part in parts if not part.endswith(": ")]
    return "<br>".join([*told, *(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())])


def _shown(proof: str) -> str:
    path, _, name = proof.partition(": ")
    if name.startswith("def "):
        return f"`{path}`, `{name.removeprefix('def ').rstrip('(')}`"
    return f"`{as_pytest_names(proof)}`" if name.startswith("test_") else f"`{path}`"


if __name__ == "__main__":
    PAGE.write_text(text())
