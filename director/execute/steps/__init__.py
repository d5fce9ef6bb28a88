"""One file per thing that is done to a machine or a disk, in BOSH's words."""
