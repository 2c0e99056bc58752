// Webhooks in the forms of other services, judged by what their own libraries for Node verify with. Where there is no library, by what the
// service documents: Mailgun, SendCloud. Prints a line of JSON for each request: the event as who receives it gets it, or how it was refused.
// A second line says what becomes of one that was changed on its way.
//
// Standard input is {"requests": [{"form", "secret", "public_key", "headers", "body"}]}; the first argument is the directory that holds
// node_modules. What is no library's of a form is verified by that of Standard Webhooks, which every request has the headers of.

import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'package.json'));
const { Resend } = require('resend');
const { EventWebhook, EventWebhookHeader } = require('@sendgrid/eventwebhook');
const { Webhook } = require('standardwebhooks');

const refuse = (why) => {
  throw new Error(why);
};

// documentation.mailgun.com, "Securing webhooks"; SendCloud's samples do the same.
const isSigned = (key, { timestamp, token, signature }) => {
  const expected = createHmac('sha256', key).update(`${timestamp}${token}`).digest();
  const given = Buffer.from(signature, 'hex');
  return given.length === expected.length && timingSafeEqual(given, expected);
};

const standard = ({ secret, headers, body }) => new Webhook(secret).verify(body, headers);

const judges = {
  standard,
  postmark: standard,
  ses: standard,
  resend: ({ secret, headers, body }) => new Resend('re_x').webhooks.verify({
    payload: body,
    headers: { id: headers['svix-id'], timestamp: headers['svix-timestamp'], signature: headers['svix-signature'] },
    webhookSecret: secret,
  }),
  sendgrid: ({ public_key, headers, body }) => {
    const verifier = new EventWebhook();
    const key = verifier.convertPublicKeyToECDSA(public_key);
    const header = (name) => headers[name.toLowerCase()] ?? refuse(`${name} is missing`);
    const isGood = verifier.verifySignature(key, body, header(EventWebhookHeader.SIGNATURE()), header(EventWebhookHeader.TIMESTAMP()));
    return isGood ? JSON.parse(body) : refuse('the signature is wrong');
  },
  mailgun: ({ secret, body }) => {
    const payload = JSON.parse(body);
    return isSigned(secret, payload.signature) ? payload : refuse('the signature is wrong');
  },
  sendcloud: ({ secret, body }) => {
    const payload = Object.fromEntries(new URLSearchParams(body));
    return isSigned(secret, payload) ? payload : refuse('the signature is wrong');
  },
};

// Mailgun and SendCloud sign their token, and not what is told: another token stands for a change there.
const another = ([first]) => (first === '0' ? '1' : '0');
const changed = {
  mailgun: (body) => body.replace(/("token": *")(.)/, (_, before, digit) => before + another(digit)),
  sendcloud: (body) => body.replace(/(\btoken=)(.)/, (_, before, digit) => before + another(digit)),
};

const say = (call, work) => {
  let result;
  try {
    result = { data: work(), error: null };
  } catch (error) {
    result = { data: null, error: { class: error.constructor.name, message: error.message } };
  }
  console.log(JSON.stringify({ call, ...result }));
};

JSON.parse(readFileSync(0, 'utf8')).requests.forEach((request, index) => {
  const { form, body } = request;
  const call = `${form} ${index}`;
  const change = changed[form] ?? ((text) => `${text} `);
  say(call, () => judges[form](request));
  say(`${call} changed`, () => judges[form]({ ...request, body: change(body) }));
  // Beside every form, over the body as it came.
  say(`${call} standard`, () => new Webhook(request.secret).verify(body, request.headers, { jsonParse: false }) ?? 'verified');
  say(`${call} standard changed`, () => new Webhook(request.secret).verify(`${body} `, request.headers, { jsonParse: false }));
});
