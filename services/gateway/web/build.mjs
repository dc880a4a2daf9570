// Builds the page into dist/ and records which sources (and which OpenAPI document, from which the client is
// generated) it was built from, so that a test without Node can tell
// whether the two belong together.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "vite";

const FILES = [
  "../rest/openapi.json",
  "build.mjs",
  "index.html",
  "package.json",
  "package-lock.json",
  "tsconfig.json",
  "vite.config.ts",
];

const under = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).replaceAll("\\", "/"));

const outDir = process.argv[2] ?? "dist";
await build({ logLevel: "warn", build: { outDir, emptyOutDir: true } });
const digest = createHash("sha256");
for (const name of [...FILES, ...under("public"), ...under("src")].sort()) {
  digest.update(`${name}\n${createHash("sha256").update(readFileSync(name)).digest("hex")}\n`);
}
writeFileSync(join(outDir, "sources.sha256"), `${digest.digest("hex")}\n`);
