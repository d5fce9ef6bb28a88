"""A small web program that says hello and counts its visits in MariaDB."""
