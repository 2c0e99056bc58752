// Postmark's own SDK for Node, against a service that speaks its language. Prints a line of JSON for each call: what the SDK gave, or
// raised.
//
// MAILWRIGHT_BASE says where; MAILWRIGHT_KEY is the key; the first argument is the directory that holds node_modules.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'package.json'));
const { Errors, Models, ServerClient } = require('postmark');

const options = { requestHost: process.env.MAILWRIGHT_BASE.replace('http://', ''), useHttps: false };
const client = (key) => new ServerClient(key, options);
const postmark = client(process.env.MAILWRIGHT_KEY);
const say = async (call, work) => {
  const line = { call, data: null, error: null };
  try {
    line.data = await work;
  } catch (error) {
    const { name, statusCode, code, message, recipients } = error;
    line.error = { class: name, status: statusCode, code, message, recipients, known: error instanceof Errors.PostmarkError };
  }
  console.log(JSON.stringify(line));
  return line.data;
};

const plain = (Subject, more = {}) => ({ From: 'shop@example.org', To: 'ann@example.net', Subject, TextBody: 'Hello', ...more });
const template = (more) => ({ From: 'shop@example.org', To: 'ann@example.net', TemplateModel: { name: 'Ann' }, ...more });

const whole = {
  From: 'Shop <shop@example.org>',
  To: '"Ann, of Net" <ann@example.net>, bob@example.net',
  Cc: 'cyd@example.net',
  Bcc: 'dan@example.net',
  ReplyTo: 'help@example.org, desk@example.org',
  Subject: 'Postmark whole',
  HtmlBody: '<p>Hello <img src="cid:logo"></p>',
  TextBody: 'Hello',
  Tag: 'receipt',
  Metadata: { order: '7' },
  Headers: [{ Name: 'X-Entity-Ref-ID', Value: '7' }],
  Attachments: [
    new Models.Attachment('Grüße.txt', Buffer.from('hello').toString('base64'), 'text/plain', null, 5),
    new Models.Attachment('logo.png', 'iVBORw0KGgo=', 'image/png', 'cid:logo'),
  ],
  TrackOpens: false,
  TrackLinks: Models.LinkTrackingOptions.None,
  MessageStream: 'outbound',
};
const sent = await say('send', postmark.sendEmail(whole));
// The constructor leaves what is not given undefined, and null is as good.
await say('class', postmark.sendEmail(new Models.Message('shop@example.org', 'Postmark class', '<p>Hi</p>', undefined, 'ann@example.net')));
await say('nulls', postmark.sendEmail(plain('Postmark nulls', { Cc: null, Tag: null, Metadata: null, Headers: null, Attachments: null })));
await say('empty', postmark.sendEmail(plain('Postmark empty', { Cc: '', Bcc: '', ReplyTo: '', Tag: '', Headers: [], Attachments: [], Metadata: {} })));
await say('stream', postmark.sendEmail(plain('Postmark stream', { Tag: 'news', MessageStream: 'broadcast' })));
const page = { HtmlBody: '<p><a href="https://shop.example.org/7">Order</a></p>', TextBody: undefined };
await say('tracked', postmark.sendEmail(plain('Postmark tracked', { ...page, TrackOpens: true, TrackLinks: Models.LinkTrackingOptions.HtmlAndText })));
await say('clicks', postmark.sendEmail(plain('Postmark clicks', { ...page, TrackLinks: Models.LinkTrackingOptions.HtmlOnly })));
await say('batch', postmark.sendEmailBatch([plain('Batch one'), plain('Batch two', { To: 'nobody' }), plain('Batch three')]));
await say('template', postmark.sendEmailWithTemplate(template({ TemplateAlias: 'welcome', Tag: 'hello', InlineCss: false })));
await say('template class', postmark.sendEmailWithTemplate(
  new Models.TemplatedMessage('shop@example.org', 'welcome', { name: 'Bob' }, 'bob@example.net')));
await say('templates', postmark.sendEmailBatchWithTemplates([
  template({ TemplateAlias: 'welcome', TemplateModel: { name: 'Cyd' } }), template({ TemplateAlias: 'nowhere' }),
]));

