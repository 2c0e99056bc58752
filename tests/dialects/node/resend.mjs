// Resend's own SDK for Node, against a service that speaks its language. Prints a line of JSON for each call: what the SDK gave.
//
// MAILWRIGHT_BASE says where; MAILWRIGHT_KEY is the key; the first argument is the directory that holds node_modules.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'package.json'));
const { Resend } = require('resend');

const resend = new Resend(process.env.MAILWRIGHT_KEY, { baseUrl: process.env.MAILWRIGHT_BASE });
const say = (call, result) => console.log(JSON.stringify({ call, data: result.data, error: result.error }));

const whole = {
  from: 'Shop <shop@example.org>',
  to: ['ann@example.net', 'bob@example.net'],
  cc: 'cyd@example.net',
  bcc: ['dan@example.net'],
  replyTo: 'help@example.org',
  subject: 'Resend whole',
  html: '<p>Hello <img src="cid:logo"></p>',
  text: 'Hello',
  headers: { 'X-Entity-Ref-ID': '7' },
  tags: [{ name: 'kind', value: 'receipt' }],
  attachments: [
    { filename: 'Grüße.txt', content: Buffer.from('hello') },
    { filename: 'logo.png', content: 'iVBORw0KGgo=', contentType: 'image/png', contentId: 'logo' },
  ],
};
const plain = (subject, more = {}) => ({ from: 'shop@example.org', to: 'ann@example.net', subject, text: 'Hello', ...more });

const sent = await resend.emails.send(whole, { idempotencyKey: 'order-7' });
say('send', sent);
say('send again', await resend.emails.send(whole, { idempotencyKey: 'order-7' }));
say('send another', await resend.emails.send(plain('Another'), { idempotencyKey: 'order-7' }));
say('get', await resend.emails.get(sent.data.id));
const later = await resend.emails.send(plain('Resend later', { scheduledAt: 'in 1 hour' }));
say('later', later);
const retried = { idempotencyKey: 'later-1' };
say('relative', await resend.emails.send(plain('Resend relative', { scheduledAt: 'in 1 hour' }), retried));
say('relative again', await resend.emails.send(plain('Resend relative', { scheduledAt: 'in 1 hour' }), retried));
say('update', await resend.emails.update({ id: later.data.id, scheduledAt: new Date(Date.now() + 7200e3).toISOString() }));
say('cancel', await resend.emails.cancel(later.data.id));
say('get cancelled', await resend.emails.get(later.data.id));
say('cancel sent', await resend.emails.cancel(sent.data.id));
say('template', await resend.emails.send({
  from: 'shop@example.org', to: 'ann@example.net',
  template: { id: 'welcome', variables: { name: 'Ann' } },
}));
say('batch', await resend.batch.send([plain('Batch one'), plain('Batch two')]));
say('batch strict', await resend.batch.send([plain('Batch three'), plain('Batch four', { to: 'nobody' })]));
say('batch permissive', await resend.batch.send(
  [plain('Batch five', { to: 'nobody' }), plain('Batch six'), plain('Batch seven', { topicId: 't' })],
  { batchValidation: 'permissive' },
));
const page = await resend.emails.list({ limit: 2 });
say('list', page);
const on = await resend.emails.list({ limit: 2, after: page.data.data[1].id });
say('list on', on);
say('list back', await resend.emails.list({ limit: 2, before: on.data.data[0].id }));
say('list before nobody', await resend.emails.list({ limit: 2, before: '00000000-0000-7000-8000-000000000000' }));

// What is refused, by the name that the SDK has for it.
say('no from', await resend.emails.send({ to: 'ann@example.net', subject: 's', text: 't' }));
say('bad to', await resend.emails.send(plain('s', { to: 'nobody' })));
say('topic', await resend.emails.send(plain('s', { topicId: 'topic' })));
say('path', await resend.emails.send(plain('s', { attachments: [{ filename: 'a', path: 'https://example.org/a' }] })));
say('bad attachment', await resend.emails.send(plain('s', { attachments: [{ filename: 'a', content: '!' }] })));
say('bad key', await resend.emails.send(plain('s'), { idempotencyKey: 'k'.repeat(300) }));
say('bad time', await resend.emails.send(plain('s', { scheduledAt: 'tomorrow at nine' })));
say('get nobody', await resend.emails.get('00000000-0000-7000-8000-000000000000'));
say('wrong key', await new Resend('mw_live_wrong', { baseUrl: process.env.MAILWRIGHT_BASE }).emails.send(plain('s')));
say('reader', await new Resend(process.env.MAILWRIGHT_READER, { baseUrl: process.env.MAILWRIGHT_BASE }).emails.send(plain('s')));

say('suppress', await resend.suppressions.add({ email: 'gone@example.net' }));
say('suppress many', await resend.suppressions.batch.add({ emails: ['a@example.net', 'b@example.net'] }));
say('suppressed', await resend.suppressions.get('gone@example.net'));
say('suppressions', await resend.suppressions.list({ origin: 'manual' }));
say('to suppressed', await resend.emails.send(plain('Suppressed', { to: 'gone@example.net' })));
say('unsuppress', await resend.suppressions.remove('gone@example.net'));
say('unsuppress many', await resend.suppressions.batch.remove({ emails: ['a@example.net', 'b@example.net'] }));
say('suppressed no more', await resend.suppressions.get('gone@example.net'));
