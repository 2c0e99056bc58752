// SendGrid's own SDK for Node, against a service that speaks its language. Prints a line of JSON for each call: what the SDK gave.
//
// MAILWRIGHT_BASE says where; MAILWRIGHT_KEY is the key, MAILWRIGHT_READER one that may only read; the first argument is the directory
// that holds node_modules.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'package.json'));
const { MailService } = require('@sendgrid/mail');
const { Client } = require('@sendgrid/client');

// The base is set after the key: setApiKey sets it, too.
const connected = (key) => {
  const client = new Client();
  if (key) client.setApiKey(key);
  client.setDefaultRequest('baseUrl', process.env.MAILWRIGHT_BASE);
  return client;
};
const client = connected(process.env.MAILWRIGHT_KEY);
const mail = new MailService().setClient(client);

const shown = ([response, body]) => ({ status: response.statusCode, id: response.headers['x-message-id'] ?? null, body });
const say = async (call, promise) => {
  try {
    const result = await promise;
    const data = Array.isArray(result[0]) ? result.map(shown) : shown(result);
    console.log(JSON.stringify({ call, data, error: null }));
    return data;
  } catch (error) {
    const errors = error.response?.body?.errors;
    const { message, field } = errors?.[0] ?? { message: error.message, field: null };
    const told = { class: error.constructor.name, status: error.code, code: error.message, message, field, errors };
    console.log(JSON.stringify({ call, data: null, error: told }));
    return null;
  }
};
const ask = (call, method, url, more = {}) => say(call, client.request({ method, url, ...more }));
const send = (call, message) => say(call, mail.send(message));
const plain = (subject, more = {}) => ({ from: 'shop@example.org', to: 'ann@example.net', subject, text: 'Hello', ...more });
const soon = Math.floor(Date.now() / 1000) + 3600;

await send('send', plain('SendGrid plain'));
await send('whole', {
  from: { email: 'shop@example.org', name: 'Shop' },
  replyTo: { email: 'help@example.org', name: 'Help' },
  subject: 'SendGrid whole',
  personalizations: [
    {
      to: [{ email: 'ann@example.net', name: 'Ann' }, 'bob@example.net'],
      cc: 'Cyd <cyd@example.net>',
      bcc: ['dan@example.net'],
      customArgs: { order: '7' },
      headers: { 'X-Order': '7' },
    },
    {
      to: 'eve@example.net',
      from: 'second@example.org',
      subject: 'SendGrid second',
      customArgs: { kind: 'reminder' },
    },
  ],
  content: [
    { type: 'text/plain', value: 'Hello' },
    { type: 'text/html', value: '<p>Hello <img src="cid:logo"></p>' },
    { type: 'text/calendar', value: 'BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n' },
  ],
  headers: { 'X-Entity-Ref-ID': '7' },
  categories: ['receipts', 'shop'],
  customArgs: { kind: 'receipt' },
  attachments: [
    { filename: 'Grüße.txt', content: Buffer.from('hello').toString('base64'), type: 'text/plain', disposition: 'attachment' },
    { filename: 'logo.png', content: 'iVBORw0KGgo=', type: 'image/png', disposition: 'inline', content_id: 'logo' },
  ],
  mailSettings: {
    bypassListManagement: { enable: false },
    footer: { enable: false },
    sandboxMode: { enable: false },
  },
  trackingSettings: {
    clickTracking: { enable: false, enableText: false },
    openTracking: { enable: false },
    subscriptionTracking: { enable: false },
    ganalytics: { enable: false },
  },
});
await say('each', mail.sendMultiple(plain('SendGrid each', { to: ['ann@example.net', 'bob@example.net'] })));
await say('list', mail.send([plain('SendGrid one'), plain('SendGrid two')]));
await send('reply to list', plain('SendGrid replies', { replyToList: [{ email: 'a@example.org' }, { email: 'b@example.org', name: 'B' }] }));
await send('tracked', plain('SendGrid tracked', {
  html: '<a href="https://example.org/">Shop</a>',
  trackingSettings: { clickTracking: { enable: true, enableText: true }, openTracking: { enable: true } },
}));
await send('group', plain('SendGrid group', { asm: { groupId: 7 } }));
await send('pool', plain('SendGrid pool', { ipPoolName: 'default' }));
await send('sandbox', plain('SendGrid sandbox', { mailSettings: { sandboxMode: { enable: true } } }));

// Variables are sent by this SDK only where the id of the template begins with `d-`.
const templated = { from: 'shop@example.org', to: 'ann@example.net', dynamicTemplateData: { name: 'Ann' } };
await send('template', { ...templated, templateId: 'd-welcome' });
await send('template of another name', { ...templated, templateId: 'welcome' });
await send('templates', {
  from: 'shop@example.org', templateId: 'd-welcome',
  personalizations: ['Bob', 'Cyd'].map((name) => ({ to: `${name}@example.net`, dynamicTemplateData: { name } })),
});

// A header of ours: SendGrid has none.
const once = {
  headers: { 'Idempotency-Key': 'order-7' },
  body: {
    personalizations: [{ to: [{ email: 'ann@example.net' }] }], from: { email: 'shop@example.org' }, subject: 'SendGrid once',
    content: [{ type: 'text/plain', value: 'Hello' }],
  },
};
await ask('once', 'POST', '/v3/mail/send', once);
await ask('once again', 'POST', '/v3/mail/send', once);
await ask('once another', 'POST', '/v3/mail/send', { ...once, body: { ...once.body, subject: 'SendGrid another' } });

