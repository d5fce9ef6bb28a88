"""Which form of a package machines get: compiled for them, brought along by a release, or made for a near stemcell.

Source: release contract, sections 9 and 10; rows 3 and 10 to 13 of its section 21.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from worlds import cloud, designed, group, job, m, package, r, ref, release, request, subnet

from director.errors import PlanError
from director.plan.model import Request
from director.plan.packages import ReleasePackages, compilations

PACKAGES = (package("app", "golang", "zlib"), package("golang", "gcc"), package("gcc"), package("zlib"), package("unused"))


def compiled(stemcell: str, name: str = "app", *dependencies: str) -> r.CompiledPackageSpec:
    return r.CompiledPackageSpec(name, f"{name}-1", f"{name}-1", f"digest-{stemcell}", stemcell, dependencies, f"blob-{stemcell}")


def wish(*stemcells: str, packages: tuple[r.PackageSpec, ...] = (), forms: tuple[r.CompiledPackageSpec, ...] = (),
         exported_from: tuple[str, ...] = ()) -> Request:
    """A group with the job `app` on each stemcell (`OS/VERSION`)."""
    listed = tuple(dict(zip(("os", "version"), item.split("/"), strict=True)) for item in exported_from)
    slugs = [item.split("/") for item in stemcells]
    made = request(
        *(group(f"g{number}", stemcell=f"s{number}") for number in range(len(stemcells))),
        releases=(release(job("app", packages=("app",)), packages=packages, compiled_packages=forms),),
        refs=(m.ReleaseRef("rel", "1", exported_from=listed),),
        stemcells=tuple(r.Stemcell(os, version, os, "image") for os, version in slugs))
    refs = tuple(m.StemcellRef(f"s{number}", version, os=os) for number, (os, version) in enumerate(slugs))
    return dataclasses.replace(made, manifest=dataclasses.replace(made.manifest, stemcells=refs))


def needs(made: Request, known: tuple[str, ...] = ()) -> list[str]:
    """What is compiled."""
    return [item.package for item in compilations(designed(made), known)]


def in_use(made: Request) -> list[str]:
    """The compiled form that each group's machines get of `app`."""
    packages = ReleasePackages(made.releases[0])
    names = {packages.key("app", f"debian/1.{number}"): f"debian/1.{number}" for number in range(20)}
    return [names[item.spec.packages[0].key] for item in designed(made).instances]


def refusal(made: Request) -> Any:
    with pytest.raises(PlanError) as caught:
        designed(made)
    return caught.value


def test_what_is_needed_is_compiled_dependencies_first() -> None:
    made = release(job("app", packages=("app",)), packages=PACKAGES)
    blueprint = designed(request(group("a"), group("b"), releases=(made,)))
    todo = compilations(blueprint, ())
    assert [item.package for item in todo] == ["gcc", "golang", "zlib", "app"]
    keys = {item.key: item.package for item in todo}
    assert [keys[key] for key in todo[-1].after] == ["golang", "zlib"]
    assert [item.name for item in blueprint.instances[0].spec.packages] == ["app"]
    assert blueprint.instances[0].spec.packages[0].key == todo[-1].key
    assert [item.package for item in compilations(blueprint, {todo[0].key, todo[1].key})] == ["zlib", "app"]


def test_a_changed_dependency_compiles_what_depends_on_it_again() -> None:
    """Row 3: with its own fingerprint unchanged."""
    def keys(gcc: str) -> dict[str, str]:
        made = wish("debian/1.1", packages=(*PACKAGES[:2], package("gcc", version=gcc), *PACKAGES[3:]))
        return {item.package: item.key for item in compilations(designed(made), ())}

    old, new = keys("gcc-1"), keys("gcc-2")
    assert {name for name in old if old[name] != new[name]} == {"gcc", "golang", "app"}


@pytest.mark.parametrize(("forms", "stemcell", "used"), [
    (("debian/1.1",), "debian/1.1", "debian/1.1"),
    (("debian/1.5",), "debian/1.9", "debian/1.5"),
    (("debian/1.9",), "debian/1.5", "debian/1.9"),
    (("debian/1.2", "debian/1.10"), "debian/1.11", "debian/1.10"),
    (("debian/1.2", "debian/1.11", "debian/1.12"), "debian/1.11", "debian/1.11"),
])
def test_without_source_a_near_form_will_do(forms: tuple[str, ...], stemcell: str, used: str) -> None:
    """Rows 10 and 11."""
    made = wish(stemcell, forms=tuple(map(compiled, forms)))
    assert needs(made) == []
    assert in_use(made) == [used]


@pytest.mark.parametrize("stemcell", ["debian/2.0", "ubuntu/1.5", "debian/11.5"])
def test_without_source_another_line_will_not_do(stemcell: str) -> None:
    """Row 10."""
    error = refusal(wish(stemcell, forms=(compiled("debian/1.5"),)))
    assert error.code == 60001
    assert error.message == (
        "\nCan't use release 'rel/1'. It references packages without source code and are not compiled against "
        f"stemcell '{stemcell}':\n - 'app/app-1'")
    assert "compiled for debian/1.5" in error.diagnostics[0].suggestion


