"""New values for variables that have some: passwords and keys at once, certificates that others trust in three steps with overlap.

A certificate that signs (itself or others) is rotated so that at no moment anybody meets a certificate it does not trust, although
machines are updated one after the other. Stages of a rotation, each brought to the machines by a deploy:

    0  as before
    1  the new CA is trusted beside the old one; the old one signs            (CredHub: the new version is `transitional`)
    2  the new CA signs, all it signs has been signed anew; both are trusted  (CredHub: the old version is `transitional`)
    3  the old CA is gone

Machines of neighbouring stages get along with each other, others do not (`director.variables.rollout` looks after that). Everything below
the CA takes part: a CA that it signed gets a new key beside the old one too, since servers show their leaf alone, so that whoever meets a
new leaf must know all that stands above it. Trust is in `ca` of what is signed, and in `certificate` and `ca` of the CA: both hold all
that is trusted, the one that signs first. Every step makes new versions, so that a deploy, and whoever recreates a machine of that
deploy later, has one consistent set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from director.diagnostics import Diagnostic, did_you_mean
from director.errors import ConflictError, NotFoundError
from director.state import Store
from director.state.rotations import RotationRow
from director.state.variables import VariableRow
from director.variables import certificates, generate, keys
from director.variables.vault import Vault

BEFORE, TRUSTED, SIGNING, OVER = range(4)
STAGES = {
    BEFORE: "as before", TRUSTED: "the new CA is trusted, the old one signs", SIGNING: "the new CA signs, both are trusted",
    OVER: "the old CA is dropped",
}


@dataclasses.dataclass(frozen=True)
class Identity:
    """A certificate and its key, PEM."""

    certificate: str
    private_key: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Pair:
    """What a signing certificate was, and what it becomes."""

    old: Identity
    new: Identity

    def signing(self, stage: int) -> Identity:
        return self.old if stage < SIGNING else self.new

    def trusted(self, stage: int) -> str:
        """The one that signs first."""
        return certificates.bundle(*({
            BEFORE: (self.old.certificate,), TRUSTED: (self.old.certificate, self.new.certificate),
            SIGNING: (self.new.certificate, self.old.certificate), OVER: (self.new.certificate,),
        }[stage]))


@dataclasses.dataclass(frozen=True)
class Fresh:
    """A new version, and what is new about it: `new value`, `new CA trusted`, `new CA signs`, `signed anew`, `old CA dropped`, `as before`,
    `the old CA signs again`."""

    row: VariableRow
    value: Any = dataclasses.field(repr=False)
    what: str


@dataclasses.dataclass(frozen=True)
class Step:
    """What one step does. Of what is renewed at once `before` and `after` are 0. `family` are the names that take part."""

    name: str
    before: int
    after: int
    fresh: tuple[Fresh, ...]
    family: tuple[str, ...]
    rotation: RotationRow | None = None

    @property
    def with_overlap(self) -> bool:
        return (self.before, self.after) != (BEFORE, BEFORE)


def plan_step(
    vault: Vault, store: Store, name: str, *, undo: bool = False, user: str = "", key_source: keys.Keys | None = None,
) -> Step:
    """The next step of rotating the variable `name` (absolute), or the way back by one. Writes nothing; `key_source` may give keys that
    guard nothing (a preview). Raises NotFoundError, ConflictError for what cannot be rotated."""
    family = Family(store)
    row = family.get(name)
    planning = _Planning(vault, store, family, key_source or keys.Keys())
    try:
        if row.type == "certificate" and planning.signs(row):
            return planning.overlapping(row, store.rotations.all(), undo=undo, user=user)
    except ValueError as error:
        raise ConflictError(f"'{name}' cannot be rotated here: {error}", suggestion="It was imported: import another one.") from error
    if undo:
        raise ConflictError(f"'{name}' is not being rotated in steps, so there is none to undo",
                            suggestion="The value before is gone from the newest version; 'caisson rotate' makes another new one.")
    return Step(name, BEFORE, BEFORE, (planning.renewed(row),), (name,))


def leaves_of(vault: Vault, store: Store, name: str) -> tuple[str, ...]:
    """What the CA `name` signed and what signs nothing itself, sorted. Raises NotFoundError."""
    family = Family(store)
    family.get(name)
    planning = _Planning(vault, store, family, keys.SameKeys())
    return tuple(other for other in family.signed(name) if not planning.signs(family.rows[other]))


def apply_step(store: Store, step: Step) -> None:
    """Write the step down: all of it or nothing."""
    with store.transaction(durable=True):
        for fresh in step.fresh:
            store.variables.add(fresh.row)
        if step.rotation is not None:
            store.rotations.save(step.rotation)
        elif step.with_overlap:
            store.rotations.delete(step.name)


class Family:
    """The newest versions of all variables, and who signed whom."""

    def __init__(self, store: Store) -> None:
        self.rows = {row.name: row for row in store.variables.all_latest()}
        signers = store.variables.with_ids({row.signed_by for row in self.rows.values() if row.signed_by})
        self.signer = {row.name: signers[row.signed_by].name for row in self.rows.values() if row.signed_by in signers}
        self._signed: dict[str, list[str]] = {}
        for name in sorted(self.signer):
            self._signed.setdefault(self.signer[name], []).append(name)

    def get(self, name: str) -> VariableRow:
        """Raises NotFoundError with the nearest name."""
        if name not in self.rows:
            raise NotFoundError(Diagnostic(
                f"There is no variable '{name}'", suggestion=did_you_mean(name, self.rows) or "'caisson variables' lists them."))
        return self.rows[name]

    def signs(self, name: str) -> bool:
        """Whether it signed any other."""
        return name in self._signed

    def signed(self, name: str) -> list[str]:
        """What it signed itself, sorted."""
        return self._signed.get(name, [])

    def below(self, name: str) -> list[str]:
        """The name itself and all that it signed, signers first."""
        found = [name]
        for current in found:
            found.extend(other for other in self._signed.get(current, ()) if other not in found)
        return found

    def above(self, name: str) -> list[str]:
        """Its signer, that one's signer and so on."""
        found: list[str] = []
        while name in self.signer and self.signer[name] not in found:
            name = self.signer[name]
            found.append(name)
        return found


