"""What the schema says beside what it sees in the views."""

from typing import Any

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "description": "Stable, for programs."},
                "message": {"type": "string", "description": "Cause and next step, for people."},
                "fields": {
                    "type": "object",
                    "description": "The inputs at fault, by their path in the body.",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                },
            },
        }
    },
}


def describe_errors(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Every operation may refuse, and refuses in one shape (drf-spectacular's hook)."""
    result["components"].setdefault("schemas", {})["Error"] = _ERROR
    refusal = {
        "description": "Any refusal: 4xx, or a 5xx that names its cause.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for methods in result["paths"].values():
        for operation in methods.values():
            if isinstance(operation, dict) and "responses" in operation:
                operation["responses"]["default"] = refusal
    return result
