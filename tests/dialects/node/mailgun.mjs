// Mailgun's own SDK for Node, against a service that speaks its language. Prints a line of JSON for each call: what the SDK gave.
//
// MAILWRIGHT_BASE says where; MAILWRIGHT_KEY and MAILWRIGHT_READER are the keys; the first argument is the directory that holds
// node_modules.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'package.json'));
const Mailgun = require('mailgun.js');
const FormDataPackage = require('form-data');

// The SDK warns of what is deprecated, and of objects that it writes as JSON.
console.warn = () => {};

const domain = 'example.org';
const client = (key, form = FormDataPackage, more = {}) =>
  new Mailgun(form).client({ username: 'api', key, url: process.env.MAILWRIGHT_BASE, ...more });
const mailgun = client(process.env.MAILWRIGHT_KEY);
const builtIn = client(process.env.MAILWRIGHT_KEY, FormData);
const fetching = client(process.env.MAILWRIGHT_KEY, FormData, { useFetch: true });

const told = (error) => ({
  class: error.type ?? error.constructor.name,
  status: error.status,
  message: error.message,
  details: error.details,
});
const say = async (call, work) => {
  const result = await work.then((data) => ({ data, error: null }), (error) => ({ data: null, error: told(error) }));
  console.log(JSON.stringify({ call, ...result }));
  return result.data;
};
const send = (call, message, by = mailgun) => say(call, by.messages.create(domain, message));
const plain = (subject, more = {}) => ({ from: 'shop@example.org', to: 'ann@example.net', subject, text: 'Hello', ...more });
const templated = (more) => ({
  from: 'shop@example.org', to: 'ann@example.net', template: 'welcome', 't:variables': JSON.stringify({ name: 'Ann' }), ...more,
});
const whole = (subject) => ({
  from: 'Shop <shop@example.org>',
  to: ['Ann <ann@example.net>', 'bob@example.net'],
  cc: 'cyd@example.net, "Eve, E." <eve@example.net>',
  bcc: ['dan@example.net'],
  subject,
  text: 'Hello',
  html: '<p>Hello <img src="cid:logo.png"></p>',
  'amp-html': '<!doctype html><html ⚡4email><body>Hello</body></html>',
  attachment: [{ filename: 'Grüße.txt', data: Buffer.from('hello') }, { filename: 'a.csv', data: '1,2', contentType: 'text/csv' }],
  inline: { filename: 'logo.png', data: Buffer.from('iVBORw0KGgo=', 'base64') },
  'o:tag': ['receipt', 'spring'],
  'h:X-Entity-Ref-ID': '7',
  'h:Reply-To': 'help@example.org',
  'v:kind': 'receipt',
  'v:order': '{"id": 7}',
});
const sent = await send('send', whole('Mailgun whole'));
await send('send by form', whole('Mailgun form'), builtIn);
await send('send by fetch', plain('Mailgun fetch', { 'o:tag': 'fetched' }), fetching);
await send('switches', plain('Mailgun switches', {
  'o:tracking': false, 'o:tracking-clicks': 'no', 'o:tracking-opens': false, 'o:require-tls': true, 'o:skip-verification': false,
  'o:dkim': true, 'o:testmode': false,
}));
const hour = new Date(Date.now() + 3600e3);
await send('later', plain('Mailgun later', { 'o:deliverytime': hour.toUTCString() }));
await send('later by number', plain('Mailgun later by number', { 'o:deliverytime': Math.floor(hour / 1000) }));
await send('template', templated({ 't:text': false }));
await send('template by header', templated({ 't:variables': undefined, 'h:X-Mailgun-Variables': JSON.stringify({ name: 'Bob' }) }));
await send('template by value', templated({ 't:variables': undefined, 'v:name': 'Cyd' }));
await send('template with subject', templated({ subject: 'Mailgun templated' }));
const batch = await send('batch', {
  from: 'shop@example.org',
  to: ['Ann <ann@example.net>', 'bob@example.net'],
  subject: 'Batch for %recipient.name%',
  text: 'Your number is %recipient.id%.',
  html: '<p>Your number is %recipient.id%.</p>',
  'h:X-Number': '%recipient.id%',
  'v:number': '%recipient.id%',
  'recipient-variables': JSON.stringify({ 'ann@example.net': { name: 'Ann', id: 1 }, 'bob@example.net': { name: 'Bob', id: 2 } }),
});
const mime = [
  'From: Shop <shop@example.org>', 'To: team@example.net', 'Subject: Mailgun MIME', 'X-Entity-Ref-ID: 8',
  'MIME-Version: 1.0', 'Content-Type: text/plain; charset=utf-8', '', 'Hello', '',
].join('\r\n');
await send('mime', { to: ['ann@example.net'], message: mime, 'o:tag': 'raw', 'v:kind': 'raw' });
await send('mime as file', { to: 'ann@example.net', message: Buffer.from(mime.replace('MIME', 'MIME file')) }, builtIn);

