"""The models and operations of Azure's libraries against the CPI of Azure and the stand-in."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import judge_azure
import pytest
from azure.profiles import KnownProfiles
from call_sites import unsent
from exchange_recorder import Exchange
from exchange_runs import exchanges, shown

from cpis.azure.settings import Settings

pytestmark = [pytest.mark.walk, pytest.mark.timeout(600)]

_TESTS = [f"tests/cpis/azure/test_azure_{name}.py" for name in ("conformance", "disks", "machines", "stemcells", "settings")]
# Of the suite the cases with requests of their own; of uploads not those that try everything.
_CHOSEN = "not azurite and not every_request and (not keeps_the_contract or snapshot or metadata)"
# What these libraries do not describe: signing in, pages of blobs, and the operations of ARM itself.
_ELSEWHERE = re.compile(r".*/oauth2/token|/metadata/.*|/blob/.*|/subscriptions/[^/]+/providers/[^/]+/locations/[^/]+/operations/[^/]+")
_WRONG = ("another_form", "without_its_id")
# A look or a deletion again, after a fault or an answer that was not whole; the same is sent without one, too.
_AGAIN = re.compile(
    r"cpis/azure/(?:networks\.py:\d+ self\._arm\.(?:get\(path, (?:what|f'public address of)|find\(path, f\"\{kind)"
    r"|vms\.py:\d+ self\._arm\.get\(path, what\)"
    r"|disks\.py:\d+ self\._arm\.delete\((?:path, what|self\.path\(ref\), f'disk )).*")
# Lists are asked for where they are read, and not where it is said: see `call_sites`.
_LISTS = {
    "list_for_resource_group", "public_ip_addresses_list", "resource_skus_list", "resources_list", "snapshots_list_by_resource_group",
    "usage_list"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Exchange]:
    return exchanges("azure", tmp_path_factory.mktemp("azure"), *_TESTS, "-k", _CHOSEN)


def _elsewhere(exchange: Exchange) -> bool:
    return _ELSEWHERE.fullmatch(urlsplit(exchange.url).path) is not None


def test_azure_knows_what_is_sent_and_answered(found: list[Exchange]) -> None:
    complaints, operations = dict[str, Exchange](), set[str]()
    for exchange in found:
        if any(name in exchange.test for name in _WRONG) or _elsewhere(exchange):
            continue
        operations.add(judge_azure.named(exchange.method, exchange.url))
        # The address of a further page is Azure's own.
        if "skiptoken" not in exchange.url:
            complaints |= dict.fromkeys(judge_azure.request(exchange.method, exchange.url, exchange.body), exchange)
        if 200 <= exchange.status < 300:
            complaints |= dict.fromkeys(judge_azure.answer(exchange.method, exchange.url, exchange.status, exchange.answer), exchange)
    assert not complaints, shown(complaints)
    left = [call for call in unsent("azure", (site for exchange in found for site in exchange.sites)) if not _AGAIN.fullmatch(call)]
    assert not left, "no test sends:\n" + "\n".join(left)
    assert operations >= _LISTS


# An Azure Stack Hub, which is some years behind

_STACK = Settings.read({
    "environment": "AzureStack", "azure_stack": {"domain": "d"}, "subscription_id": "s", "resource_group_name": "g"}, environ={})
# What it has not, and so is not asked for there.
_NOT_THERE = ("galleries", "capacityreservationgroups", "attachdetachdatadisks")


@pytest.mark.parametrize(("path", "client", "group"), [
    ("Microsoft.Compute/virtualMachines/v", "compute.ComputeManagementClient", None),
    ("Microsoft.Compute/images/i", "compute.ComputeManagementClient", None),
    ("Microsoft.Compute/disks/d", "compute.ComputeManagementClient", "disks"),
    ("Microsoft.Compute/snapshots/s", "compute.ComputeManagementClient", "snapshots"),
    ("Microsoft.Compute/skus", "compute.ComputeManagementClient", "resource_skus"),
    ("Microsoft.Network/networkInterfaces/n", "network.NetworkManagementClient", None),
    ("resources", "resource.resources.ResourceManagementClient", None),
    ("", "resource.subscriptions.SubscriptionClient", None),
])
def test_an_azure_stack_is_asked_in_the_versions_of_its_profile(path: str, client: str, group: str | None) -> None:
    profile = KnownProfiles.v2020_09_01_hybrid.value.get_profile_dict()[f"azure.mgmt.{client}"]
    whole = f"/subscriptions/s/{'providers/' if path.startswith('Microsoft') else ''}{path}"
    assert _STACK.version(whole) == profile[group]


def test_an_azure_stack_knows_what_is_sent(found: list[Exchange]) -> None:
    """But for the network, of whose versions for a Stack no library of bearable size is left."""
    paths = {(exchange.method, urlsplit(exchange.url).path) for exchange in found if not _elsewhere(exchange)}
    problems = [
        problem for verb, path in sorted(paths)
        if "microsoft.network" not in path.lower() and not any(word in path.lower() for word in _NOT_THERE)
        for operation, problem in [judge_azure.find(verb, path, _STACK.version(path))] if operation is None]
    assert not problems, "\n".join(problems)
