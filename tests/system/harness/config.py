"""libconfig text from Python values."""


def _value(value, depth):
    pad = "  " * (depth + 1)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, dict):
        return "{\n" + "".join(f"{pad}{text}" for text in _settings(value, depth + 1)) + "  " * depth + "}"
    if all(isinstance(item, dict) for item in value) and value:
        return "( " + ", ".join(_value(item, depth) for item in value) + " )"
    return "[ " + ", ".join(_value(item, depth) for item in value) + " ]"


def _settings(values, depth):
    return [f"{key} = {_value(value, depth)};\n" for key, value in values.items()]


def config_text(values):
    """A config file's text; lists of dicts become libconfig lists, other lists arrays."""
    return "".join(_settings(values, 0))
