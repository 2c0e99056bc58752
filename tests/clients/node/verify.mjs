// Verifies a webhook with the public library, and its v1a signature with Node's own Ed25519. The first argument is the directory of
// node_modules; standard input is {"secret", "public_key", "headers", "body"}.
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { Webhook } = createRequire(`${process.argv[2]}/`)("standardwebhooks");
const { secret, public_key, headers, body } = JSON.parse(readFileSync(0, "utf8"));

const refuses = (what) => {
  try {
    what();
  } catch {
    return;
  }
  throw new Error("what was changed is believed");
};
const hook = new Webhook(secret);
hook.verify(body, headers);
refuses(() => hook.verify(`${body} `, headers));
refuses(() => hook.verify(body, { ...headers, "webhook-id": "evt_1" }));

const raw = Buffer.from(public_key.replace(/^whpk_/, ""), "base64");
const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") }, format: "jwk" });
const signatures = headers["webhook-signature"].split(" ").filter((one) => one.startsWith("v1a,"));
const content = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
const believes = (content) => signatures.some((one) => verify(null, content, key, Buffer.from(one.slice(4), "base64")));
if (!believes(content) || believes(Buffer.concat([content, Buffer.from(" ")]))) throw new Error("v1a is wrong");
console.log("verified");
