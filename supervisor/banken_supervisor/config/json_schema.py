"""The JSON Schema of banken.toml, for editors (taplo, Even Better TOML) and for programs that write the file."""

from __future__ import annotations

from typing import Any

from banken_supervisor.config.models import File

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """A fresh JSON Schema, draft 2020-12. Durations, sizes and budgets are patterns; descriptions say the rest."""
    made = _plain(File.model_json_schema(by_alias=True))
    assert isinstance(made, dict)
    return {"$schema": DIALECT, "title": "banken.toml", **made}


def _plain(node: Any) -> Any:
    """Without what TOML cannot have (null) and what only pydantic understands."""
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    # Its place in an "anyOf" says what null would: the key may be left out.
    kept = {key: _plain(value) for key, value in node.items() if not (key == "default" and value is None)}
    kept.pop("discriminator", None)
    choices = kept.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        choices = [each for each in choices if each != {"type": "null"}]
        if len(choices) == 1:
            kept.pop("anyOf")
            kept = {**choices[0], **kept}
        else:
            kept["anyOf"] = choices
    if isinstance(kept.get("title"), str) and "properties" not in kept:
        kept.pop("title")  # pydantic's titles of single keys only repeat the key
    return kept
