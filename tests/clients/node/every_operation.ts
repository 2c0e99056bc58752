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
const made = {
  message: "",
  later: "",
  upload: "",
  webhook: "",
  domain: "",
  event: "",
  copy: "",
  project: "",
  key: "",
  suppression: "",
  template: "",
  erasure: "",
};

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
  createUpload: async () => {
    const answer = await client.POST("/v1/uploads", {
      params: { query: { filename: "terms.txt" } },
      headers: { "Content-Type": "text/plain" },
      body: new Blob(["Terms"]),
    });
    const { id, content_type, size } = given(answer);
    if (content_type !== "text/plain" || size !== 5) throw new Error(`the file was sent as ${content_type}, ${size}`);
    made.upload = id;
    return answer;
  },
  sendBatch: async () => {
    const all = { from: "shop@example.org", subject: "Hello", text: "It works." };
    const later = new Date(Date.now() + 86_400_000).toISOString();
    const answer = await client.POST("/v1/send/batch", {
      body: {
        mode: "permissive",
        messages: [
          { ...all, to: "bob@example.net", send_at: later, attachments: [{ upload_id: made.upload }] },
          { ...all, to: "nobody" },
        ],
      },
    });
    const [taken, refused] = given(answer).results;
    if (!("id" in taken)) throw new Error(`it was refused: ${taken.error.detail}`);
    if (!("error" in refused)) throw new Error(`it was taken: ${refused.id}`);
    made.later = taken.id;
    return answer;
  },
  createWebhook: async () => {
    const answer = await client.POST("/v1/webhooks", { body: { url: "http://127.0.0.1:9/hook" } });
    made.webhook = given(answer).id;
    return answer;
  },
  listMessageReports: () => client.GET("/v1/messages/{id}/reports", { params: { path: { id: made.message } } }),
  takeInboundMessage: () =>
    client.POST("/v1/inbound/raw", {
      headers: { "Content-Type": "application/octet-stream" },
      body: new Blob(["Subject: Returned\r\n\r\nno such user\r\n"]),
      bodySerializer: (body: Blob) => body,
    }),
  createDomain: async () => {
    const answer = await client.POST("/v1/domains", { body: { name: "new.example" } });
    made.domain = given(answer).id;
    return answer;
  },
  getDomain: () => client.GET("/v1/domains/{id}", { params: { path: { id: made.domain } } }),
  listDomains: () => client.GET("/v1/domains", {}),
  getDomainRecords: () =>
    client.GET("/v1/domains/{id}/records", {
      params: { path: { id: made.domain }, query: { format: "zone" } },
      parseAs: "text",
    }),
  updateDomain: () =>
    client.PATCH("/v1/domains/{id}", { params: { path: { id: made.domain } }, body: { rotate_days: 90 } }),
  rotateDomainKeys: () => client.POST("/v1/domains/{id}/rotate-dkim", { params: { path: { id: made.domain } } }),
  getDomainReadiness: () => client.GET("/v1/domains/{id}/readiness", { params: { path: { id: made.domain } } }),
  listDomainReports: () =>
    client.GET("/v1/domains/{id}/reports", { params: { path: { id: made.domain }, query: { kind: "dmarc" } } }),
  verifyDomain: () => client.POST("/v1/domains/{id}/verify", { params: { path: { id: made.domain } } }),
  putDomainPool: () =>
    client.PUT("/v1/domain-pools/{name}", {
      params: { path: { name: "codes" } },
      body: { members: [{ domain: "new.example", weight: 3, warmup: true }] },
    }),
  getDomainPool: () => client.GET("/v1/domain-pools/{name}", { params: { path: { name: "codes" } } }),
  listDomainPools: () => client.GET("/v1/domain-pools", {}),
  createTemplate: async () => {
    const answer = await client.POST("/v1/templates", { body: { starter: "verification-code" } });
    made.template = given(answer).id;
    return answer;
  },
  createProject: async () => {
    const answer = await client.POST("/v1/projects", { body: { name: "new", limits: { recipients_per_day: 5 } } });
    made.project = given(answer).id;
    return answer;
  },
  createKey: async () => {
    const answer = await client.POST("/v1/keys", {
      params: { query: { project: made.project } },
      body: { mode: "live", scopes: ["send"], from_domains: ["example.org"] },
    });
    made.key = given(answer).id;
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
  editMessage: () =>
    client.PATCH("/v1/messages/{id}", {
      params: { path: { id: made.later } },
      body: { send_at: new Date(Date.now() + 2 * 86_400_000).toISOString() },
    }),
  cancelMessage: () => client.POST("/v1/messages/{id}/cancel", { params: { path: { id: made.later } } }),
  retryMessage: () => client.POST("/v1/messages/{id}/retry", { params: { path: { id: made.later } } }),
  cancelMessages: () => client.POST("/v1/messages/cancel", { body: { tag: "greeting" } }),
  retryMessages: () => client.POST("/v1/messages/retry", { body: { ids: [made.message] } }),
  exportMessages: () =>
    client.GET("/v1/messages/export", { params: { query: { format: "csv", tag: "greeting" } }, parseAs: "text" }),
  getStats: () => client.GET("/v1/stats", { params: { query: { group_by: "domain" } } }),
  listEvents: () =>
    client.GET("/v1/events", { params: { query: { type: ["message.delivered"], wait: "5s", limit: 1 } } }),
  exportEvents: () => client.GET("/v1/events/export", { parseAs: "stream" }),
  getUpload: () => client.GET("/v1/uploads/{id}", { params: { path: { id: made.upload } } }),
  listUploads: () => client.GET("/v1/uploads", {}),
  getWebhook: () => client.GET("/v1/webhooks/{id}", { params: { path: { id: made.webhook } } }),
  listWebhooks: () => client.GET("/v1/webhooks", {}),
  rotateWebhookSecret: () =>
    client.POST("/v1/webhooks/{id}/rotate-secret", {
      params: { path: { id: made.webhook } },
      body: { overlap_seconds: 60 },
    }),
  testWebhook: () => client.POST("/v1/webhooks/{id}/test", { params: { path: { id: made.webhook } }, body: {} }),
  replayWebhook: () =>
    client.POST("/v1/webhooks/{id}/replay", {
      params: { path: { id: made.webhook } },
      body: { since: "2026-01-01T00:00:00Z" },
    }),
  listWebhookReplays: () => client.GET("/v1/webhooks/{id}/replays", { params: { path: { id: made.webhook } } }),
  listWebhookDeliveries: async () => {
    const path = { id: made.webhook };
    const list = () => client.GET("/v1/webhooks/{id}/deliveries", { params: { path } });
    await until(list, (answer) => given(answer).data.length > 0);
    const answer = await list();
    made.event = given(answer).data[0].event_id;
    return answer;
  },
  getWebhookDelivery: () =>
    client.GET("/v1/webhooks/{id}/deliveries/{event}", {
      params: { path: { id: made.webhook, event: made.event } },
    }),
  listMessageWebhooks: () =>
    client.GET("/v1/messages/{id}/webhooks", { params: { path: { id: made.message } } }),
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
      body: new Blob(["email\nother@example.net\n"]),
      headers: { "Content-Type": "text/csv" },
    }),
  exportSuppressions: () => client.GET("/v1/suppressions/export", { parseAs: "text" }),
  deleteSuppressions: () => client.POST("/v1/suppressions/delete", { body: { addresses: ["other@example.net"] } }),
  deleteSuppression: () => client.DELETE("/v1/suppressions/{id}", { params: { path: { id: made.suppression } } }),
  getRetention: () => client.GET("/v1/retention", {}),
  putRetention: () => client.PUT("/v1/retention", { body: { bodies: "7d", metadata: 20, events: null } }),
  createErasure: async () => {
    const answer = await client.POST("/v1/erasures", { body: { address: "forgotten@example.net" } });
    made.erasure = given(answer).id;
    return answer;
  },
  listAudit: () => client.GET("/v1/audit", {}),
  listErasures: () => client.GET("/v1/erasures", {}),
  getErasure: () => client.GET("/v1/erasures/{id}", { params: { path: { id: made.erasure } } }),
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
  getProject: () => client.GET("/v1/projects/{id}", { params: { path: { id: made.project } } }),
  listProjects: () => client.GET("/v1/projects", {}),
  updateProject: () =>
    client.PATCH("/v1/projects/{id}", { params: { path: { id: made.project } }, body: { suspended: true } }),
  getKey: () => client.GET("/v1/keys/{id}", { params: { path: { id: made.key }, query: { project: made.project } } }),
  listKeys: () => client.GET("/v1/keys", { params: { query: { project: made.project } } }),
  updateKey: () =>
    client.PATCH("/v1/keys/{id}", {
      params: { path: { id: made.key }, query: { project: made.project } },
      body: { name: "k" },
    }),
  rotateKey: () =>
    client.POST("/v1/keys/{id}/rotate", {
      params: { path: { id: made.key }, query: { project: made.project } },
      body: { overlap_seconds: 60 },
    }),

  getLimits: () => client.GET("/v1/limits", {}),
  getHealth: () => client.GET("/healthz", {}),
  getReadiness: () => client.GET("/readyz", {}),
  getMetrics: () => client.GET("/metrics", { parseAs: "text" }),
  getOpenApi: () => client.GET("/openapi.yaml", { parseAs: "text" }),
  getLlmsText: () => client.GET("/llms.txt", { parseAs: "text" }),

  checkSandboxMessageForSpam: () =>
    client.POST("/v1/sandbox/messages/{id}/spam-check", { params: { path: { id: made.copy } } }),
  putSandboxScripts: () =>
    client.PUT("/v1/sandbox/scripts", { body: { scripts: [{ pattern: "*@slow.example", script: "451*2,250" }] } }),
  getSandboxScripts: () => client.GET("/v1/sandbox/scripts", {}),
  advanceSandboxClock: () => client.POST("/v1/sandbox/clock", { body: { advance_seconds: 60 } }),

  deleteTemplate: () => client.DELETE("/v1/templates/{id}", { params: { path: { id: made.template } } }),
  revokeKey: () =>
    client.DELETE("/v1/keys/{id}", { params: { path: { id: made.key }, query: { project: made.project } } }),
  deleteUpload: () => client.DELETE("/v1/uploads/{id}", { params: { path: { id: made.upload } } }),
  deleteDomainPool: () => client.DELETE("/v1/domain-pools/{name}", { params: { path: { name: "codes" } } }),
  deleteDomain: () => client.DELETE("/v1/domains/{id}", { params: { path: { id: made.domain } } }),
  deleteWebhook: () => client.DELETE("/v1/webhooks/{id}", { params: { path: { id: made.webhook } } }),
  deleteSandboxMessage: () => client.DELETE("/v1/sandbox/messages/{id}", { params: { path: { id: made.copy } } }),
  clearSandboxMessages: () => client.DELETE("/v1/sandbox/messages", {}),
  eraseMessage: () =>
    client.DELETE("/v1/messages/{id}", { params: { path: { id: made.message }, query: { cancel: true } } }),
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
