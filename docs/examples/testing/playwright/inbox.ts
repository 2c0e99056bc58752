// Mail in Mailwright's test inbox, by Playwright's own requests.
import type { APIRequestContext } from "@playwright/test";

export type Mail = { id: string; subject: string; text: string; html: string; codes: string[]; links: string[] };

async function read<T>(request: APIRequestContext, path: string): Promise<T> {
  const url = `${process.env.MAILWRIGHT_URL}${path}`;
  const answer = await request.get(url, { headers: { authorization: `Bearer ${process.env.MAILWRIGHT_KEY}` } });
  if (!answer.ok()) throw new Error(`GET ${path}: ${answer.status()} ${await answer.text()}`);
  return answer.json();
}

// Waits for the newest mail to an address. `more` narrows it: subject, since, q.
export async function waitForMail(request: APIRequestContext, to: string, more: Record<string, string> = {}): Promise<Mail> {
  const query = new URLSearchParams({ to, wait: "10s", limit: "1", ...more });
  const { data } = await read<{ data: { id: string }[] }>(request, `/v1/sandbox/messages?${query}`);
  if (data.length === 0) throw new Error(`no mail to ${to} within 10 seconds`);
  return read<Mail>(request, `/v1/sandbox/messages/${data[0].id}`);
}
