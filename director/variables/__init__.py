"""Generated secrets: made once, kept encrypted, rotated. Secrets leave this layer only as the answers of a lookup.

    names.py        what a variable is called over all deployments
    options.py      reading a definition's options, with all complaints at once
    passwords.py    password and user (with its SHA-512 crypt hash)
    sha512crypt.py  that hash
    keys.py         RSA keys: rsa and ssh
    certificates.py certificates and certificate authorities
    generate.py     type -> maker, in one table
    seal.py         encryption at rest
    rotation.py     new values for what has some; CAs in three steps with overlap
    rollout.py      how far the machines are with that
    overview.py     versions, uses, ends
    vault.py        `Vault`: makes what a deployment lacks, in an order in which signers come first; looks values up
"""

from __future__ import annotations

from director.variables.lookup import Lookup
from director.variables.vault import Entry, Report, Vault

__all__ = ["Entry", "Lookup", "Report", "Vault"]
