// A sign-up by mail, tested: mailwright dev --ephemeral -- npm test
const { createHmac, randomInt, randomUUID, timingSafeEqual } = require("node:crypto");
const { once } = require("node:events");
const http = require("node:http");
const { call, waitForMail } = require("./inbox");

// Stands for your application.
const codes = new Map();
async function signUp(address) {
  codes.set(address, String(randomInt(100_000, 1_000_000)));
  return call("POST", "/v1/send", {
    from: "Example Shop <shop@example.com>",
    to: [address],
    subject: "Your code",
    text: `Your code is ${codes.get(address)}. It is good for ten minutes.`,
  });
}
const confirm = (address, code) => codes.get(address) === code;

// An address for each test: tests can run side by side, and nobody has to empty the inbox.
const someone = () => `ada+${randomUUID()}@example.test`;

test("the code of the mail confirms the address", async () => {
  const address = someone();
  await signUp(address);
  const mail = await waitForMail(address, { subject: "code" });
  expect(mail.text).toContain("ten minutes");
  expect(mail.codes).toHaveLength(1);
  expect(confirm(address, mail.codes[0])).toBe(true);
});

// Your handler of webhooks: gives the event that a request tells of, once its signature was verified.
async function eventOf(request, secret) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signatures } = request.headers;
  const hmac = createHmac("sha256", Buffer.from(secret.slice("whsec_".length), "base64"));
  const wanted = Buffer.from(`v1,${hmac.update(`${id}.${at}.`).update(body).digest("base64")}`);
  const isRight = (given) => given.length === wanted.length && timingSafeEqual(given, wanted);
  if (!signatures.split(" ").some((one) => isRight(Buffer.from(one)))) throw new Error("the signature is not right");
  return JSON.parse(body);
}

test("a bounce reaches the handler of webhooks", async () => {
  const server = http.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const url = `http://127.0.0.1:${server.address().port}/hook`;
    const { secret } = await call("POST", "/v1/webhooks", { url, events: ["message.bounced"] });
    const called = once(server, "request", { signal: AbortSignal.timeout(10_000) });
    await signUp(`bounced+${randomUUID()}@example.test`);
    const [request, response] = await called;
    const event = await eventOf(request, secret);
    response.writeHead(204).end();
    expect(event.type).toBe("message.bounced");
    expect(event.data.email).toMatch(/^bounced\+/);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});
