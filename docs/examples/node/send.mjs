// Sends a message, with the file of the first argument attached if there is one, and waits for what becomes of it.
// Prints the message's id and status; ends with 0 when it was delivered. Needs Node 18 or newer, and no package.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const { MAILWRIGHT_URL: url, MAILWRIGHT_KEY: apiKey } = process.env;

async function call(method, path, body, headers = {}) {
  const response = await fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json", ...headers },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

// Sends a message once: what may have been lost on the way is repeated under the same key.
async function send(message, key) {
  let trouble;
  for (const wait of [1, 2, 4, 8, null]) {
    let asked;
    try {
      const answer = await call("POST", "/v1/send", message, { "idempotency-key": key });
      if (answer.status === 202) return answer.body;
      trouble = JSON.stringify(answer.body);
      if (![429, 503].includes(answer.status)) break;
      asked = answer.headers.get("retry-after");
    } catch (error) {
      trouble = error.cause ?? error; // no answer came
    }
    if (wait !== null) await sleep(1000 * (asked ?? wait));
  }
  throw new Error(`not sent: ${trouble}`);
}

const message = {
  from: "Example Shop <shop@example.com>",
  to: ["ada@example.net"],
  subject: "Your receipt",
  text: "Thank you for your order.",
  tags: ["receipt"],
};
const file = process.argv[2];
if (file) {
  message.attachments = [{ filename: basename(file), content: (await readFile(file)).toString("base64") }];
}
// The key names what the message is about, so that it is sent once: in your program the order's number, for example.
const { id } = await send(message, `example-${randomUUID()}`);

const final = ["delivered", "partially_delivered", "failed", "cancelled"];
let status;
for (let tries = 0; tries < 120 && !final.includes(status); tries++) {
  if (tries > 0) await sleep(500);
  status = (await call("GET", `/v1/messages/${id}`)).body.status;
}
console.log(id, status);
process.exitCode = status === "delivered" ? 0 : 1;
