/** The Python that does what the page does, for three clients. */

import type { Steering } from "../api/types";
import { settings, turns } from "./chat";
import { labelOf } from "./features";
import { key, modelId } from "./session";
import { steering } from "./steering";

export const CLIENTS = { ember: "Ember SDK (goodfire)", openai: "OpenAI SDK", grpc: "gRPC" } as const;
export type Client = keyof typeof CLIENTS;

export function pythonFor(client: Client): string {
  const situation = {
    steering: steering.value,
    model: modelId(),
    question: turns.value.at(-1)?.question ?? "What did you do this weekend?",
    seed: settings.value.seed || turns.value.at(-1)?.answers[0]?.value.seed || "1",
    temperature: settings.value.temperature,
    maxTokens: settings.value.maxTokens,
    key: key.value ? 'os.environ["HEARTH_KEY"]' : '"dev"',
    imports: key.value ? "import os\n\n" : "",
  };
  return { ember, openai, grpc }[client](situation);
}

interface Situation {
  steering: Steering;
  model: string;
  question: string;
  seed: string;
  temperature: number;
  maxTokens: number;
  /** A Python expression; the key itself is never written down. */
  key: string;
  imports: string;
}

const quote = (text: string) => JSON.stringify(text);

function ember(it: Situation): string {
  const nudges = (it.steering.edits ?? []).filter((edit) => edit.nudge !== undefined);
  const indices = nudges.map((edit) => edit.feature?.index ?? 0);
  const others = (it.steering.edits?.length ?? 0) - nudges.length + (it.steering.scopes?.length ?? 0);
  const sets = nudges.map(
    (edit) =>
      `variant.set(features[${edit.feature?.index ?? 0}], ${edit.nudge})  # ${labelOf(edit.feature ?? {})}`,
  );
  return `# pip install goodfire==0.3.5
${it.imports}import goodfire

client = goodfire.Client(api_key=${it.key}, base_url=${quote(location.origin)})
variant = goodfire.Variant(${quote(it.model)})
${indices.length ? `\nfeatures = client.features.lookup([${indices.join(", ")}], model=variant)\n${sets.join("\n")}\n` : ""}${
    others
      ? "\n# Variant.set knows nudges alone: pins, scales and conditions need one of the other two clients.\n"
      : ""
  }
answer = client.chat.completions.create(
    [{"role": "user", "content": ${quote(it.question)}}],
    model=variant,
    max_completion_tokens=${it.maxTokens},
    temperature=${it.temperature},
    top_p=1.0,
    seed=${it.seed},
    system_prompt=${quote(settings.value.system)},
)
print(answer.choices[0].message["content"])
`;
}

function openai(it: Situation): string {
  return `# pip install openai
${it.imports}from openai import OpenAI

client = OpenAI(api_key=${it.key}, base_url=${quote(`${location.origin}/v1`)})
steering = ${literal(plain(it.steering))}

answer = client.chat.completions.create(
    model=${quote(it.model)},
    messages=${messages(it.question)},
    max_tokens=${it.maxTokens},
    temperature=${it.temperature},
    seed=${it.seed},
    extra_body={"steering": steering},
)
print(answer.choices[0].message.content)
`;
}

function grpc(it: Situation): string {
  return `# Beside Hearth's source: .venv/bin/python; the stubs are in protos/gen.
import grpc
from google.protobuf.json_format import ParseDict

from hearth.v1 import inference_service_pb2 as inference
from hearth.v1 import inference_service_pb2_grpc as inference_grpc

request = ParseDict(
    {
        "model": ${quote(it.model)},
        "prompt": {"chat": {"messages": ${grpcMessages(it.question)}}},
        "steering": ${literal(plain(it.steering), 8)},
        "sampling": {"temperature": ${it.temperature}, "maxTokens": ${it.maxTokens}, "seed": ${it.seed}},
    },
    inference.GenerateRequest(),
)
with grpc.insecure_channel(${quote(`${location.hostname}:50051`)}) as channel:
    for event in inference_grpc.InferenceServiceStub(channel).Generate(request):
        print(event.delta.text, end="", flush=True)
`;
}

const system = () => settings.value.system.trim();

function messages(question: string): string {
  const opening = system() ? `{"role": "system", "content": ${quote(system())}}, ` : "";
  return `[${opening}{"role": "user", "content": ${quote(question)}}]`;
}

function grpcMessages(question: string): string {
  const opening = system() ? `{"role": "ROLE_SYSTEM", "content": ${quote(system())}}, ` : "";
  return `[${opening}{"role": "ROLE_USER", "content": ${quote(question)}}]`;
}

/** Without what is empty or says nothing. */
function plain(steering: Steering): unknown {
  const kept = (value: unknown) =>
    !(Array.isArray(value) && !value.length) && !String(value).endsWith("_UNSPECIFIED");
  return Object.fromEntries(
    Object.entries(steering).filter(([, value]) => value !== undefined && kept(value)),
  );
}

/** JSON as Python writes it. */
function literal(value: unknown, indent = 0): string {
  const words: Record<string, string> = { true: "True", false: "False", null: "None" };
  const text = JSON.stringify(value, null, 4).replace(
    /("(?:[^"\\]|\\.)*")|\b(true|false|null)\b/g,
    (all, quoted, word) => quoted ?? words[word] ?? all,
  );
  return text.replaceAll("\n", `\n${" ".repeat(indent)}`);
}
