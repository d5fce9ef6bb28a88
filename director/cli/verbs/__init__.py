"""The commands, a file each; every module has one `command`."""
