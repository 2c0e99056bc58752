// The smallest calls that openapi.yaml allows must compile under --strict: what may be left out is optional in the types.
import { createClient, type Schema } from "mailwright-client";

const client = createClient({ url: "http://localhost:8080", key: "mw_live_…" });

export async function smallestSend(): Promise<string | undefined> {
  const { data, error } = await client.POST("/v1/send", {
    body: { from: "shop@example.org", to: "ann@example.net", subject: "Hello", text: "It works." },
  });
  if (error) throw new Error(error.type satisfies Schema<"ProblemType">);
  return data?.id;
}

export async function attachmentWithoutContentType(): Promise<void> {
  await client.POST("/v1/send", {
    body: {
      from: { email: "shop@example.org" },
      to: ["ann@example.net", { email: "bob@example.net", name: "Bob" }],
      subject: "Hello",
      html: "<p>It works.</p>",
      attachments: [{ filename: "a.txt", content: "YQ==" }],
    },
  });
}

export async function webhookWithUrlOnly(): Promise<string | undefined> {
  const { data } = await client.POST("/v1/webhooks", { body: { url: "https://hooks.example.com/mail" } });
  return data?.secret;
}

export async function webhookWithNamedEvents(): Promise<readonly string[] | undefined> {
  const { data } = await client.POST("/v1/webhooks", {
    body: { url: "https://hooks.example.com/mail", events: ["message.delivered", "message.bounced"] },
  });
  return data?.events;
}

export async function whereIsIt(id: string): Promise<string | undefined> {
  const { data } = await client.GET("/v1/messages/{id}/explain", { params: { path: { id } } });
  const route = data?.recipients[0]?.route;
  return route && "peers" in route ? route.peers[0]?.tls : route?.error;
}

// A misspelt field is an error, and so is a message to nobody's subject.
export const misspelt: Schema<"SendRequest"> = {
  from: "shop@example.org",
  to: "ann@example.net",
  subject: "Hello",
  text: "It works.",
  // @ts-expect-error there is no such field
  sned_at: "2026-11-22T10:00:00Z",
};

// Messages are named in one way, and something is changed.
export const byBatch: Schema<"RecallRequest"> = { batch_id: "bat_019aa8a0d1c27b3e8f4a5b6c7d8e9f00" };
// @ts-expect-error two ways
export const twoWays: Schema<"RecallRequest"> = { tag: "receipt", ids: [] };
// @ts-expect-error nothing
export const nothing: Schema<"EditRequest"> = {};
