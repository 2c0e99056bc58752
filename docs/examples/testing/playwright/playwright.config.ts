import { defineConfig } from "@playwright/test";

const port = process.env.SHOP_PORT ?? "3000";

export default defineConfig({
  testMatch: "*.spec.ts",
  // The shop has MAILWRIGHT_URL and MAILWRIGHT_KEY from our own environment.
  webServer: { command: "node shop.mjs", port: Number(port), env: { SHOP_PORT: port } },
  use: {
    baseURL: `http://127.0.0.1:${port}`,
    // A browser of the system instead of Playwright's: CHROMIUM=/usr/bin/chromium
    launchOptions: { executablePath: process.env.CHROMIUM },
  },
});