const { batch_id: batchId } = (await ask('batch', 'POST', '/v3/mail/batch')).body;
await ask('batch is there', 'GET', `/v3/mail/batch/${batchId}`);
await send('later', plain('SendGrid later', { sendAt: soon, batchId }));
await send('later by one', {
  from: 'shop@example.org', subject: 'SendGrid later by one', text: 'Hello', batchId,
  personalizations: [{ to: 'ann@example.net', sendAt: soon }],
});
await ask('pause', 'POST', '/v3/user/scheduled_sends', { body: { batch_id: batchId, status: 'pause' } });
await ask('cancel', 'POST', '/v3/user/scheduled_sends', { body: { batch_id: batchId, status: 'cancel' } });

// What is refused.
await send('no from', { to: 'ann@example.net', subject: 's', text: 't' });
await send('no subject', { from: 'shop@example.org', to: 'ann@example.net', text: 't' });
await send('no content', { from: 'shop@example.org', to: 'ann@example.net', subject: 's' });
await send('bad from', plain('s', { from: 'nobody' }));
await send('bad to', plain('s', { to: ['ann@example.net', 'nobody'] }));
await send('one bad of two', {
  from: 'shop@example.org', subject: 'SendGrid none', text: 't',
  personalizations: [{ to: 'ann@example.net' }, { to: 'ann@example.net', cc: 'nobody' }],
});
await send('substitutions', plain('s', { substitutions: { name: 'Ann' } }));
await send('sections', plain('s', { sections: { '-intro-': 'Hello' } }));
await send('groups', plain('s', { asm: { groupId: 7, groupsToDisplay: [7, 8] } }));
await send('bypass', plain('s', { mailSettings: { bypassListManagement: { enable: true } } }));
await send('footer', plain('s', { mailSettings: { footer: { enable: true, text: 'Bye' } } }));
await send('spam check', plain('s', { mailSettings: { spamCheck: { enable: true, threshold: 5 } } }));
await send('open tag', plain('s', { trackingSettings: { openTracking: { enable: true, substitutionTag: '%open%' } } }));
await send('subscription', plain('s', { trackingSettings: { subscriptionTracking: { enable: true } } }));
await send('analytics', plain('s', { trackingSettings: { ganalytics: { enable: true, utm_source: 'shop' } } }));
await send('bad attachment', plain('s', { attachments: [{ filename: 'a.txt', content: '!' }] }));
await send('no template', plain('s', { text: undefined, templateId: 'd-nothing' }));
await send('no pool', plain('s', { ipPoolName: 'nowhere' }));
await send('far', plain('s', { sendAt: soon + 100 * 86400 }));
await ask('put', 'PUT', '/v3/mail/send', { body: {} });
const by = (key) => new MailService().setClient(connected(key));
await say('no key', by(null).send(plain('s')));
await say('wrong key', by('mw_live_wrong').send(plain('s')));
await say('reader', by(process.env.MAILWRIGHT_READER).send(plain('s')));

// Suppressions: those for bounces and complaints are there before.
const list = (kind) => `/v3/suppression/${kind}`;
const everything = '/v3/asm/suppressions/global';
await ask('unsubscribe', 'POST', everything, { body: { recipient_emails: ['gone@example.net', 'went@example.net'] } });
await ask('unsubscribed', 'GET', `${everything}/gone@example.net`);
await ask('not unsubscribed', 'GET', `${everything}/ann@example.net`);
await ask('unsubscribes', 'GET', list('unsubscribes'), { qs: { limit: 10, offset: 0 } });
await ask('unsubscribes on', 'GET', list('unsubscribes'), { qs: { limit: 10, offset: 10 } });
await ask('unsubscribes before', 'GET', list('unsubscribes'), { qs: { end_time: 1000000000 } });
await send('to unsubscribed', plain('SendGrid unsubscribed', { to: 'gone@example.net' }));
await ask('resubscribe', 'DELETE', `${everything}/gone@example.net`);
await ask('resubscribed', 'GET', `${everything}/gone@example.net`);
await ask('bounces', 'GET', list('bounces'), { qs: { start_time: 1, end_time: soon } });
await ask('bounce', 'GET', `${list('bounces')}/bounced@example.net`);
await ask('no bounce', 'GET', `${list('bounces')}/ann@example.net`);
await ask('blocks', 'GET', list('blocks'));
await ask('invalid emails', 'GET', list('invalid_emails'));
await ask('spam reports', 'GET', list('spam_reports'));
await ask('remove bounce', 'DELETE', `${list('bounces')}/bounced@example.net`);
await ask('remove bounce again', 'DELETE', `${list('bounces')}/bounced@example.net`);
await ask('remove all bounces', 'DELETE', list('bounces'), { body: { delete_all: true } });
await ask('remove bounces', 'DELETE', list('bounces'), { body: { emails: ['second@example.net', 'third@example.net'] } });
await ask('bounces left', 'GET', list('bounces'));

// What became of them.
const activity = (call, qs) => ask(call, 'GET', '/v3/messages', { qs });
await activity('activity', { limit: 10 });
const lone = await send('lone', plain('SendGrid lone', { to: 'lone@example.net', categories: ['lone'] }));
await activity('activity of one', { limit: 10, query: 'to_email="lone@example.net"' });
const found = await activity('activity by id', { limit: 10, query: `msg_id="${lone.id}"` });
await activity('activity by another', { limit: 10, query: 'clicks>"3"' });
await ask('message', 'GET', `/v3/messages/${found.body.messages[0].msg_id}`);
await ask('no message', 'GET', '/v3/messages/00000000-0000-7000-8000-000000000000');