def test_without_source_each_group_is_asked_for_its_own_stemcell() -> None:
    error = refusal(wish("debian/1.9", "debian/2.0", "ubuntu/1.5", forms=(compiled("debian/1.5"),)))
    assert error.message.splitlines()[1:] == [
        "Can't use release 'rel/1'. It references packages without source code and are not compiled against intended stemcells:",
        " - 'app/app-1' against stemcell 'debian/2.0'", " - 'app/app-1' against stemcell 'ubuntu/1.5'"]
    one, two = job("app", packages=("app",)), job("two", packages=("two",))
    mixed = wish("debian/1.5", "ubuntu/1.5")
    made = release(one, two, compiled_packages=(compiled("debian/1.5"), compiled("ubuntu/1.5", "two")))
    first, second = mixed.manifest.instance_groups
    groups = (first, dataclasses.replace(second, jobs=(ref("two"),)))
    mixed = dataclasses.replace(mixed, releases=(made,), manifest=dataclasses.replace(mixed.manifest, instance_groups=groups))
    assert needs(mixed) == [], "app is not asked for on ubuntu, nor two on debian"


def test_a_source_is_compiled_rather_than_a_near_form_taken() -> None:
    """Row 10, its end."""
    app = (package("app"),)
    assert needs(wish("debian/1.9", packages=app, forms=(compiled("debian/1.5"),))) == ["app"]
    assert needs(wish("debian/1.5", packages=app, forms=(compiled("debian/1.5"),))) == []


def test_what_a_compiled_package_depends_on_is_looked_up_too() -> None:
    """The closure: a dependency without source and form is told, although `app` itself is there."""
    forms = (compiled("debian/1.5", "app", "lib"), compiled("debian/2.0", "lib"))
    assert refusal(wish("debian/1.9", forms=forms)).message.endswith("\n - 'lib/lib-1'")


@pytest.mark.parametrize(("forms", "exported_from", "used"), [
    (("debian/1.1",), ("debian/1.1",), "debian/1.1"),
    (("debian/1.1", "debian/1.5"), ("debian/1.5",), "debian/1.5"),
    (("debian/1.5", "debian/1.9"), ("debian/1.5", "ubuntu/1.9"), "debian/1.5"),
])
def test_exported_from_chooses_the_form(forms: tuple[str, ...], exported_from: tuple[str, ...], used: str) -> None:
    """Even where there is a source, and a form for the stemcell itself."""
    made = wish("debian/1.9", packages=(package("app"),), forms=tuple(map(compiled, forms)), exported_from=exported_from)
    assert needs(made) == []
    assert in_use(made) == [used]


def test_exported_from_must_be_there_and_fit() -> None:
    def error(*exported_from: str) -> Any:
        return refusal(wish("debian/1.9", packages=(package("app"),), forms=(compiled("debian/1.9"),), exported_from=exported_from))

    assert (error("debian/1.5").code, error("debian/2.9").code) == (60003, 60004)
    assert error("debian/1.5").message == (
        "Can't use release 'rel/1':\nPackages must be exported from stemcell 'debian/1.5', but some packages are not compiled for this "
        "stemcell:\n - 'app/app-1'")
    assert error("debian/2.9").message == (
        "Can't use release 'rel/1': expected to find stemcell for 'debian/1.9' to be configured in exported_from'")


def test_packages_of_one_name_must_be_the_same_in_a_group() -> None:
    """Row 36."""
    one = release(job("app", packages=("tool",)), packages=(package("tool"),))
    two = release(job("other", release="two", packages=("tool",)), packages=(package("tool", version="x"),), name="two")
    both = group(jobs=(ref(), ref("other", release="two")))
    error = refusal(request(both, releases=(one, two)))
    assert error.code == 80011
    assert "job 'rel/app' depends on package 'rel/tool' with fingerprint 'tool-1', job 'two/other' depends on package 'two/tool'" in (
        error.message)
    apart = request(group("a"), group("b", jobs=(ref("other", release="two"),)), releases=(one, two))
    assert needs(apart) == ["tool", "tool"]


def test_only_packages_of_jobs_in_use_are_there_and_only_theirs() -> None:
    """Row 13: what is only another package's dependency is compiled, and not installed."""
    made = wish("debian/1.1", packages=PACKAGES)
    assert [item.name for item in designed(made).instances[0].spec.packages] == ["app"]
    assert "unused" not in needs(made)


def test_packages_in_a_circle_are_told() -> None:
    assert "circle: app -> zlib -> app" in refusal(wish("debian/1.1", packages=(package("app", "zlib"), package("zlib", "app")))).message


def test_one_job_in_two_groups_has_the_properties_of_each() -> None:
    """Row 37."""
    made = release(job("app", properties=(r.PropertySpec("color", "grey", True),)))
    groups = (group("a", jobs=(ref("app", properties={"color": "red"}),)), group("b", jobs=(ref("app", properties={}),)))
    placed = designed(request(*groups, releases=(made,))).instances
    assert [item.spec.jobs[0].properties for item in placed] == [{"color": "red"}, {"color": "grey"}]


@pytest.mark.parametrize("turned", [False, True])
def test_the_address_is_that_of_the_addressable_network(turned: bool) -> None:
    """Row 35: in whatever order the networks are listed."""
    networks = (m.GroupNetwork("a", default=("dns", "gateway")), m.GroupNetwork("b", default=("addressable",)))
    config = cloud(*(m.NetworkDefinition(name, subnets=(subnet(f"10.{number}.0.0/24"),)) for number, name in enumerate("ab")))
    made = request(group(networks=networks[::-1] if turned else networks), cloud_config=config)
    assert designed(made).instances[0].spec.address == "10.1.0.2"