// What was sent.
await say('details', postmark.getOutboundMessageDetails(sent.MessageID));
await say('dump', postmark.getOutboundMessageDump(sent.MessageID));
await say('list', postmark.getOutboundMessages());
await say('page', postmark.getOutboundMessages({ count: 2, offset: 1 }));
await say('by tag', postmark.getOutboundMessages({ tag: 'receipt' }));
await say('by recipient', postmark.getOutboundMessages({ recipient: 'bob@example.net', fromEmail: 'shop@example.org' }));
await say('by status', postmark.getOutboundMessages({ status: Models.OutboundMessageStatus.Sent, messageStream: 'outbound' }));
await say('by time', postmark.getOutboundMessages({ fromDate: '2000-01-01', toDate: '2000-01-02' }));
await say('no details', postmark.getOutboundMessageDetails('00000000-0000-7000-8000-000000000000'));
await say('too many', postmark.getOutboundMessages({ count: 501 }));

// What is refused, by the class that the SDK has for it.
await say('no to', postmark.sendEmail(plain('s', { To: undefined })));
await say('bad to', postmark.sendEmail(plain('s', { To: 'nobody' })));
await say('no body', postmark.sendEmail(plain('s', { TextBody: undefined })));
await say('tracked many', postmark.sendEmail(plain('s', { To: 'ann@example.net, bob@example.net', TrackOpens: true })));
await say('text only', postmark.sendEmail(plain('s', { TrackLinks: Models.LinkTrackingOptions.TextOnly })));
await say('unknown', postmark.sendEmail(plain('s', { Sbuject: 's' })));
await say('bad attachment', postmark.sendEmail(plain('s', { Attachments: [{ Name: 'a', Content: '!', ContentType: 'text/plain' }] })));
await say('too many in a batch', postmark.sendEmailBatch(Array.from({ length: 501 }, () => plain('s'))));
await say('template number', postmark.sendEmailWithTemplate(template({ TemplateId: 1234 })));
await say('template nowhere', postmark.sendEmailWithTemplate(template({ TemplateAlias: 'nowhere' })));
await say('inline css', postmark.sendEmailWithTemplate(template({ TemplateAlias: 'welcome', InlineCss: true })));
await say('wrong key', client('mw_live_wrong').sendEmail(plain('s')));
await say('reader', client(process.env.MAILWRIGHT_READER).sendEmail(plain('s')));
await say('bulk', postmark.sendBulkEmail({ From: 'shop@example.org', Subject: 's', TextBody: 't', Messages: [{ To: 'ann@example.net' }] }));
await say('bounce counts', postmark.getDeliveryStatistics());
await say('templates of postmark', postmark.getTemplates());
await say('server', postmark.getServer());
await say('stats', postmark.getOutboundOverview());
await say('streams', postmark.getMessageStreams());
await say('webhooks', postmark.getWebhooks());

// Suppressions.
const gone = { Suppressions: [{ EmailAddress: 'gone@example.net' }, { EmailAddress: 'away@example.net' }] };
await say('suppress', postmark.createSuppressions('outbound', { Suppressions: [...gone.Suppressions, { EmailAddress: 'nobody' }] }));
await say('suppressions', postmark.getSuppressions('outbound'));
await say('suppression', postmark.getSuppressions('outbound', { emailAddress: 'gone@example.net' }));
await say('complaints', postmark.getSuppressions('outbound', { suppressionReason: Models.SuppressionReason.SpamComplaint }));
await say('to suppressed', postmark.sendEmail(plain('s', { To: 'gone@example.net', Cc: 'away@example.net' })));
const partly = await say('partly suppressed', postmark.sendEmail(plain('Partly suppressed', { To: 'gone@example.net, ann@example.net' })));
await say('parsed', Promise.resolve(Errors.InactiveRecipientsError.parseInactiveRecipients(partly?.Message ?? '')));
await say('batch suppressed', postmark.sendEmailBatch([plain('s', { To: 'gone@example.net' }), plain('Batch four')]));
await say('unsuppress', postmark.deleteSuppressions('outbound', gone));
await say('suppressions left', postmark.getSuppressions('outbound'));
