"""What operators write, from text to values. Pure: no files, no network, no clock, no randomness.

In reading order: load (YAML with places), ops and interpolate (what the command line does to a document), late (what the director
does: placeholders), schema and reader (sections by their annotated files), cloud_config and networks, parse (the manifest) with sources,
policy, variables, groups, group_networks, disks and addons; model is what comes out; diff and dump are the ways back to text.
"""