class Stages:
    """The stage of a version: as the rotation noted; of one that a deploy made during the rotation that of its signer; else before."""

    def __init__(self, store: Store, noted: Mapping[str, int]) -> None:
        self._signers = {row.id: row.signed_by for row in store.variables.all()}
        self._noted = noted

    def __call__(self, id: str) -> int:
        while id and id not in self._noted:
            id = self._signers.get(id, "")
        return self._noted.get(id, BEFORE)


class _Planning:
    def __init__(self, vault: Vault, store: Store, family: Family, key_source: keys.Keys) -> None:
        self._vault, self._store, self._family, self._keys, self._now = vault, store, family, key_source, vault.now

    def signs(self, row: VariableRow) -> bool:
        """Whether others may trust it as a signer: a CA, or a certificate that is its own signer."""
        pem = self._value(row.name)["certificate"]
        return self._family.signs(row.name) or certificates.request_of(pem).is_ca or certificates.is_self_signed(pem)

    def renewed(self, row: VariableRow) -> Fresh:
        """A new value like the one before."""
        if row.type == "certificate":
            return self._signed_anew(row)
        if row.type not in generate.DIRECTOR.types:
            raise ConflictError(f"'{row.name}' of type '{row.type}' was not made here, so it cannot be made anew",
                                suggestion="Give it another value where it came from.")
        options = self._vault.options(row)
        if options is None:
            raise ConflictError(
                f"It is not known with which options '{row.name}' was made",
                suggestion="It was imported, or made by an older director: deploy once with `update_mode: overwrite`.")
        value = generate.generate(row.name, row.type, options, generate.Sources(self._keys, _no_signer, self._now))
        return Fresh(self._vault.version(
            row.name, row.type, value, options=options, definition_digest=row.definition_digest), value, "new value")

    def _signed_anew(self, row: VariableRow) -> Fresh:
        signer = self._family.signer.get(row.name)
        if signer is None:
            raise _foreign(row.name)
        authority = certificates.Signer.of(self._value(signer))
        value = self._made_like(self._value(row.name)["certificate"], authority, row.name)
        return self._fresh(row, value, self._family.rows[signer].id, "new value")

    def overlapping(self, row: VariableRow, rotations: Iterable[RotationRow], *, undo: bool, user: str) -> Step:
        name = row.name
        running = {item.name: item for item in rotations}
        for other in (*self._family.above(name), *self._family.below(name)[1:]):
            if other in running:
                raise ConflictError(
                    f"'{name}' takes part in the rotation of '{other}', which is at stage {running[other].stage} of 3",
                    suggestion=f"End that one first: caisson rotate {other}")
        members = self._members(running.get(name))
        before = running[name].stage if name in running and name in members else BEFORE
        if before == OVER:
            before, members = BEFORE, {}
        if undo and before == BEFORE:
            raise ConflictError(f"'{name}' is not being rotated, so there is nothing to undo",
                                suggestion="'caisson rotations' tells what is; the last step cannot be taken back.")
        after = before - 1 if undo else before + 1
        by_old, by_new = self._joined_late(name, members)
        if not undo and before in (TRUSTED, SIGNING) and self._left_behind(name, running[name]):
            after = before
        if (before, after) == (TRUSTED, SIGNING) and by_old:
            after = TRUSTED  # a CA that was made meanwhile is first trusted in its new form too
        if undo and before == SIGNING and by_new:
            raise ConflictError(f"'{by_new[0]}' was made and signed by the new CA since; the old one cannot take its place",
                                suggestion=f"Go on: caisson rotate {name}")
        if after == OVER and by_old:
            raise ConflictError(f"'{by_old[0]}' is still signed by the old CA",
                                suggestion=f"Go back one step: caisson rotate {name} --undo")
        if after == TRUSTED and not undo:
            members |= self._renewed_members(by_old, members)
        return self._step(row, before, after, members, running.get(name), user)

    def _left_behind(self, name: str, row: RotationRow) -> bool:
        """Whether the newest version of anybody is of an earlier stage: made meanwhile by an older version of the CA, which a variable
        that waits for a stemcell may have. The stage is then taken once more, for those."""
        stage_of = Stages(self._store, row.versions)
        return any(stage_of(self._family.rows[item].id) < row.stage for item in self._family.below(name))

    def _step(
        self, row: VariableRow, before: int, after: int, members: Mapping[str, Pair], running: RotationRow | None, user: str,
    ) -> Step:
        family = self._family.below(row.name)
        fresh = tuple(self._at(after, members, family))
        if after == BEFORE:
            return Step(row.name, before, after, fresh, tuple(family))
        made = {item.row.name: item.row.id for item in fresh}
        reached = {made.get(name) or self._family.rows[name].id: after for name in family}
        versions = {**(running.versions if running and before not in (BEFORE, after) else {}), **reached}
        kept = {} if after == OVER else {name: dataclasses.asdict(pair) for name, pair in members.items()}
        began = running.started_at if running and before != BEFORE else self._now()
        pair = members[row.name]
        rotation = RotationRow(
            row.name, after, self._vault.seal(kept).encode(), versions, running.user if running and before != BEFORE else user, began,
            self._now(), {side: {"fingerprint": certificates.fingerprint(one.certificate), "expires_at": certificates.expiry(
                {"certificate": one.certificate})} for side, one in (("old", pair.old), ("new", pair.new))})
        return Step(row.name, before, after, fresh, tuple(family), rotation)

    def _members(self, row: RotationRow | None) -> dict[str, Pair]:
        """Who is in the rotation with two identities; one that was made anew meanwhile is not any more."""
        if row is None or row.stage == OVER:
            return {}
        pairs = {name: Pair(Identity(**pair["old"]), Identity(**pair["new"])) for name, pair in self._vault.unseal(
            row.sealed.decode()).items()}
        return {
            name: pair for name, pair in pairs.items() if name in self._family.rows
            and self._value(name)["private_key"] in (pair.old.private_key, pair.new.private_key)}

    def _joined_late(self, name: str, members: Mapping[str, Pair]) -> tuple[list[str], list[str]]:
        """CAs of the family that have one identity only: below the old ones (all of them before the first step), below the new ones."""
        by_old: list[str] = []
        by_new: list[str] = []
        for item in self._family.below(name):
            pem, signer = self._value(item)["certificate"], self._family.signer.get(item)
            if item in members or (item != name and not certificates.request_of(pem).is_ca):
                continue
            pair = members.get(signer or "") if item != name else None
            new = signer in by_new or (pair is not None and certificates.is_issued_by(pem, pair.new.certificate))
            (by_new if new else by_old).append(item)
        return by_old, by_new

    def _renewed_members(self, names: Iterable[str], members: Mapping[str, Pair]) -> dict[str, Pair]:
        """A new key and certificate beside the old for each."""
        made: dict[str, Pair] = {}
        for name in names:
            value = self._value(name)
            signer = self._family.signer.get(name)
            above = made.get(signer or "") or members.get(signer or "")
            if above is not None:
                authority: certificates.Signer | None = _authority(above.new)
            elif signer is not None:
                authority = certificates.Signer.of(self._value(signer))
            elif certificates.is_self_signed(value["certificate"]):
                authority = None
            else:
                raise _foreign(name)
            new = self._made_like(value["certificate"], authority, name)
            made[name] = Pair(Identity(value["certificate"], value["private_key"]), Identity(new["certificate"], new["private_key"]))
        return made

    def _at(self, stage: int, members: Mapping[str, Pair], family: Iterable[str]) -> Iterator[Fresh]:
        """The family as it is at a stage, signers first; what stays as it is gives no new version."""
        values: dict[str, dict[str, str]] = {}
        ids: dict[str, str] = {}
        for name in family:
            row, value = self._family.rows[name], self._value(name)
            signer = self._family.signer.get(name)
            new, own, above = dict(value), members.get(name), members.get(signer or "")
            if own is not None:
                new |= {"certificate": own.trusted(stage), "private_key": own.signing(stage).private_key}
            elif above is not None and signer in values and self._must_be_signed(value, above, stage):
                new |= self._made_like(value["certificate"], _authority(above.signing(stage)), name)
            if signer in values:
                chain = certificates.bundle(values[signer]["certificate"], *(
                    [] if self._family.signer.get(signer) is None else [values[signer]["ca"]]))
                new["ca"] = self._trust(chain, value["ca"], members, stage)
            elif signer is None:
                new["ca"] = new["certificate"]
            values[name], ids[name] = new, row.id
            if new != value:
                fresh = self._fresh(row, new, ids.get(signer or "") or row.signed_by, _what(
                    stage, renewed=new["private_key"] != value["private_key"], signs=own is not None))
                ids[name] = fresh.row.id
                yield fresh

    @staticmethod
    def _must_be_signed(value: Mapping[str, str], signer: Pair, stage: int) -> bool:
        by_new = certificates.is_issued_by(value["certificate"], signer.new.certificate)
        return not by_new if stage >= SIGNING else by_new

    @staticmethod
    def _trust(chain: str, held: str, members: Mapping[str, Pair], stage: int) -> str:
        """Of what was trusted before nothing is dropped while both are; going back, the new ones are."""
        if stage == OVER:
            return chain
        if stage == BEFORE:
            dropped = {one for pair in members.values() for one in certificates.split(pair.new.certificate)}
            return "".join(one for one in certificates.split(held) if one not in dropped)
        return certificates.bundle(chain, held)

    def _made_like(self, pem: str, signer: certificates.Signer | None, name: str) -> dict[str, str]:
        try:
            request = certificates.request_of(pem)
        except ValueError as error:
            raise ConflictError(f"'{name}' cannot be made anew: {error}", suggestion="Import another one.") from error
        return certificates.make(request, self._keys.take(request.key_length), signer, self._now)

    def _fresh(self, row: VariableRow, value: dict[str, str], signed_by: str, what: str) -> Fresh:
        return Fresh(self._vault.version(
            row.name, row.type, value, options=self._vault.options(row), definition_digest=row.definition_digest,
            signed_by=signed_by), value, what)

    def _value(self, name: str) -> dict[str, str]:
        value: dict[str, str] = self._vault.value(self._family.rows[name].id)
        return value


def _what(stage: int, *, renewed: bool, signs: bool) -> str:
    if renewed and not signs:
        return "signed anew"
    if renewed and stage == TRUSTED:
        return "the old CA signs again"
    return {BEFORE: "as before", TRUSTED: "new CA trusted", SIGNING: "new CA signs", OVER: "old CA dropped"}[stage]


def _authority(identity: Identity) -> certificates.Signer:
    return certificates.Signer.of({"certificate": identity.certificate, "private_key": identity.private_key, "ca": ""})


def _no_signer(name: str) -> None:
    raise KeyError(name)


def _foreign(name: str) -> ConflictError:
    return ConflictError(f"'{name}' was signed by a CA that this director does not hold, so it cannot be signed anew",
                         suggestion="Have it signed there, and import it.")
