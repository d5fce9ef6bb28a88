"""The resolver of every machine: answers for the machines of all deployments, asks other servers for everything else.

Standard library only, Python 3.8 and newer, imports nothing else of ours: it is shipped as files (`releases/bosh-dns`) and runs alone:
`python3 -m director.guest.dns serve --records records.json --listen 127.0.0.1:5353`.

Reading order: `wire` (packets), `records` (the director's data, indexed), `aliases` (other names for the same), `health` (who counts),
`local` (a question to its answer), `answer` (an answer to prebuilt bytes), `upstream` (other servers) and `cache`, `server` (sockets),
`host` (/etc/resolv.conf and the loopback interface), `settings`, `__main__`.
Source of all behaviour: the DNS contract (`dns.md`); its section numbers are named where they matter.
"""
