"""Variable type -> how it is made. One table."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Callable, Mapping
from typing import Any

from director import errors
from director.diagnostics import did_you_mean
from director.variables import certificates, keys, passwords
from director.variables.options import Options, failure


@dataclasses.dataclass(frozen=True)
class Manner:
    """What differs between the director (DIRECTOR) and the command line's `--vars-store` (COMMAND_LINE): defaults, and what is allowed.
    With `whole_chain` the `ca` of a certificate holds its signer's signers too. Source: manifest contract, sections 10 and 20.3."""

    password_length: int = 30
    password_alphabet: str = string.ascii_letters + string.digits
    key_length: int = 2048
    organization: str = ""
    country: str = ""
    extended_key_usage: tuple[str, ...] = ()
    plain_authorities: bool = False
    whole_chain: bool = True
    password_options: tuple[str, ...] = ("length", "exclude_upper", "exclude_lower", "exclude_number", "include_special")
    certificate_options: tuple[str, ...] = certificates.OPTIONS
    types: tuple[str, ...] = ("password", "certificate", "rsa", "ssh", "user")


DIRECTOR = Manner()
COMMAND_LINE = Manner(
    password_length=20, password_alphabet=string.ascii_lowercase + string.digits, key_length=3072,
    organization="Cloud Foundry", country="US", plain_authorities=True, whole_chain=False, extended_key_usage=("server_auth",),
    password_options=("length",), types=("password", "certificate", "rsa", "ssh"),
    certificate_options=(
        "common_name", "organization", "alternative_names", "is_ca", "ca", "extended_key_usage", "duration", "key_length"),
)


@dataclasses.dataclass(frozen=True)
class Sources:
    """What a maker draws on. `signer` answers the CA of a name as written in the options, None when that is known to have failed itself
    (what is made then will not be used); raises KeyError or ValueError. `authorities` are names that could have been meant."""

    keys: keys.Keys
    signer: Callable[[str], certificates.Signer | None]
    now: Callable[[], float]
    manner: Manner = DIRECTOR
    authorities: tuple[str, ...] = ()


def generate(name: str, type: str, options: Mapping[str, Any], sources: Sources) -> Any:
    """A new value. `name` is for errors. Raises ManifestError (540005) with all that is wrong with the definition."""
    if type not in sources.manner.types:
        raise errors.ManifestError(failure(
            name, type, f"Unsupported value type: {type}", did_you_mean(type, sources.manner.types)
            or ("Set it before the deploy: caisson set-variable NAME." if type in ("value", "json")
                else f"Types: {', '.join(sources.manner.types)}.")))
    return _MAKERS[type](Options(name, type, options), sources)


def key_length_of(type: str, options: Mapping[str, Any], manner: Manner = DIRECTOR) -> int | None:
    """Bits of the RSA key that such a variable needs; None when it needs none."""
    if type not in ("certificate", "rsa", "ssh"):
        return None
    wanted = options.get("key_length")
    default = manner.key_length if type == "certificate" else 2048
    return wanted if wanted in keys.KEY_LENGTHS else default


def _password(options: Options, sources: Sources) -> str:
    options.known(sources.manner.password_options)
    return passwords.make_password(options, length=sources.manner.password_length, alphabet=sources.manner.password_alphabet)


def _user(options: Options, sources: Sources) -> dict[str, Any]:
    options.known(("username", *sources.manner.password_options))
    return passwords.make_user(options, length=sources.manner.password_length, alphabet=sources.manner.password_alphabet)


def _rsa(options: Options, sources: Sources) -> dict[str, str]:
    return keys.rsa_value(_key(options, sources, ("key_length",)))


def _ssh(options: Options, sources: Sources) -> dict[str, str]:
    comment = options.text("ssh_comment")
    return keys.ssh_value(_key(options, sources, ("key_length", "ssh_comment")), comment)


def _key(options: Options, sources: Sources, known: tuple[str, ...]) -> Any:
    options.known(known)
    length = options.number("key_length", 2048)
    options.choice("key_length", length, keys.KEY_LENGTHS, f"Invalid key_length: {length}.  Must be one of: [2048 3072 4096]")
    options.finish()
    return sources.keys.take(length)


def _certificate(options: Options, sources: Sources) -> dict[str, str]:
    manner = sources.manner
    options.known(manner.certificate_options)
    ca = options.text("ca")
    signer = None
    if ca:
        try:
            signer = sources.signer(ca)
            signer = signer if manner.whole_chain or signer is None else signer.alone()
        except KeyError:
            options.wrong(
                f"Expected to find variable '{ca}' with a certificate",
                did_you_mean(ca, sources.authorities) or "Define the CA in `variables`, or correct the name.")
        except ValueError as error:
            options.wrong(f"'{ca}' cannot sign: {error}", "Name a certificate that has `is_ca: true`.")
    elif not options.flag("is_ca") and not options.flag("self_sign"):
        options.wrong("Missing required CA name", "Give `ca: NAME`, or `self_sign: true`, or `is_ca: true`.")
    request = certificates.read(
        options, key_length=manner.key_length, default_extended=manner.extended_key_usage, organization=manner.organization,
        country=manner.country, plain_authorities=manner.plain_authorities)
    return certificates.make(request, sources.keys.take(request.key_length), signer, sources.now)


_MAKERS: Mapping[str, Callable[[Options, Sources], Any]] = {
    "certificate": _certificate,
    "password": _password,
    "rsa": _rsa,
    "ssh": _ssh,
    "user": _user,
}