// What is refused, by the name of the parameter.
await send('no from', { to: 'ann@example.net', subject: 's', text: 't' });
await send('no to', { from: 'shop@example.org', subject: 's', text: 't' });
await send('no body', { from: 'shop@example.org', to: 'ann@example.net', subject: 's' });
await send('bad to', plain('s', { to: 'nobody' }));
await send('bad cc', plain('s', { cc: ['bob@example.net', 'nobody'] }));
await send('many tags', plain('s', { 'o:tag': [...'abcdefghijk'] }));
await send('bad time', plain('s', { 'o:deliverytime': 'tomorrow at nine' }));
await send('bad tracking', plain('s', { 'o:tracking': 'maybe' }));
await send('version', templated({ 't:version': 'v2' }));
await send('template text', templated({ 't:text': true }));
await send('unknown template', templated({ template: 'nothing' }));
await send('bad variables', templated({ 't:variables': '{' }));
await send('test mode', plain('s', { 'o:testmode': true }));
await send('no dkim', plain('s', { 'o:dkim': 'no' }));
await send('not verified', plain('s', { 'o:skip-verification': 'yes' }));
await send('optimized', plain('s', { 'o:deliverytime-optimize-period': '24h' }));
await send('zone', plain('s', { 'o:time-zone-localize': '09:00' }));
await send('archive', plain('s', { 'o:archive-to': 'https://example.org/' }));
await send('misspelt', plain('s', { 'o:tags': 'receipt' }));
await send('bad batch', plain('s', { 'recipient-variables': '[1]' }));
await send('mime to nobody', { message: mime });
await send('wrong key', plain('s'), client('mw_live_wrong'));
await send('reader', plain('s'), client(process.env.MAILWRIGHT_READER));

// Events, asked for until what is awaited is there.
const until = async (call, query, wanted = 1) => {
  for (let attempt = 0; attempt < 500; attempt += 1) {
    const page = await mailgun.events.get(domain, query).catch(() => null);
    if (!page || page.items.length >= wanted) break;
  }
  return say(call, mailgun.events.get(domain, query));
};
const bare = sent?.id.slice(1, -1);
await until('accepted', { event: 'accepted', 'message-id': bare }, 5);
await until('delivered', { event: 'delivered', 'message-id': bare }, 5);
await until('delivered to bob', { event: 'delivered', 'message-id': bare, recipient: 'bob@example.net' });
await until('batch events', { event: 'accepted', 'message-id': batch?.id.slice(1, -1) });
const ascending = { event: 'delivered', 'message-id': bare, ascending: 'yes', limit: 2 };
const page = await say('events', mailgun.events.get(domain, ascending));
const second = await say('events on', mailgun.events.get(domain, { ...ascending, page: page?.pages.next.page }));
await say('events back', mailgun.events.get(domain, { ...ascending, page: second?.pages.previous.page }));
await say('events by time', mailgun.events.get(domain, {
  'message-id': bare, begin: new Date(Date.now() - 3600e3).toUTCString(), end: Math.floor(Date.now() / 1000) + 60, event: 'delivered',
}));
const now = Math.floor(Date.now() / 1000);
await say('events none', mailgun.events.get(domain, { begin: now - 7200, end: now - 3600 }));
await say('events too many', mailgun.events.get(domain, { limit: 301 }));
await say('events by reader', client(process.env.MAILWRIGHT_READER).events.get(domain, { limit: 1 }));

// Suppressions.
const { suppressions } = mailgun;
await say('bounce', suppressions.create(domain, 'bounces', { address: 'gone@example.net', code: 550, error: 'No such user' }));
await say('bounces', suppressions.create(domain, 'bounces', [{ address: 'a@example.net' }, { address: 'b@example.net', code: '550' }]));
await say('get bounce', suppressions.get(domain, 'bounces', 'gone@example.net'));
const listed = await say('list bounces', suppressions.list(domain, 'bounces', { limit: 2 }));
await say('list bounces on', suppressions.list(domain, 'bounces', { limit: 2, page: listed?.pages.next.page }));
await say('list bounces by term', suppressions.list(domain, 'bounces', { term: 'gone' }));
const stopped = await send('to suppressed', plain('Suppressed', { to: 'gone@example.net' }));
await until('failed', { event: 'failed', 'message-id': stopped?.id.slice(1, -1) });
await say('complaint', suppressions.create(domain, 'complaints', { address: 'angry@example.net' }));
await say('get complaint', suppressions.get(domain, 'complaints', 'angry@example.net'));
await say('list complaints', suppressions.list(domain, 'complaints'));
await say('unsubscribe', suppressions.create(domain, 'unsubscribes', { address: 'tired@example.net', tag: '*' }));
await say('unsubscribes', suppressions.create(domain, 'unsubscribes', [
  { address: 'c@example.net', tags: ['*'], created_at: 'Thu, 13 Oct 2011 18:02:00 UTC' }, { address: 'd@example.net' },
]));
await say('get unsubscribe', suppressions.get(domain, 'unsubscribes', 'tired@example.net'));
await say('list unsubscribes', suppressions.list(domain, 'unsubscribes', { limit: 10 }));
await say('bad address', suppressions.create(domain, 'bounces', [{ address: 'e@example.net' }, { address: 'nobody' }]));
await say('delete bounce', suppressions.destroy(domain, 'bounces', 'gone@example.net'));
await say('delete complaint', suppressions.destroy(domain, 'complaints', 'angry@example.net'));
await say('delete unsubscribe', suppressions.destroy(domain, 'unsubscribes', 'tired@example.net'));
await say('bounce is gone', suppressions.get(domain, 'bounces', 'gone@example.net'));
await say('complaint is gone', suppressions.get(domain, 'complaints', 'angry@example.net'));
await say('unsubscribe is gone', suppressions.get(domain, 'unsubscribes', 'tired@example.net'));
await say('not a bounce', suppressions.get(domain, 'bounces', 'c@example.net'));
await say('delete all', suppressions.destroyAll(domain, 'bounces'));
await say('allow', suppressions.create(domain, 'whitelists', { address: 'ann@example.net' }));
await say('allowed', suppressions.list(domain, 'whitelists'));
