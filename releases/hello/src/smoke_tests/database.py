"""MariaDB: a row written over one connection is read over another."""

from __future__ import annotations

import secrets
from typing import Any

import pymysql

from .checks import Config, Failed, expect


def _connect(config: Config, **options: Any) -> Any:
    database = config["database"]
    return pymysql.connect(
        host=config["links"]["database"]["address"],
        port=database["port"],
        user=database["user"],
        password=database["password"],
        database=database["name"],
        connect_timeout=5,
        read_timeout=5,
        autocommit=True,
        **options,
    )


def row_written_and_read(config: Config) -> str:
    tls = {"ssl": {"ca": config["database"]["ca_file"]}}
    token = secrets.token_hex(8)
    try:
        with _connect(config, **tls) as writer, writer.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS smoke (token CHAR(16) PRIMARY KEY, note TEXT)")
            cursor.execute("INSERT INTO smoke VALUES (%s, %s)", (token, "grüße"))
        with _connect(config, **tls) as reader, reader.cursor() as cursor:
            cursor.execute("SELECT note FROM smoke WHERE token = %s", (token,))
            row = cursor.fetchone()
            cursor.execute("DELETE FROM smoke WHERE token = %s", (token,))
    except pymysql.MySQLError as error:
        raise Failed("MariaDB: %s" % error) from error
    expect(row == ("grüße",), "wrote a row and read %r" % (row,))
    return "a row written and read at %s" % config["links"]["database"]["address"]


def unencrypted_is_refused(config: Config) -> str:
    try:
        _connect(config, ssl_disabled=True).close()
    except pymysql.MySQLError as error:
        # Its own error for that, or "access denied" for the credentials that were right with TLS a moment ago.
        expect(error.args[0] in (3159, 1045), "expected the connection to be refused, got %s" % error)
        return "a connection without TLS is refused"
    raise Failed("a connection without TLS was let in")
