"""The resolver of every machine: answers for the machines of all deployments, asks other servers for everything else.

Standard library only, Python 3.8 and newer, imports nothing else of ours: it is shipped as files (`releases/bosh-dns`) and runs alone:
`python3 -m director.guest.dns serve --records records.json --listen 127.0.0.1:5353`.

Reading order:

* a packet comes in: `datagrams` (UDP, the fast path), `streams` (TCP), `access` and `limits` (who may ask, how much), `server` (a packet to
  its answer), `wire` (packets), `prepared` (answers as bytes);
* a question finds its handler: `chain` (the table), `handlers/` (one file and one page each), `answer`;
* names of ours: `lookup`, `aliases`, `grammar` (what a name means), `health` (who counts), `records`, `loading`, `sources` (where records
  come from), `sealed` (whether they are the director's);
* how instances are: `instances`, `local/` (this machine, in a process of its own), `peers/` (the others, over datagrams);
* names of others: `passing` (what their handlers have in common), `forwarding` (once for all who ask), `cache`, `upstream` and `servers`
  (name servers), `web` (web servers), `message` (what they say), `domains` (handlers of single domains);
* the process: `loop`, `listening`, `service`, `processes`, `files`, `host` (/etc/resolv.conf and the loopback interface), `resolved`
  (systemd-resolved), `settings`,
  `__main__`; what it tells of itself: `control`, `metrics`, `querylog`.

What others plug in: `health.Health` and `sources.RecordSource`, both given to `service.Service`.
Source of all behaviour: the DNS contract (`dns.md`); its section numbers are named where they matter.
"""
