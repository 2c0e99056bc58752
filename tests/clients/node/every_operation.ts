// Calls every operation of openapi.yaml with the client that scripts/clients makes. The compiler holds the list complete and each call to
// the types; tests/it/clients.rs runs it against a live service, and holds what was called and answered against openapi.yaml.
import { createClient, type operations, type webhooks } from "mailwright-client";

declare const process: { env: Record<string, string> };

const client = createClient({ url: process.env.MAILWRIGHT_URL, key: process.env.MAILWRIGHT_KEY });

/** What an answer must have; its `data` is as the operation's type says. */
interface Answered {
  data?: unknown;
  error?: unknown;
  response: Response;
}

/** Ids of what the calls before made. */
const made = { message: "", webhook: "", copy: "", suppression: "", template: "" };

function given<Data>(answer: { data?: Data; error?: unknown; response: Response }): Data {
  if (answer.data === undefined) throw new Error(`${answer.response.url}: ${JSON.stringify(answer.error)}`);
  return answer.data;
}

async function until<Data>(read: () => Promise<Data>, wanted: (data: Data) => boolean): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if (wanted(await read())) return;
    await new Promise((done) => setTimeout(done, 20));
  }
  throw new Error(`what was waited for never came: ${wanted}`);
}

// In this order, one call for each operation: what makes something, what reads and changes it, what takes it away. An operation that is
// missing here is an error of the compiler which names it.
const calls: Record<Exclude<keyof operations, keyof webhooks>, () => Promise<Answered>> = {
  send: async () => {
    const answer = await client.POST("/v1/send", {
      params: { header: { "Idempotency-Key": "every-operation" } },
      body: { from: "shop@example.org", to: "ann@example.net", subject: "Hello", text: "It works." },
    });
    const { id, recipients } = given(answer);
    made.message = id;
    made.copy = recipients[0].id;
    return answer;
  },
  createWebhook: async () => {
    const answer = await client.POST("/v1/webhooks", { body: { url: "http://127.0.0.1:9/hook" } });
    made.webhook = given(answer).id;
    return answer;
  },
  createTemplate: async () => {
    const answer = await client.POST("/v1/templates", { body: { starter: "verification-code" } });
    made.template = given(answer).id;
    return answer;
  },

  getMessage: async () => {
    const read = () => client.GET("/v1/messages/{id}", { params: { path: { id: made.message } } });
    await until(read, (answer) => given(answer).status === "delivered");
    return read();
  },
  listMessages: () => client.GET("/v1/messages", { params: { query: { to: "ann@example.net", limit: 1 } } }),
  listMessageEvents: () => client.GET("/v1/messages/{id}/events", { params: { path: { id: made.message } } }),
  listMessageAttempts: () => client.GET("/v1/messages/{id}/attempts", { params: { path: { id: made.message } } }),
  explainMessage: () => client.GET("/v1/messages/{id}/explain", { params: { path: { id: made.message } } }),
  getRawMessage: () => client.GET("/v1/messages/{id}/raw", { params: { path: { id: made.message } }, parseAs: "blob" }),
  getWebhook: () => client.GET("/v1/webhooks/{id}", { params: { path: { id: made.webhook } } }),
  listWebhooks: () => client.GET("/v1/webhooks", {}),
  listWebhookDeliveries: () => client.GET("/v1/webhooks/{id}/deliveries", { params: { path: { id: made.webhook } } }),
  updateWebhook: () =>
    client.PATCH("/v1/webhooks/{id}", { params: { path: { id: made.webhook } }, body: { enabled: false } }),
  addSuppressions: async () => {
    const answer = await client.POST("/v1/suppressions", { body: { email: "gone@example.net", reason: "complaint" } });
    const added = given(answer);
    if (!("id" in added)) throw new Error("one entry is answered as it is stored");
    made.suppression = added.id;
    return answer;
  },
  listSuppressions: () => client.GET("/v1/suppressions", { params: { query: { reason: "complaint" } } }),
  getSuppression: () => client.GET("/v1/suppressions/{id}", { params: { path: { id: made.suppression } } }),
  checkSuppressions: () => client.POST("/v1/suppressions/check", { body: { addresses: ["gone@example.net"] } }),
  importSuppressions: () =>
    client.POST("/v1/suppressions/import", {
      params: { query: { format: "csv" } },
      body: "email\nother@example.net\n",
      bodySerializer: (list) => String(list),
      headers: { "Content-Type": "text/csv" },
    }),
  exportSuppressions: () => client.GET("/v1/suppressions/export", { parseAs: "text" }),
  deleteSuppressions: () => client.POST("/v1/suppressions/delete", { body: { addresses: ["other@example.net"] } }),
  deleteSuppression: () => client.DELETE("/v1/suppressions/{id}", { params: { path: { id: made.suppression } } }),
  listSandboxMessages: () => client.GET("/v1/sandbox/messages", { params: { query: { q: "works" } } }),
  getSandboxMessage: () => client.GET("/v1/sandbox/messages/{id}", { params: { path: { id: made.copy } } }),
  updateTemplateSettings: () => client.PATCH("/v1/templates/settings", { body: { review_required: true } }),
  getTemplateSettings: () => client.GET("/v1/templates/settings", {}),
  publishTemplate: () =>
    client.POST("/v1/templates/{id}/publish", { params: { path: { id: made.template } }, body: { version: 1 } }),
  reviewTemplate: () =>
    client.POST("/v1/templates/{id}/review", { params: { path: { id: made.template } }, body: { decision: "approve" } }),
  updateTemplate: () =>
    client.PATCH("/v1/templates/{id}", {
      params: { path: { id: made.template } },
      body: { locales: { de: { text: "{{ code }}" }, "zh-Hans": null } },
    }),
  renderTemplate: () =>
    client.POST("/v1/templates/{id}/render", {
      params: { path: { id: made.template } },
      body: { variables: { code: "482913" }, locale: "de", version: "draft" },
    }),
  getTemplate: () => client.GET("/v1/templates/{id}", { params: { path: { id: made.template } } }),
  listTemplates: () => client.GET("/v1/templates", { params: { query: { limit: 1 } } }),
  listTemplateStarters: () => client.GET("/v1/templates/starters", {}),
  listTemplateVersions: () => client.GET("/v1/templates/{id}/versions", { params: { path: { id: made.template } } }),
  getTemplateVersion: () =>
    client.GET("/v1/templates/{id}/versions/{version}", { params: { path: { id: made.template, version: "2" } } }),
  diffTemplate: () => client.GET("/v1/templates/{id}/diff", { params: { path: { id: made.template } } }),
  listTemplateSteps: () => client.GET("/v1/templates/{id}/audit", { params: { path: { id: made.template } } }),

  getLimits: () => client.GET("/v1/limits", {}),
  getHealth: () => client.GET("/healthz", {}),
  getReadiness: () => client.GET("/readyz", {}),
  getMetrics: () => client.GET("/metrics", { parseAs: "text" }),
  getOpenApi: () => client.GET("/openapi.yaml", { parseAs: "text" }),
  getLlmsText: () => client.GET("/llms.txt", { parseAs: "text" }),

  deleteTemplate: () => client.DELETE("/v1/templates/{id}", { params: { path: { id: made.template } } }),
  deleteWebhook: () => client.DELETE("/v1/webhooks/{id}", { params: { path: { id: made.webhook } } }),
  deleteSandboxMessage: () => client.DELETE("/v1/sandbox/messages/{id}", { params: { path: { id: made.copy } } }),
  clearSandboxMessages: () => client.DELETE("/v1/sandbox/messages", {}),
};

for (const [name, call] of Object.entries(calls)) {
  const answer = await call().catch((why) => {
    throw new Error(`${name}: ${why}`);
  });
  if (!answer.response.ok || answer.error !== undefined) {
    throw new Error(`${name}: ${answer.response.status} ${JSON.stringify(answer.error)}`);
  }
  if (answer.data === undefined && answer.response.status !== 204) throw new Error(`${name}: an answer without data`);
}
