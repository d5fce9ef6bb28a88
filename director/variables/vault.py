"""`Vault`: the variables of all deployments. Makes what is missing, in one pass; looks values up; keeps everything encrypted.

Source: manifest contract, sections 10 and 11.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from director import errors
from director.diagnostics import Diagnostic, Diagnostics, did_you_mean
from director.manifest.model import Variable
from director.state import Store
from director.state.variables import VariableRow
from director.variables import certificates, generate, keys, names
from director.variables.lookup import Lookup, secrets_of
from director.variables.options import failure
from director.variables.order import Wanted, in_order, where_of
from director.variables.seal import Seal, load_key, make_key

CREATED, KEPT, REGENERATED = "created", "kept", "regenerated"
UPDATE_MODES = ("no-overwrite", "overwrite", "converge")
_CHECK = "vault.check"


@dataclasses.dataclass(frozen=True)
class Entry:
    """What became of one variable: `name` is absolute, `id` its version, `outcome` created, kept or regenerated. `latest` tells whether
    the version is the newest one."""

    name: str
    id: str
    type: str
    outcome: str
    update_mode: str = ""
    update_strategy: str = "on-deploy"
    latest: bool = True


@dataclasses.dataclass(frozen=True)
class Report:
    """Of one `ensure` or `preview`, in the order of the definitions."""

    entries: tuple[Entry, ...] = ()

    @property
    def created(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.outcome == CREATED)

    @property
    def kept(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.outcome == KEPT)

    @property
    def regenerated(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.outcome == REGENERATED)


class Vault:
    """Safe to share between threads. Its repr, errors and logs hold no secrets; each value that is made or opened is told to `on_secret`,
    for redaction."""

    def __init__(
        self, store: Store, key_path: str | Path, *, director_name: str = "caisson", clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()), on_secret: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Makes the key file (mode 0600) on first use. Raises CaissonError when the key is missing or is not this database's."""
        self.director_name = director_name
        self._store = store
        self.now = clock
        self._new_id = new_id
        self._on_secret = on_secret
        self.making = threading.Lock()  # held while values are made and stored, so that each knows the newest signer
        self._opened: dict[str, Any] = {}
        self._seal = self._unlock(Path(key_path))

    def ensure(
        self, deployment: str, variables: Sequence[Variable], *, set_id: int | None = None, converge: bool = False,
        keep: Mapping[str, str] | None = None,
    ) -> Report:
        """Make what is missing, and what its update mode wants anew; store all of it in one transaction, or nothing.

        Options have their placeholders resolved, and addresses from `consumes` merged in. `converge` is the update mode of those without
        one (`features.converge_variables`). `set_id` pins the versions for the deploy. `keep` maps absolute names to versions that are
        taken as they are, however old. Raises ManifestError (540005) with all errors.
        """
        with self.making:
            made = self._make(deployment, variables, converge, keep or {}, keys.Keys())
            with self._store.transaction(durable=True):
                for row in made.rows:
                    self._store.variables.add(row)
                if set_id is not None:
                    self._store.variables.repin(set_id, {entry.name: entry.id for entry in made.report.entries})
            self._opened |= made.values
        return made.report

    def preview(
        self, deployment: str, variables: Sequence[Variable], *, converge: bool = False, keep: Mapping[str, str] | None = None,
        overlay: Mapping[str, Any] | None = None,
    ) -> tuple[Report, Lookup]:
        """What `ensure` would do, and a lookup as it would be then. Nothing is written: new values have the right shape only. `overlay`
        maps absolute names to values that they are thought to have."""
        made = self._make(deployment, variables, converge, keep or {}, keys.SameKeys())
        kept = {entry.name: self.value(entry.id) for entry in made.report.entries if not entry.latest}
        fresh = {entry.name: made.values[entry.id] for entry in made.report.entries if entry.id in made.values}
        return made.report, Lookup(self._latest, self.director_name, deployment, overlay={**fresh, **(overlay or {}), **kept})

    def lookup(
        self, deployment: str, *, set_id: int | None = None, pin: bool = False, overlay: Mapping[str, Any] | None = None,
    ) -> Lookup:
        """Values by name, as `manifest.late.resolve` takes it. Without `set_id` the newest versions, or what `overlay` has; with it those
        pinned in the set, and with `pin` a name that is not there yet is pinned to its newest version (only a deploy may do that)."""
        if set_id is None:
            return Lookup(self._latest, self.director_name, deployment, overlay=overlay)
        pins = self._store.variables.pins(set_id)

        def pinned(name: str) -> tuple[str, Any]:
            if name not in pins:
                if not pin:
                    raise errors.NotFoundError(
                        f"Expected variable '{name}' to be already versioned in deployment '{deployment}'", code=540008,
                        suggestion=f"Deploy '{deployment}' first.")
                with self._store.transaction():  # until it is pinned, a version that is not the newest any more may be forgotten
                    pins[name], _ = self._latest(name)
                    self._store.variables.pin(set_id, {name: pins[name]})
            return pins[name], self.value(pins[name])

        return Lookup(pinned, self.director_name, deployment)

    def value(self, id: str) -> Any:
        """The value of one version. Raises NotFoundError (540002)."""
        if id not in self._opened:
            row = self._store.variables.find(id)
            if row is None:
                raise errors.NotFoundError(f"Failed to find variable with id '{id}'", code=540002)
            return self._value_of(row)
        return self._opened[id]

    def set(self, name: str, type: str, value: Any) -> VariableRow:
        """Store a value that someone else made (types `value`, `json`, or an import). `name` is absolute."""
        row = self.version(name, type, value)
        self._remember(row.id, type, value)
        return self._store.variables.add(row)

    def version(
        self, name: str, type: str, value: Any, *, options: Mapping[str, Any] | None = None, definition_digest: str = "",
        signed_by: str = "",
    ) -> VariableRow:
        """A new version, not stored yet. `options` are what it was made with."""
        id = self._new_id()
        self._tell(type, value)
        kept = None if options is None else self._seal.close(json.dumps(options, default=str).encode(), f"{name} {id} options")
        return VariableRow(
            id=id, name=name, type=type, sealed=self._seal.close(json.dumps(value).encode(), f"{name} {id}"),
            definition_digest=definition_digest, signed_by=signed_by,
            expires_at=certificates.expiry(value) if type == "certificate" else None, created_at=self.now(), options=kept)

    def options(self, row: VariableRow) -> dict[str, Any] | None:
        """What a version was made with; None when that was not kept."""
        if row.options is None:
            return None
        found: dict[str, Any] = json.loads(self._seal.open(row.options, f"{row.name} {row.id} options"))
        return found

    def absolute(self, name: str, deployment: str) -> str:
        """`/DIRECTOR/DEPLOYMENT/NAME` of a relative name."""
        return names.absolute(name, self.director_name, deployment)

    def seal(self, content: Any) -> str:
        """Encrypt plain data for rows of other tables (journal arguments)."""
        return base64.b64encode(self._seal.close(json.dumps(content).encode(), "sealed")).decode()

    def unseal(self, text: str) -> Any:
        """What `seal` was given. Raises CaissonError."""
        return json.loads(self._seal.open(base64.b64decode(text), "sealed"))

    def __repr__(self) -> str:
        return f"Vault({self.director_name})"

    def _make(
        self, deployment: str, variables: Sequence[Variable], converge: bool, keep: Mapping[str, str], key_source: keys.Keys,
    ) -> _Made:
        problems = Diagnostics()
        wanted, circling = in_order([self._wanted(variable, deployment, converge) for variable in variables], problems)
        known = self._store.variables.latest_of({item.name for item in wanted} | {item.ca for item in wanted if item.ca})
        held = {row.name: row for row in self._store.variables.with_ids(keep.values()).values()}
        made = _Made({name: row.id for name, row in known.items()}, circling)
        authorities = tuple(item.variable.name for item in wanted if item.variable.options.get("is_ca") is True)
        fresh = [item for item in wanted if item.name not in held and _may_be_made(item, known.get(item.name))]
        lengths = [generate.key_length_of(item.variable.type, item.variable.options) for item in fresh]
        key_source.prepare(length for length in lengths if length is not None)
        try:
            for item in wanted:
                if item.variable.update_mode not in UPDATE_MODES:
                    made.failed.add(item.name)
                    problems.extend([_unknown_mode(item)])
                if item.name in made.failed:
                    continue
                row = held.get(item.name) or known.get(item.name)
                signed_by = made.ids.get(item.ca) or (known[item.ca].id if item.ca in known else "")
                outcome = KEPT if item.name in held else _outcome(item, row, signed_by, problems)
                if row is not None and outcome == KEPT:
                    made.keep(item, row)
                    continue
                try:
                    value = generate.generate(item.name, item.variable.type, item.variable.options, generate.Sources(
                        key_source, lambda _, item=item: self._signer(item.ca, made, known), self.now,  # type: ignore[misc]
                        authorities=authorities))
                except errors.ManifestError as error:
                    problems.extend(dataclasses.replace(one, where=where_of(item.variable)) for one in error.diagnostics)
                    made.failed.add(item.name)
                    continue
                made.add(item, self.version(
                    item.name, item.variable.type, value, options=item.variable.options, definition_digest=item.digest,
                    signed_by=signed_by), value, outcome)
        finally:
            key_source.close()
        if problems.errors:
            raise errors.ManifestError(*problems.errors)
        return made.in_order_of([self.absolute(variable.name, deployment) for variable in variables])

    def _wanted(self, variable: Variable, deployment: str, converge: bool) -> Wanted:
        ca = str(variable.options.get("ca") or "") if variable.type == "certificate" else ""
        mode = variable.update_mode or ("converge" if converge else "no-overwrite")
        return Wanted(self.absolute(variable.name, deployment), dataclasses.replace(variable, update_mode=mode),
                      self.absolute(ca, deployment) if ca else "")

    def _signer(self, name: str, made: _Made, known: Mapping[str, VariableRow]) -> certificates.Signer | None:
        if name in made.failed:
            return None
        id = made.ids.get(name) or known[name].id
        value = made.values.get(id) or self.value(id)
        if id not in made.signers:
            if not isinstance(value, dict) or not {"certificate", "private_key"} <= value.keys():
                raise ValueError("it is no certificate")
            made.signers[id] = certificates.Signer.of(value)
        return made.signers[id]

    def _latest(self, name: str) -> tuple[str, Any]:
        row = self._store.variables.latest(name)
        if row is None:
            raise KeyError(name)
        return row.id, self._value_of(row)

    def _value_of(self, row: VariableRow) -> Any:
        if row.id not in self._opened:
            self._remember(row.id, row.type, self._open(row))
        return self._opened[row.id]

    def _open(self, row: VariableRow) -> Any:
        return json.loads(self._seal.open(row.sealed, f"{row.name} {row.id}"))

    def _remember(self, id: str, type: str, value: Any) -> None:
        self._tell(type, value)
        self._opened[id] = value

    def _tell(self, type: str, value: Any) -> None:
        for secret in secrets_of(type, value):
            self._on_secret(secret)

    def _unlock(self, path: Path) -> Seal:
        """The seal of this database. The database keeps something sealed, so that a wrong or new key is noticed before it is used."""
        proof = self._store.settings.get(_CHECK)
        key = load_key(path)
        if key is None:
            if proof is not None:
                raise errors.CaissonError(Diagnostic(
                    f"The encryption key '{path}' is missing", detail="The database holds secrets that only this key opens.",
                    suggestion="Restore the file from a backup of the state directory."))
            key = make_key(path)
        opened = Seal(key)
        if proof is None:
            self._store.settings.set(_CHECK, base64.b64encode(opened.close(b"caisson", _CHECK)).decode())
        else:
            opened.open(base64.b64decode(proof), _CHECK)
        return opened


