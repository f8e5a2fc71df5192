"""The types of loading: a schema of one kind of value loads that kind."""

# marshmallow is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

import marshmallow as ma

__all__ = ["Names", "Partial", "TypedSchema", "Unknown"]

T = TypeVar("T")
Unknown = Literal["raise", "exclude", "include"]
Names: TypeAlias = Sequence[str] | AbstractSet[str]
Partial: TypeAlias = bool | Names


class TypedSchema(ma.Schema, Generic[T]):
    """A schema whose ``load`` has the type of its values. Subclasses override :meth:`_load`."""

    @overload  # type: ignore[override]  # narrower: the loaded type is known
    def load(
        self,
        data: Any,
        *,
        many: Literal[False] | None = None,
        partial: None = None,
        unknown: Unknown | None = None,
    ) -> T: ...
    @overload
    def load(
        self, data: Any, *, many: Literal[True], partial: None = None, unknown: Unknown | None = None
    ) -> list[T]: ...
    @overload
    def load(
        self,
        data: Any,
        *,
        many: Literal[False] | None = None,
        partial: Partial | None,
        unknown: Unknown | None = None,
    ) -> T | dict[str, Any]: ...
    @overload
    def load(
        self, data: Any, *, many: Literal[True], partial: Partial | None, unknown: Unknown | None = None
    ) -> list[T | dict[str, Any]]: ...
    def load(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        data: Any,
        *,
        many: bool | None = None,
        partial: Partial | None = None,
        unknown: Unknown | None = None,
    ) -> Any:
        """Validate a record and return its value, or a dict for a part of a record. A list with ``many``."""
        return self._load(data, many, partial, unknown)

    def _load(self, data: Any, many: bool | None, partial: Partial | None, unknown: Unknown | None) -> Any:
        return super().load(data, many=many, partial=partial, unknown=unknown)
