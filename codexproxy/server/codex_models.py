"""The catalogue as the Codex CLI reads it, and how the CLI learns that there is another.

See docs/reference/models.md#the-catalogue.
"""

import hashlib
from functools import lru_cache

from flask import Response, request

from codexproxy.errors import UpstreamFailed
from codexproxy.planning.model_catalog import ModelCatalog
from codexproxy.protocol.events import encode_json


def codex_models(catalogue: ModelCatalog) -> Response:
    """The catalogue as the CLI reads it; 304 for one who has it already.

    Raises:
        UpstreamFailed: Only names are known at this moment. The CLI has a list of its own for that.
    """
    if not catalogue.is_live:
        raise UpstreamFailed("Upstream's list of models is not known yet. Please try again soon.")
    body, tag = _listing(catalogue)
    response = Response(body, content_type="application/json", headers={"etag": tag})
    response.make_conditional(request)
    return response


def models_tag(catalogue: ModelCatalog) -> str | None:
    """The tag of the catalogue, which every turn tells: at another one the CLI fetches the list anew."""
    return _listing(catalogue)[1] if catalogue.is_live else None


# A worker has one catalogue at a time, and a new one every hour; keys that may not use all of it have their own.
@lru_cache(maxsize=8)
def _listing(catalogue: ModelCatalog) -> tuple[bytes, str]:
    body = encode_json({"models": catalogue.infos})
    return body, f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
