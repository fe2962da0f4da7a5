"""Who may do what, as two tables for people to read: what each route is about, and who may do that in which mode.

They are written down here once more, and not taken from the application, so that a slip there is seen.
"""

# Outcomes: ``ok`` is let in, whatever comes of it then; anything else is the code of the refusal.
STATUS = {"invalid_api_key": 401, "owner_only": 403, "origin_not_allowed": 403}
OK = "ok"

# Route, as Flask knows it -> what it is about. ``open``: says nothing of anybody. ``turns``: asking, and what is the
# caller's own. ``numbers``: what the service counts. ``login``: whose account it is.
ROUTES = """
GET     /health                                  open
GET     /ready                                   open
POST    /chat/completions                        turns
POST    /completions                             turns
POST    /responses                               turns
GET     /responses                               turns
POST    /responses/compact                       turns
POST    /responses/input_tokens                  turns
GET     /responses/<id>                          turns
DELETE  /responses/<id>                          turns
GET     /responses/<id>/input_items              turns
POST    /responses/<id>/cancel                   turns
GET     /models                                  turns
GET     /models/<path:name>                      turns
GET     /quota                                   turns
GET     /openapi.json                            turns
GET     /docs                                    turns
POST    /backend-api/codex/responses             turns
GET     /backend-api/codex/responses             turns
POST    /backend-api/codex/responses/compact     turns
GET     /backend-api/codex/models                turns
GET     /backend-api/wham/usage                  turns
GET     /backend-api/wham/accounts/check         turns
GET     /metrics                                 numbers
POST    /auth/login                              login
POST    /auth/device                             login
POST    /auth/callback                           login
GET     /auth/status                             login
POST    /auth/logout                             login
"""

# Callers: ``page`` is a stranger's web page in this machine's browser, ``forwarded`` came through a proxy.
ACCESS = """
mode      caller        open   turns               numbers             login
keyless   none          ok     ok                  ok                  ok
keyless   wrong         ok     ok                  ok                  ok
keyless   forwarded     ok     origin_not_allowed  origin_not_allowed  origin_not_allowed
keyless   page          ok     origin_not_allowed  origin_not_allowed  origin_not_allowed
keyed     none          ok     invalid_api_key     invalid_api_key     invalid_api_key
keyed     wrong         ok     invalid_api_key     invalid_api_key     invalid_api_key
keyed     disabled      ok     invalid_api_key     invalid_api_key     invalid_api_key
keyed     forwarded     ok     invalid_api_key     invalid_api_key     invalid_api_key
keyed     page          ok     invalid_api_key     invalid_api_key     invalid_api_key
keyed     user          ok     ok                  owner_only          owner_only
keyed     other         ok     ok                  owner_only          owner_only
keyed     metrics       ok     owner_only          ok                  owner_only
keyed     admin         ok     ok                  ok                  ok
keyed     owner         ok     ok                  ok                  ok
open      none          ok     ok                  ok                  ok
open      wrong         ok     ok                  ok                  ok
open      forwarded     ok     ok                  owner_only          owner_only
open      page          ok     origin_not_allowed  origin_not_allowed  origin_not_allowed
both      none          ok     ok                  invalid_api_key     invalid_api_key
both      wrong         ok     ok                  invalid_api_key     invalid_api_key
both      disabled      ok     ok                  invalid_api_key     invalid_api_key
both      forwarded     ok     ok                  invalid_api_key     invalid_api_key
both      page          ok     origin_not_allowed  origin_not_allowed  origin_not_allowed
both      user          ok     ok                  owner_only          owner_only
both      other         ok     ok                  owner_only          owner_only
both      metrics       ok     owner_only          ok                  owner_only
both      admin         ok     ok                  ok                  ok
both      owner         ok     ok                  ok                  ok
"""

_HEAD, *_ROWS = [line.split() for line in ACCESS.strip().splitlines()]

# (method, rule) -> what it is about.
SUBJECTS = {(method, rule): about for method, rule, about in map(str.split, ROUTES.strip().splitlines())}
# (mode, caller) -> what a route is about -> outcome.
OUTCOMES = {(row[0], row[1]): dict(zip(_HEAD[2:], row[2:], strict=True)) for row in _ROWS}
MODES = tuple(dict.fromkeys(mode for mode, _ in OUTCOMES))
