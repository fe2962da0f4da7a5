// The Vercel AI SDK: its OpenAI provider for Chat Completions and (by default) Responses, and the compatible one.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, isStepCount, Output, streamText, tool } from "ai";
import { z } from "zod";
import { perform } from "./stage.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

const Report = z.object({ city: z.string(), degrees: z.number() });

const models = {
  chat: ({ base_url, model }) => createOpenAI({ baseURL: base_url, apiKey: "any" }).chat(model),
  responses: ({ base_url, model }) => createOpenAI({ baseURL: base_url, apiKey: "any" })(model),
  compatible: ({ base_url, model }) =>
    createOpenAICompatible({
      name: "proxy",
      baseURL: base_url,
      apiKey: "any",
      includeUsage: true,
      supportsStructuredOutputs: true,
    }).chatModel(model),
};

const used = ({ inputTokens, outputTokens }) => [inputTokens, outputTokens];

// A stream of the SDK never throws by itself; it holds the error as a part.
async function read(result) {
  const pieces = [];
  for await (const part of result.stream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") pieces.push(part.text);
  }
  return pieces;
}

const scenes = {
  async whole(asked, { ask, system, reasoning }) {
    const answer = await generateText({ ...asked, instructions: system, prompt: ask, ...reasoning });
    return { text: answer.text, finish: answer.finishReason, usage: used(answer.usage), thought: answer.reasoningText };
  },
  async streamed(asked, { ask }) {
    const result = streamText({ ...asked, prompt: ask, onError() {} });
    const pieces = await read(result);
    return {
      text: pieces.join(""),
      pieces: pieces.length,
      finish: await result.finishReason,
      usage: used(await result.usage),
      thought: await result.reasoningText,
    };
  },
  async tools(asked, { ask, stream }) {
    const ran = [];
    const get_weather = tool({
      description: "The weather of a city.",
      inputSchema: z.object({ city: z.string() }),
      execute({ city }) {
        ran.push(city);
        return `21 degrees in ${city}`;
      },
    });
    const talk = { ...asked, prompt: ask, tools: { get_weather }, stopWhen: isStepCount(4) };
    if (!stream) return { text: (await generateText(talk)).text, ran };
    return { text: (await read(streamText({ ...talk, onError() {} }))).join(""), ran };
  },
  async schema(asked, { ask }) {
    return (await generateText({ ...asked, prompt: ask, output: Output.object({ schema: Report }) })).output;
  },
  async image(asked, { ask, image }) {
    const content = [{ type: "text", text: ask }, { type: "file", mediaType: "image/png", data: image.split(",")[1] }];
    return { text: (await generateText({ ...asked, messages: [{ role: "user", content }] })).text };
  },
  async cancelled(asked, { ask }) {
    const leaving = new AbortController();
    const result = streamText({ ...asked, prompt: ask, abortSignal: leaving.signal, onError() {} });
    for await (const piece of result.textStream) {
      leaving.abort();
      return { first: piece };
    }
  },
  async conversation(asked, { turns }) {
    const tools = {
      get_weather: tool({
        description: "The weather of a city.",
        inputSchema: z.object({ city: z.string() }),
        execute: ({ city }) => `21 degrees in ${city}`,
      }),
    };
    const messages = [];
    const texts = [];
    for (const ask of turns) {
      messages.push({ role: "user", content: ask });
      const answer = await generateText({ ...asked, messages, tools, stopWhen: isStepCount(4) });
      messages.push(...answer.responseMessages);
      texts.push(answer.text);
    }
    return { texts };
  },
};

const talk = (mode, scene) => (args) => scene({ model: models[mode](args), maxRetries: 0 }, args);

await perform(
  Object.fromEntries(
    Object.keys(models).flatMap((mode) =>
      Object.entries(scenes).map(([name, scene]) => [`${mode}.${name}`, talk(mode, scene)]),
    ),
  ),
);