class _Made:
    """What one pass made and kept."""

    def __init__(self, newest: Mapping[str, str], failed: set[str]) -> None:
        """`newest` maps names to the ids of what there was before."""
        self._newest = newest
        self.rows: list[VariableRow] = []
        self.values: dict[str, Any] = {}
        self.ids: dict[str, str] = {}
        self.signers: dict[str, certificates.Signer] = {}
        self.failed = failed
        self._entries: dict[str, Entry] = {}
        self.report = Report()

    def keep(self, item: Wanted, row: VariableRow) -> None:
        self._enter(item, row.id, KEPT)

    def add(self, item: Wanted, row: VariableRow, value: Any, outcome: str) -> None:
        self.rows.append(row)
        self.values[row.id] = value
        self._enter(item, row.id, outcome)

    def in_order_of(self, listed: Sequence[str]) -> _Made:
        self.report = Report(tuple(self._entries[name] for name in dict.fromkeys(listed)))
        return self

    def _enter(self, item: Wanted, id: str, outcome: str) -> None:
        self.ids[item.name] = id
        self._entries[item.name] = Entry(
            item.name, id, item.variable.type, outcome, item.variable.update_mode, item.variable.update_strategy,
            outcome != KEPT or self._newest.get(item.name) == id)


def _unknown_mode(item: Wanted) -> Diagnostic:
    mode = item.variable.update_mode
    hint = did_you_mean(mode, UPDATE_MODES) or f"Modes: {', '.join(UPDATE_MODES)}."
    return failure(item.name, item.variable.type, f"Unsupported update mode: {mode}", hint, where_of(item.variable))


def _may_be_made(item: Wanted, row: VariableRow | None) -> bool:
    """Whether a new value is certain; one that only its CA's change makes necessary is not foreseen."""
    if row is None or item.variable.update_mode == "overwrite":
        return True
    return item.variable.update_mode == "converge" and row.definition_digest != item.digest


def _outcome(item: Wanted, row: VariableRow | None, signed_by: str, problems: Diagnostics) -> str:
    """What the update mode wants of the variable."""
    if row is None:
        return CREATED
    if item.variable.update_mode == "overwrite":
        return REGENERATED
    if item.variable.update_mode == "converge":
        return REGENERATED if row.definition_digest != item.digest or row.signed_by != signed_by else KEPT
    if row.type != item.variable.type:
        problems.extend([failure(
            item.name, item.variable.type, f"it exists with type '{row.type}'",
            "Give it another name, or `update_mode: converge` to have it made anew.", where_of(item.variable))])
    return KEPT
