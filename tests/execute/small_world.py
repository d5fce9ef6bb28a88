"""A small deployment: a database with a disk, two web servers that know it by link, packages that need each other."""

CLOUD = """
azs: [{name: z1}, {name: z2}]
vm_types: [{name: small, cloud_properties: {memory: 512}}]
disk_types: [{name: small, disk_size: 64}, {name: big, disk_size: 128}]
networks:
- name: default
  type: manual
  subnets:
  - {range: 10.0.0.0/24, gateway: 10.0.0.1, azs: [z1, z2], static: [10.0.0.10-10.0.0.19]}
compilation: {workers: 2, az: z1, vm_type: small, network: default, reuse_compilation_vms: true}
"""

RELEASE = {
    "config/final.yml": "name: rel\n",
    "jobs/web/spec": "name: web\ntemplates: {web.json.j2: config/web.json}\npackages: [app]\nproperties: {greeting: {default: hello}}\n"
                     "consumes: [{name: db, type: db}]\n",
    "jobs/web/monit": "check process web\n",
    "jobs/web/templates/web.json.j2": "{{ p('greeting') }} {% for db in link('db').instances %}{{ db.address }} {% endfor %}\n",
    "jobs/db/spec": "name: db\ntemplates: {db.json.j2: config/db.json}\npackages: [lib]\nproperties: {password: {default: ''}}\n"
                    "provides: [{name: db, type: db}]\n",
    "jobs/db/monit": "check process db\n",
    "jobs/db/templates/db.json.j2": "{{ p('password') }}\n",
    "packages/app/spec": "name: app\ndependencies: [lib]\nfiles: [app.txt]\n",
    "packages/app/packaging": "true\n",
    "packages/lib/spec": "name: lib\nfiles: [lib.txt]\n",
    "packages/lib/packaging": "true\n",
    "src/app.txt": "app\n",
    "src/lib.txt": "lib\n",
}

MANIFEST = """
name: app
releases: [{name: rel, version: latest}]
stemcells: [{alias: default, os: linux, version: latest}]
update: {canaries: 1, max_in_flight: 2, canary_watch_time: 0-1000, update_watch_time: 0-1000}
variables: [{name: password, type: password}]
instance_groups:
- name: db
  instances: 1
  azs: [z1]
  vm_type: small
  stemcell: default
  persistent_disk_type: small
  networks: [{name: default, static_ips: [10.0.0.10]}]
  jobs: [{name: db, release: rel, properties: {password: ((password))}}]
- name: web
  instances: 2
  azs: [z1, z2]
  vm_type: small
  stemcell: default
  networks: [{name: default}]
  jobs: [{name: web, release: rel, properties: {greeting: hello}}]
"""
