"""What some clients need done differently, by the names of their profiles.

See docs/reference/clients.md#habits-of-clients.

API formats ask for these by name, so that the table says all there is about a client.
"""

# Custom tools' calls go out as function calls; Cursor knows no others (docs/reference/clients.md#cursors-applypatch).
GRAMMAR_TOOLS_AS_FUNCTIONS = "grammar_tools_as_functions"

# A delta without the key ``content`` ends the answer of some builds
# (docs/reference/clients.md#chunks-without-a-content-key).
CONTENT_IN_EVERY_DELTA = "content_in_every_delta"

# What the user is given is the final object, so its ``output`` must not be empty.
READS_FINAL_OBJECT = "reads_final_object"

# Nothing may come before ``response.created`` (docs/reference/clients.md#openai-sdks).
BEGINS_WITH_CREATED = "begins_with_created"

# The published schema knows no ``type`` but "function" in chunks. The platform sends
# "custom" all the same, and OpenAI's own libraries cannot do without it.
TYPE_OF_CUSTOM_CALLS = "type_of_custom_calls"

QUIRKS: dict[str, frozenset[str]] = {
    "cursor": frozenset({GRAMMAR_TOOLS_AS_FUNCTIONS}),
    "cline": frozenset({CONTENT_IN_EVERY_DELTA}),
    "roo-code": frozenset({CONTENT_IN_EVERY_DELTA}),
    "openai-sdk": frozenset({READS_FINAL_OBJECT, BEGINS_WITH_CREATED, TYPE_OF_CUSTOM_CALLS}),
    "n8n": frozenset({READS_FINAL_OBJECT}),
    "litellm": frozenset({READS_FINAL_OBJECT}),
}


def quirks_of(client: str) -> frozenset[str]:
    """What this client needs done differently; nothing for most."""
    return QUIRKS.get(client, frozenset())
