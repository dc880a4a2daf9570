// Bundles the browser's example into build/browser, which any web server can serve.

import { cp } from "node:fs/promises";

import { build } from "esbuild";

await build({
  entryPoints: ["examples/browser/chat.ts"],
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  outdir: "build/browser",
  logLevel: "warning",
});
await cp("examples/browser/index.html", "build/browser/index.html");
