"""The services' configuration files. Source: reference openstack-lab.md, whose settings these are, with the ports of the run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from cpis.conformance.clouds.openstack.layout import PASSWORD, REGION, SECOND_HOST, SECOND_ZONE, Layout

Sections = Mapping[str, Mapping[str, object]]

_PASTE = {
    "nova-api-paste.ini": "etc/nova/api-paste.ini", "cinder-api-paste.ini": "etc/cinder/api-paste.ini",
    "resource_filters.json": "etc/cinder/resource_filters.json", "neutron-api-paste.ini": "etc/neutron/api-paste.ini",
    "glance-api-paste.ini": "etc/glance/glance-api-paste.ini",
}

# Binds every port to any host at once: there is no agent and no data plane. Without it Nova reports PortBindingFailed.
_BIND_ALL = '''
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class BindAll(api.MechanismDriver):
    def initialize(self):
        pass

    def bind_port(self, context):
        for segment in context.segments_to_bind:
            context.set_binding(segment[api.ID], portbindings.VIF_TYPE_OVS, {portbindings.CAP_PORT_FILTER: True},
                                status=constants.PORT_STATUS_ACTIVE)
            return
'''


def write(layout: Layout) -> None:
    """Write all of them into the run's `conf`, and the Neutron driver beside."""
    for name, source in _PASTE.items():
        shutil.copy(layout.venv / source, layout.conf / name)
    files = {
        "keystone.conf": _keystone(layout), "placement.conf": _placement(layout), "glance-api.conf": _glance(layout),
        "nova.conf": _nova(layout), "second.conf": _second(layout), "neutron.conf": _neutron(layout), "cinder.conf": _cinder(layout),
    }
    for name, sections in files.items():
        (layout.conf / name).write_text(_ini(sections))
    plugins = layout.home / "plugins"
    described = plugins / "labbind-1.dist-info"
    described.mkdir(parents=True)
    (plugins / "labbind.py").write_text(_BIND_ALL)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: labbind\nVersion: 1\n")
    (described / "entry_points.txt").write_text("[neutron.ml2.mechanism_drivers]\nlabbind = labbind:BindAll\n")


def _ini(sections: Sections) -> str:
    parts = []
    for name, values in sections.items():
        parts += [f"[{name}]", *(f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in values.items())]
    return "\n".join(parts) + "\n"


def _login(layout: Layout, user: str, **more: object) -> dict[str, object]:
    """How a service logs in to Keystone."""
    return {
        "auth_url": f"{layout.url('keystone')}/v3", "auth_type": "password", "username": user, "password": PASSWORD,
        "project_name": "service", "user_domain_id": "default", "project_domain_id": "default", **more,
    }


def _validating(layout: Layout, user: str) -> dict[str, object]:
    """How a web service has the tokens of its callers validated."""
    return _login(
        layout, user, www_authenticate_uri=f"{layout.url('keystone')}/v3", service_token_roles_required=True, service_token_roles="service")


def _rabbit(layout: Layout) -> str:
    return f"rabbit://guest:guest@127.0.0.1:{layout.ports.rabbit}/"


def _common(layout: Layout, name: str, database: str) -> dict[str, dict[str, object]]:
    return {
        "DEFAULT": {"log_file": layout.log / f"{name}.log"},
        "database": {"connection": layout.database(database)},
        "oslo_concurrency": {"lock_path": layout.state / "lock"},
    }


def _keystone(layout: Layout) -> Sections:
    return {
        **_common(layout, "keystone", "keystone"),
        "token": {"provider": "fernet"},
        "fernet_tokens": {"key_repository": layout.state / "fernet"},
        "credential": {"key_repository": layout.state / "cred"},
        # In its one process's memory. Keystone validates a token for each request of each service: it is what limits the whole.
        "cache": {"enabled": True, "backend": "dogpile.cache.memory"},
        "identity": {"password_hash_algorithm": "bcrypt", "password_hash_rounds": 4},
    }


def _placement(layout: Layout) -> Sections:
    return {
        "DEFAULT": {"log_file": layout.log / "placement.log"},
        "api": {"auth_strategy": "keystone"},
        "placement_database": {"connection": layout.database("placement")},
        "keystone_authtoken": _validating(layout, "placement"),
    }


