"""One schema that chooses among several, by the record."""

# marshmallow is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable
from typing import Any, TypeVar, cast

import marshmallow as ma
from marshmallow import exceptions

from rxruns.structschema import StructSchema, instance_of
from rxruns.structschema._loading import Names, Partial, TypedSchema, Unknown

__all__ = ["PolymorphicSchema"]

_T = TypeVar("_T")


class PolymorphicSchema(TypedSchema[_T]):
    """Load and dump with the schema of a record or value.

    Args:
        only, exclude, load_only, dump_only: names of fields. Each schema uses those that it has.
        many: load and dump lists.
        partial: the fields that may be missing, or True for all of them.
        unknown: the treatment of unknown fields, nested ones too. None: as in ``class Meta``.
    """

    def __init__(
        self,
        *,
        only: Names | None = None,
        exclude: Names = (),
        many: bool | None = None,
        load_only: Names = (),
        dump_only: Names = (),
        partial: Partial | None = None,
        unknown: Unknown | None = None,
    ) -> None:
        super().__init__(
            many=many, load_only=load_only, dump_only=dump_only, partial=partial, unknown=unknown
        )
        # Not as `self.only`: marshmallow would look them up in this schema, which has no fields.
        self._only = None if only is None else self._checked("only", only)
        self._excluded = self._checked("exclude", exclude)
        self._schemas: dict[type[StructSchema[Any]], StructSchema[Any]] = {}

    @abstractmethod
    def _kinds(self) -> Iterable[type[StructSchema[Any]]]:
        """Return all schemas."""

    @abstractmethod
    def _kind_of(self, record: dict[str, Any]) -> type[StructSchema[Any]]:
        """Return the schema of a record."""

    @abstractmethod
    def _record_of(self, obj: Any) -> dict[str, Any] | None:
        """Return the record to dump unchanged, for a value without a schema."""

    def _load(self, data: Any, many: bool | None, partial: Partial | None, unknown: Unknown | None) -> Any:
        if not (self.many if many is None else many):
            partial = self.partial if partial is None else partial
            return self._schema_of(data).load(data, partial=partial, unknown=unknown or self.unknown)
        if not isinstance(data, list):
            raise ma.ValidationError({exceptions.SCHEMA: ["Invalid input type."]}, data=data, valid_data=[])
        loaded: list[Any] = []
        messages: dict[int, Any] = {}
        for index, record in enumerate(data):
            try:
                loaded.append(self.load(record, many=False, partial=partial, unknown=unknown))
            except ma.ValidationError as error:
                messages[index] = error.messages
        if messages:
            raise ma.ValidationError(messages, data=data, valid_data=loaded)
        return loaded

    def validate(self, data: Any, *, many: bool | None = None, partial: Partial | None = None) -> Any:
        """Validate a record; return the messages by field, none if it is valid."""
        try:
            cast(Any, self).load(data, many=many, partial=partial)
        except ma.ValidationError as error:
            return error.messages
        return {}

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Return the record of a value, or a list of records with ``many=True``."""
        if self.many if many is None else many:
            return [self.dump(value, many=False) for value in obj]
        record = self._record_of(obj)
        if record is not None:
            return _selected(record, self._only, {*self._excluded, *self.load_only})
        return self._schema_of(obj if isinstance(obj, dict) else {"type": obj.type}).dump(obj)

    def _schema_of(self, record: Any) -> StructSchema[Any]:
        kind = self._kind_of(cast(dict[str, Any], record) if isinstance(record, dict) else {})
        if self._only is None and not (self._excluded or self.load_only or self.dump_only):
            return cast(StructSchema[Any], instance_of(kind))
        schema = self._schemas.get(kind)
        if schema is None:
            schema = self._schemas[kind] = self._selecting(kind)
        return schema

    def _selecting(self, kind: type[StructSchema[Any]]) -> StructSchema[Any]:
        """Return a schema with those of this one's fields that it has."""
        known = instance_of(kind).fields

        def has(names: Iterable[str]) -> list[str]:
            return [name for name in names if name.partition(".")[0] in known]

        return kind(
            only=None if self._only is None else has(self._only),
            exclude=has(self._excluded),
            load_only=has(self.load_only),
            dump_only=has(self.dump_only),
        )

    def _checked(self, option: str, names: Names) -> frozenset[str]:
        if isinstance(names, str):
            raise exceptions.StringNotCollectionError(f'"{option}" should be a list of strings')
        kinds = self._kinds() if names else ()
        known = {name for kind in kinds for name in instance_of(kind).fields}
        invalid = {name for name in names if name.partition(".")[0] not in known}
        if invalid:
            raise ValueError(f"Invalid fields for {self}: {invalid}.")
        return frozenset(names)


def _selected(
    record: dict[str, Any], only: Collection[str] | None, exclude: Collection[str]
) -> dict[str, Any]:
    """Select fields of a record without a schema, as `only` and `exclude` do for a schema."""
    if only is None and not exclude:
        return record
    named = record if only is None else {name.partition(".")[0] for name in only}
    found: dict[str, Any] = {}
    for name, value in record.items():
        if name in named and name not in exclude:
            below = f"{name}."
            inner = [path.removeprefix(below) for path in only or () if path.startswith(below)]
            left = [path.removeprefix(below) for path in exclude if path.startswith(below)]
            found[name] = _selected(value, inner or None, left) if isinstance(value, dict) else value
    return found
