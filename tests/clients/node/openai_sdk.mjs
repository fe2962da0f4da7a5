// The official OpenAI Node SDK: Chat Completions with its tool runner, Responses with its state.
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { perform } from "./stage.mjs";

const Report = z.object({ city: z.string(), degrees: z.number() });

const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const weather = { name: "get_weather", description: "The weather of a city.", parameters };

const client = ({ base_url, retries = 0 }) => new OpenAI({ baseURL: base_url, apiKey: "any", maxRetries: retries });
const user = (content) => [{ role: "user", content }];

const chat = {
  async whole({ model, ask, more = {}, ...where }) {
    const answer = await client(where).chat.completions.create({ model, messages: user(ask), ...more });
    const [choice] = answer.choices;
    return {
      text: choice.message.content,
      refusal: choice.message.refusal,
      finish: choice.finish_reason,
      usage: [answer.usage.prompt_tokens, answer.usage.completion_tokens],
      request_id: answer._request_id,
    };
  },
  async streamed({ model, ask, ...where }) {
    const asked = { model, messages: user(ask), stream: true, stream_options: { include_usage: true } };
    const stream = client(where).chat.completions.stream(asked);
    const pieces = [];
    stream.on("content", (piece) => pieces.push(piece));
    const answer = await stream.finalChatCompletion();
    return {
      text: pieces.join(""),
      pieces: pieces.length,
      finish: answer.choices[0].finish_reason,
      usage: [answer.usage.prompt_tokens, answer.usage.completion_tokens],
    };
  },
  async tools({ model, ask, stream, ...where }) {
    const ran = [];
    const run = ({ city }) => {
      ran.push(city);
      return `21 degrees in ${city}`;
    };
    const tools = [{ type: "function", function: { ...weather, function: run, parse: JSON.parse } }];
    const runner = client(where).chat.completions.runTools({ model, messages: user(ask), tools, stream });
    return { text: await runner.finalContent(), ran };
  },
  async custom({ model, ask, ...where }) {
    const tools = [{ type: "custom", custom: { name: "patch" } }];
    const stream = client(where).chat.completions.stream({ model, messages: user(ask), tools });
    const [call] = (await stream.finalChatCompletion()).choices[0].message.tool_calls;
    return { type: call.type, ...call.custom };
  },
  async schema({ model, ask, ...where }) {
    const response_format = zodResponseFormat(Report, "report");
    const answer = await client(where).chat.completions.parse({ model, messages: user(ask), response_format });
    return answer.choices[0].message.parsed;
  },
  async image({ model, ask, image, ...where }) {
    const content = [{ type: "text", text: ask }, { type: "image_url", image_url: { url: image, detail: "low" } }];
    const answer = await client(where).chat.completions.create({ model, messages: user(content) });
    return { text: answer.choices[0].message.content };
  },
  async cancelled({ model, ask, ...where }) {
    const stream = await client(where).chat.completions.create({ model, messages: user(ask), stream: true });
    for await (const chunk of stream) {
      const said = chunk.choices[0]?.delta.content;
      if (said) return { first: said }; // Leaving the loop aborts the request.
    }
  },
};

async function toolLoop(api, asked, run, stream) {
  for (let input = asked.input, previous_response_id; ; ) {
    const body = { ...asked, input, previous_response_id };
    const response = stream
      ? await api.responses.stream(body).finalResponse()
      : await api.responses.create(body);
    const calls = response.output.filter((item) => item.type === "function_call");
    if (!calls.length) return response;
    previous_response_id = response.id;
    input = calls.map((call) => ({
      type: "function_call_output",
      call_id: call.call_id,
      output: run(JSON.parse(call.arguments)),
    }));
  }
}

const responses = {
  async whole({ model, ask, more = {}, ...where }) {
    const answer = await client(where).responses.create({ model, input: ask, ...more });
    return {
      text: answer.output_text,
      finish: answer.status,
      usage: [answer.usage.input_tokens, answer.usage.output_tokens],
      request_id: answer._request_id,
    };
  },
  async streamed({ model, ask, ...where }) {
    const stream = client(where).responses.stream({ model, input: ask });
    const pieces = [];
    stream.on("response.output_text.delta", (event) => pieces.push(event.delta));
    const answer = await stream.finalResponse();
    return {
      text: pieces.join(""),
      pieces: pieces.length,
      finish: answer.status,
      usage: [answer.usage.input_tokens, answer.usage.output_tokens],
    };
  },
  async tools({ model, ask, stream, ...where }) {
    const ran = [];
    const run = ({ city }) => {
      ran.push(city);
      return `21 degrees in ${city}`;
    };
    const tools = [{ type: "function", ...weather, strict: true }];
    const answer = await toolLoop(client(where), { model, input: user(ask), tools }, run, stream);
    return { text: answer.output_text, ran };
  },
  async schema({ model, ask, ...where }) {
    const text = { format: zodTextFormat(Report, "report") };
    return (await client(where).responses.parse({ model, input: ask, text })).output_parsed;
  },
  async image({ model, ask, image, ...where }) {
    const content = [{ type: "input_text", text: ask }, { type: "input_image", image_url: image, detail: "low" }];
    return { text: (await client(where).responses.create({ model, input: user(content) })).output_text };
  },
  async cancelled({ model, ask, ...where }) {
    const stream = await client(where).responses.create({ model, input: ask, stream: true });
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") return { first: event.delta };
    }
  },
};

const scenes = { chat, responses };

await perform(
  Object.fromEntries(
    Object.entries(scenes).flatMap(([mode, of]) => Object.entries(of).map(([name, scene]) => [`${mode}.${name}`, scene])),
  ),
);