def _glance(layout: Layout) -> Sections:
    common = _common(layout, "glance", "glance")
    common["DEFAULT"] |= {
        "enabled_backends": "file:file", "bind_host": "127.0.0.1", "node_staging_uri": f"file://{layout.state}/staging",
        "transport_url": _rabbit(layout),
    }
    return {
        **common,
        "glance_store": {"default_backend": "file"},
        "file": {"filesystem_store_datadir": layout.home / "images"},
        "os_glance_staging_store": {"filesystem_store_datadir": layout.state / "staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": layout.state / "tasks"},
        "paste_deploy": {"flavor": "keystone", "config_file": layout.conf / "glance-api-paste.ini"},
        "keystone_authtoken": _validating(layout, "glance"),
    }


def _nova(layout: Layout) -> Sections:
    common = _common(layout, "nova", "nova")
    common["DEFAULT"] |= {
        "state_path": layout.state, "instances_path": layout.state / "instances", "transport_url": _rabbit(layout),
        "compute_driver": "fake.FakeDriver", "host": "lab", "my_ip": "127.0.0.1", "vif_plugging_is_fatal": False,
        "vif_plugging_timeout": 0, "rpc_response_timeout": 60, "osapi_compute_workers": 1,
    }
    return {
        **common,
        "api_database": {"connection": layout.database("nova_api")},
        "conductor": {"workers": 1},
        "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 30},
        "api": {"auth_strategy": "keystone"},
        "wsgi": {"api_paste_config": layout.conf / "nova-api-paste.ini"},
        "oslo_messaging_rabbit": {"heartbeat_in_pthread": False},
        "glance": {"api_servers": layout.url("glance")},
        "cinder": _login(layout, "nova", region_name=REGION, catalog_info="volumev3:cinderv3:publicURL"),
        "vnc": {"enabled": False},
        "filter_scheduler": {"track_instance_changes": False},
        "placement": _login(layout, "placement", region_name=REGION),
        "neutron": _login(layout, "neutron", region_name=REGION, service_metadata_proxy=False),
        "service_user": _login(layout, "nova", region_name=REGION, send_service_user_token=True),
        "keystone_authtoken": _validating(layout, "nova"),
    }


def _second(layout: Layout) -> Sections:
    """Laid over nova.conf: another hypervisor, a small one. It is put into the second zone."""
    return {"DEFAULT": {"host": SECOND_HOST, "compute_driver": "fake.SmallFakeDriver", "state_path": layout.state / "second"}}


def _neutron(layout: Layout) -> Sections:
    common = _common(layout, "neutron", "neutron")
    common["DEFAULT"] |= {
        "state_path": layout.state, "core_plugin": "ml2", "service_plugins": "router,port_forwarding", "bind_host": "127.0.0.1",
        "api_paste_config": layout.conf / "neutron-api-paste.ini", "transport_url": _rabbit(layout),
        "notify_nova_on_port_status_changes": False, "notify_nova_on_port_data_changes": False, "dhcp_agent_notification": False,
        "auth_strategy": "keystone", "api_workers": 1, "rpc_workers": 0,
    }
    return {
        **common,
        "ml2": {
            "type_drivers": "local,flat,vxlan", "tenant_network_types": "local", "mechanism_drivers": "labbind",
            "extension_drivers": "port_security",
        },
        "ml2_type_vxlan": {"vni_ranges": "1:1000"},
        "ml2_type_flat": {"flat_networks": "*"},
        "nova": _login(layout, "nova", region_name=REGION),
        "keystone_authtoken": _validating(layout, "neutron"),
    }


def _cinder(layout: Layout) -> Sections:
    common = _common(layout, "cinder", "cinder")
    common["DEFAULT"] |= {
        "state_path": layout.state / "cinder", "transport_url": _rabbit(layout), "api_paste_config": layout.conf / "cinder-api-paste.ini",
        "resource_query_filters_file": layout.conf / "resource_filters.json", "host": "lab", "my_ip": "127.0.0.1",
        "osapi_volume_listen": "127.0.0.1", "glance_api_servers": layout.url("glance"), "enabled_backends": "lvmfake,lvmfake2",
        "default_volume_type": "lvmfake", "auth_strategy": "keystone",
    }
    driver = "cinder.tests.fake_driver.FakeLoggingVolumeDriver"
    return {
        **common,
        "lvmfake": {"volume_driver": driver, "volume_backend_name": "lvmfake"},
        "lvmfake2": {"volume_driver": driver, "volume_backend_name": "lvmfake2", "backend_availability_zone": SECOND_ZONE},
        "nova": _login(layout, "nova", region_name=REGION),
        "service_user": _login(layout, "cinder", region_name=REGION, send_service_user_token=True),
        "keystone_authtoken": _validating(layout, "cinder"),
    }
