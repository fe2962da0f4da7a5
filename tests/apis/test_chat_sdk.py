"""What the official SDK's own accumulator makes of our chunks."""

import json
from typing import Any

import pytest
from openai import LengthFinishReasonError
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.apis.chat_reading import completed, ended, events, message, renderer_of, text_delta
from tests.apis.recorded import Recording, each_recording

FAILED = "error_then_failed_quota"


def accumulated(stream: bytes) -> ChatCompletionStreamState[Any]:
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    for line in stream.decode().split("\n\n"):
        if line.startswith("data: {"):
            state.handle_chunk(ChatCompletionChunk.model_validate(json.loads(line[6:])))
    return state


@each_recording()
def test_a_recorded_stream_is_accumulated(recording: Recording):
    if recording.name == FAILED:
        return
    stream = renderer_of(stream_options={"include_usage": True}).render(recording.events())
    snapshot = accumulated(stream).current_completion_snapshot
    answer = snapshot.choices[0].message
    assert (answer.content or "") == recording.expected["output_text"]
    assert answer.refusal == recording.expected["refusal"]
    functions = [call.function for call in answer.tool_calls or [] if call.function]
    assert [(function.name, function.arguments) for function in functions] == [
        (call["name"], call["arguments"]) for call in recording.expected["function_calls"]
    ]
    assert snapshot.usage is not None
    assert snapshot.usage.total_tokens == recording.expected["usage"]["total_tokens"]


def test_an_answer_that_was_cut_raises_the_sdks_own_error():
    stream = renderer_of().render(events(text_delta("x"), ended("response.incomplete")))
    with pytest.raises(LengthFinishReasonError):
        accumulated(stream).get_final_completion()


def test_the_final_object_is_the_sdks_type():
    told = ChatCompletion.model_validate(completed(events(ended(output=[message("hi")]))))
    assert told.choices[0].message.content == "hi"
    assert told.usage is not None and told.usage.prompt_tokens_details is not None
    assert told.usage.prompt_tokens_details.cached_tokens == 5
