#!/usr/bin/env bash
# Calls every route of a running server with curl, streamed and not, with and without /v1.
#
#   tests/smoke/curl.sh [BASE_URL] [KEY]
#
# BASE_URL defaults to http://127.0.0.1:3000, KEY to $PROXY_API_KEY. SMOKE_MODEL chooses the model;
# without it the first listed one is asked. Prints one line per check and exits 1 if any failed.
set -u

base=${1:-http://127.0.0.1:3000}
base=${base%/}
base=${base%/v1}
key=${2:-${PROXY_API_KEY:-}}

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
# The key goes through a file, since the process list is for everybody.
options=$work/curlrc
(umask 077 && : >"$options")
present() { # present HEADER-AND-SCHEME: sends the key with every call from now on
  local quoted=${key//\\/\\\\}
  printf 'header = "%s%s"\n' "$1" "${quoted//\"/\\\"}" >"$options"
}
[ -z "$key" ] || present 'Authorization: Bearer '

passed=0
failed=0
status=000

# call CURL-ARGUMENTS...: sets status, and leaves the answer in body and head.
call() {
  : >"$work/body"
  : >"$work/head"
  status=$(curl -q -K "$options" -sS -N --max-time 120 -D "$work/head" -o "$work/body" -w '%{http_code}' "$@" 2>"$work/error")
}

post() { # post PATH BODY [CURL-ARGUMENTS...]
  local path=$1 body=$2
  shift 2
  call -X POST "$base$path" -H 'content-type: application/json' --data-binary "$body" "$@"
}

fail() {
  failed=$((failed + 1))
  printf 'FAIL  %s: %s\n' "$1" "$2"
  sed -n '1,5p' "$work/error" "$work/body" | cut -c1-300 | sed 's/^/      /'
}

# expect NAME STATUS PATTERN...: judges the last call; every pattern must be found in its head or body.
expect() {
  local name=$1 wanted=$2 pattern
  shift 2
  if [ "$status" != "$wanted" ]; then
    fail "$name" "status $status instead of $wanted"
    return
  fi
  for pattern in "$@"; do
    if ! grep -Eqi -- "$pattern" "$work/head" "$work/body"; then
      fail "$name" "nothing like $pattern in the answer"
      return
    fi
  done
  passed=$((passed + 1))
  printf 'ok    %s\n' "$name"
}

ends_with() { # ends_with NAME TEXT: the last line that is not blank
  if [ "$(grep -v '^[[:space:]]*$' "$work/body" | tail -n 1 | tr -d '\r')" != "$2" ]; then
    fail "$1" "the stream does not end with $2"
  fi
}

json='^content-type: application/json'
sse='^content-type: text/event-stream'

call "$base/health"
if [ "$status" = 000 ]; then
  printf 'Nothing answers at %s: %s\n' "$base" "$(cat "$work/error")" >&2
  exit 1
fi
expect 'GET /health' 200 "$json" '"status": ?"ok"' '"version"'
call "$base/ready"
expect 'GET /ready' 200 "$json"

call "$base/v1/models"
expect 'GET /v1/models' 200 "$json" '"object": ?"list"' '"owned_by": ?"codex"' '^x-request-id: '
model=${SMOKE_MODEL:-$(grep -Eo '"id": ?"[^"]+"' "$work/body" | head -n 1 | sed -E 's/.*"([^"]+)"$/\1/')}
model=${model:-gpt-5.2-codex}
for path in /models /v1/models/ /v1/v1/models; do
  call "$base$path"
  expect "GET $path" 200 "$json" "\"id\": ?\"$model\""
done
for prefix in /v1 ''; do
  call "$base$prefix/models/$model"
  expect "GET $prefix/models/$model" 200 "$json" "\"id\": ?\"$model\"" '"object": ?"model"'
done
call "$base/v1/models/no-such-model"
expect 'GET /v1/models/no-such-model' 404 "$json" '"code": ?"model_not_found"'

messages='"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}]'
for prefix in /v1 ''; do
  name="POST $prefix/chat/completions"
  post "$prefix/chat/completions" "{\"model\": \"$model\", $messages}"
  expect "$name" 200 "$json" '"object": ?"chat.completion"' '"finish_reason": ?"stop"' '"total_tokens"' "\"model\": ?\"$model\""
  post "$prefix/chat/completions" "{\"model\": \"$model\", \"stream\": true, $messages}"
  expect "$name, streamed" 200 "$sse" '"object": ?"chat.completion.chunk"' '"finish_reason": ?"stop"'
  ends_with "$name, streamed" 'data: [DONE]'

  name="POST $prefix/responses"
  post "$prefix/responses" "{\"model\": \"$model\", \"input\": \"Say hello.\"}"
  expect "$name" 200 "$json" '"object": ?"response"' '"status": ?"completed"' '"output_text"'
  post "$prefix/responses" "{\"model\": \"$model\", \"input\": \"Say hello.\", \"stream\": true}"
  expect "$name, streamed" 200 "$sse" '^event: response.output_text.delta' '^event: response.completed'
done

post /v1/chat/completions "{\"model\": \"$model-low\", $messages}"
expect 'an effort by name is echoed' 200 "\"model\": ?\"$model-low\""
post /v1/chat/completions "{\"model\": \"$model\", \"temperature\": 0, $messages}"
expect 'an ignored field is reported' 200 '^x-codexproxy-ignored: .*temperature'
call "$base/health" -H 'x-request-id: smoke-4711'
expect "the caller's request id comes back" 200 '^x-request-id: smoke-4711'

if command -v gzip >/dev/null; then
  printf '{"model": "%s", %s}' "$model" "$messages" | gzip -c >"$work/packed"
  call "$base/v1/chat/completions" -H 'content-encoding: gzip' --data-binary "@$work/packed"
  expect 'a body packed with gzip' 200 "$json" '"object": ?"chat.completion"'
fi

call "$base/v1/no-such-route"
expect 'an unknown route' 404 "$json" '"code": ?"unknown_url"'
call "$base/v1/completions"
expect 'a wrong method' 405 "$json" '"error"' '^allow: .*POST'
post /v1/chat/completions '{"model": '
expect 'JSON that is cut off' 400 "$json" '"code": ?"invalid_json"' 'line 1' 'column'
post /v1/responses ''
expect 'no body at all' 400 "$json" '"error"'
post /v1/chat/completions "{\"model\": \"$model\", \"messages\": \"hello\"}"
expect 'a field of the wrong type' 400 "$json" '"type": ?"invalid_request_error"' '"param": ?"messages"'
post /v1/chat/completions "{\"model\": \"$model\", \"stream\": true}"
expect 'a missing field, streamed' 400 "$json" '"code": ?"missing_required_parameter"' '"param": ?"messages"'

if [ -n "$key" ]; then
  : >"$options"
  call "$base/v1/models"
  expect 'without the key' 401 "$json" '"code": ?"invalid_api_key"'
  call "$base/v1/models" -H 'Authorization: Bearer wrong'
  expect 'with a wrong key' 401 "$json" '"code": ?"invalid_api_key"'
  call "$base/health"
  expect 'GET /health without the key' 200 '"status": ?"ok"'
  present 'x-api-key: '
  call "$base/v1/models"
  expect 'the key as x-api-key' 200 '"object": ?"list"'
fi

printf '%d checks passed, %d failed (%s, %s)\n' "$passed" "$failed" "$base" "$model"
[ "$failed" -eq 0 ]
