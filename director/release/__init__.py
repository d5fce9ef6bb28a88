"""Releases and stemcells as archives and folders: read, verify, fingerprint, create. Reads and writes only files given to it.

In reading order: model (values), text (YAML), digest, tar (safe archives), versions, fingerprint, job (a job's spec and sources),
manifest (release.MF), archive (an arriving release), compiled (cache keys), stemcell; for making releases: globs, source, git,
blobs, debian, create.
"""
