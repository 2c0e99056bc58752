// Verifies a webhook: its body is the input, its headers are in the environment as a web server hands them to a CGI program.
// Prints the event's type and the message's id; ends with 1 when the webhook is not the service's. Needs Node 18 or newer.
import { createHmac, timingSafeEqual } from "node:crypto";
import { buffer } from "node:stream/consumers";

// The event of a webhook that the service sent; throws for any other. `body` is a Buffer of what came, byte for byte: in Express take
// it from express.raw({ type: "application/json" }).
export function verify(secret, { id, timestamp, signature }, body) {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const wanted = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest();
  // There may be several signatures, while one secret replaces another.
  const given = signature.split(" ").filter((text) => text.startsWith("v1,"));
  const bytesOf = given.map((text) => Buffer.from(text.slice(3), "base64"));
  if (!bytesOf.some((bytes) => bytes.length === wanted.length && timingSafeEqual(bytes, wanted))) {
    throw new Error("the signature is wrong");
  }
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= 300)) throw new Error("the webhook is too old");
  return JSON.parse(body);
}

const { HTTP_WEBHOOK_ID: id, HTTP_WEBHOOK_TIMESTAMP: timestamp, HTTP_WEBHOOK_SIGNATURE: signature } = process.env;
const body = await buffer(process.stdin);
try {
  const event = verify(process.env.MAILWRIGHT_WEBHOOK_SECRET, { id, timestamp, signature }, body);
  console.log(event.type, event.data.message_id);
} catch (why) {
  console.error(why.message);
  process.exitCode = 1;
}
