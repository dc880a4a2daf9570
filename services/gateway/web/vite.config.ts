import { defineConfig } from "vite";

// `make page` builds into dist/, which is committed: running Hearth needs no Node.
export default defineConfig({
  base: "/",
  build: {
    target: ["chrome123", "firefox128", "safari17.5"], // all of them know light-dark()
    assetsInlineLimit: 0, // the content security policy allows no data: URLs
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    // `npm run dev` beside a running `hearth up`.
    proxy: Object.fromEntries(
      ["/hearth", "/readyz", "/healthz"].map((path) => [path, "http://127.0.0.1:8080"]),
    ),
  },
});
