"""The peers' own classes for the same events, derived from ours: the same fields, types and checks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
import pydantic
from msgspec import UNSET, Meta, Struct

from rxruns import events

Decode = Callable[[bytes], object]


def msgspec_decoder() -> Decode:
    """msgspec alone: a tagged union of structs with msgspec's defaults, the same types and bounds."""
    classes = tuple(_default_struct(event) for event in events.KNOWN_EVENTS)
    return msgspec.json.Decoder(Union[classes]).decode  # type: ignore[valid-type]  # noqa: UP007


def pydantic_decoder() -> Decode:
    """pydantic v2: a discriminated union of strict models, the same fields and checks."""
    models = tuple(_model(event) for event in events.KNOWN_EVENTS)
    union = Annotated[Union[models], pydantic.Field(discriminator="type")]  # type: ignore[valid-type]  # noqa: UP007
    return pydantic.TypeAdapter(union).validate_json


@cache
def _default_struct(struct: type[Struct]) -> type[Struct]:
    required: list[Any] = []
    optional: list[Any] = []
    for name, annotation, default in _fields(struct):
        annotation = _translated(annotation, _default_struct, Meta)
        if default is msgspec.NODEFAULT:
            required.append((name, annotation))
        else:
            optional.append((name, annotation, default))
    config = struct.__struct_config__
    return msgspec.defstruct(
        struct.__name__,
        required + optional,
        tag_field=config.tag_field,
        tag=config.tag,
        rename=_renamed(struct),
    )


@cache
def _model(struct: type[Struct]) -> type[pydantic.BaseModel]:
    fields: dict[str, Any] = {}
    renamed = _renamed(struct)
    for name, annotation, default in _fields(struct):
        annotation = _translated(annotation, _model, _constraint)
        options = {"alias": renamed[name]} if name in renamed else {}
        fields[name] = (
            annotation,
            pydantic.Field(... if default is msgspec.NODEFAULT else default, **options),
        )
    if struct.__struct_config__.tag is not None:
        fields["type"] = (Literal[struct.__struct_config__.tag], ...)
    return pydantic.create_model(
        struct.__name__,
        __config__=pydantic.ConfigDict(strict=True),
        __validators__=_rules(struct),
        **fields,
    )


def _fields(struct: type[Struct]) -> list[tuple[str, Any, Any]]:
    hints = get_type_hints(struct, include_extras=True)
    defaults = {field.name: field for field in msgspec.structs.fields(struct)}
    fields = []
    for name in struct.__struct_fields__:
        default = defaults[name].default
        if defaults[name].default_factory is not msgspec.NODEFAULT:
            default = defaults[name].default_factory()
        fields.append((name, hints[name], default))
    return fields


def _renamed(struct: type[Struct]) -> dict[str, str]:
    pairs = zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True)
    return {name: wire for name, wire in pairs if name != wire}


def _translated(annotation: Any, twin: Callable[[Any], Any], constraint: Callable[..., Any]) -> Any:
    """The same type, with our structs and bounds exchanged for the peer's."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return twin(annotation)
    if origin is Annotated:
        inner, meta = get_args(annotation)
        bounds = {name: getattr(meta, name) for name in ("ge", "min_length", "pattern", "tz")}
        if inner is datetime and constraint is _constraint:
            return pydantic.AwareDatetime
        made = constraint(**{name: bound for name, bound in bounds.items() if bound is not None})
        return Annotated[_translated(inner, twin, constraint), made]
    if origin is tuple:
        return tuple[_translated(get_args(annotation)[0], twin, constraint), ...]  # type: ignore[misc]
    if origin is not None and type(None) in get_args(annotation):
        (inner,) = (option for option in get_args(annotation) if option is not type(None))
        return _translated(inner, twin, constraint) | None
    return annotation


def _constraint(**bounds: Any) -> Any:
    if "pattern" in bounds:
        bounds["pattern"] = bounds["pattern"].replace(r"\Z", r"\z")  # as Rust spells it
    return pydantic.Field(**bounds)


def _rules(struct: type[Struct]) -> dict[str, Any]:
    """The rules between fields, and that of the nil id: ``__post_init__`` of ours."""
    if issubclass(struct, events.StepPayload):
        return {"not_nil": pydantic.field_validator("request_id")(_not_nil)}
    if issubclass(struct, events.ExcludedArtifact):
        return {"excluded": pydantic.model_validator(mode="after")(_excluded)}
    if issubclass(struct, events.PayloadArtifact):
        return {"content_is_there": pydantic.model_validator(mode="after")(_content_is_there)}
    return {}


def _not_nil(value: UUID) -> UUID:
    if value == events.NIL:
        raise ValueError("must not be the nil UUID")
    return value


def _excluded(artifact: Any) -> Any:
    if artifact.info.included:
        raise ValueError("must have included = false")
    return artifact


def _content_is_there(artifact: Any) -> Any:
    if artifact.info.included and artifact.content is UNSET:
        raise ValueError("is missing although info.included is true")
    return artifact
