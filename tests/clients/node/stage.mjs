// Plays scenes for tests: one JSON object a line in, one out; see tests/clients/player.py.
import { createInterface } from "node:readline";

function toldOf(error) {
  const { status, code, param, statusCode } = error;
  return { type: error.constructor.name, message: error.message, status_code: status ?? statusCode, code, param, kind: error.type };
}

export async function perform(scenes) {
  console.log = console.info = console.warn = console.error;
  for await (const line of createInterface({ input: process.stdin })) {
    const { scene, args } = JSON.parse(line);
    let answer;
    try {
      answer = { result: (await scenes[scene](args)) ?? null };
    } catch (error) {
      console.error(error);
      answer = { raised: toldOf(error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
}
