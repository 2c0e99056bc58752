// Alibaba Cloud's own SDK of DirectMail for Node, against a service that speaks its language. Prints a line of JSON for each call: what the
// SDK gave.
//
// MAILWRIGHT_BASE says where (host and port alone: this SDK has no path); MAILWRIGHT_KEY_ID and MAILWRIGHT_KEY are the AccessKey,
// MAILWRIGHT_READER_ID and MAILWRIGHT_READER one that may only read; the first argument is the directory that holds node_modules.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'package.json'));
const { default: Client, ...dm } = require('@alicloud/dm20151123');
const { $OpenApiUtil } = require('@alicloud/openapi-core');

const { host: endpoint } = new URL(process.env.MAILWRIGHT_BASE);
const reach = (accessKeyId, accessKeySecret, more = {}) =>
  new Client(new $OpenApiUtil.Config({ accessKeyId, accessKeySecret, endpoint, protocol: 'HTTP', ...more }));
const client = reach(process.env.MAILWRIGHT_KEY_ID, process.env.MAILWRIGHT_KEY);
// The signature that SDKs had before: HMAC-SHA1 over the query and the form.
const older = reach(process.env.MAILWRIGHT_KEY_ID, process.env.MAILWRIGHT_KEY, { signatureAlgorithm: 'v2' });

const say = async (call, work) => {
  let line;
  try {
    const { statusCode: status, body } = await work();
    line = { data: { status, ...body }, error: null };
  } catch (error) {
    const { statusCode: status, code, message, requestId, retryAfter, data } = error;
    line = { data: null, error: { class: error.name, status, code, message, requestId, retryAfter, data } };
  }
  console.log(JSON.stringify({ call, ...line }));
  return line.data;
};
const mail = (subject, more = {}) => new dm.SingleSendMailRequest({
  accountName: 'shop@example.org', addressType: 1, replyToAddress: false, toAddress: 'ann@example.net', subject, textBody: 'Hello', ...more,
});
const send = (call, request, by = client) => say(call, () => by.singleSendMail(request));
const template = (templateId, templateData = { name: 'Ann' }) => new dm.SingleSendMailRequestTemplate({ templateId, templateData });

await send('send', mail('Alicloud whole', {
  fromAlias: 'Läden & Co', addressType: 0, replyToAddress: true, replyAddress: 'help@example.org', replyAddressAlias: 'Help',
  htmlBody: '<p>Hello (1+1=2) ~ * \'you\'! <a href="https://example.org/?a=1&b=2">go</a></p>', textBody: 'Grüße, 你好 + 100%',
  tagName: 'receipt', clickTrace: '0', headers: JSON.stringify({ 'X-User-Order': '7', 'X-User-Notify-Kind': 'receipt' }),
  unSubscribeLinkType: 'disabled', unSubscribeFilterLevel: 'disabled', domainAuth: false, ipPoolId: 'codes',
}));
await send('send many', mail('Alicloud many', { toAddress: 'ann@example.net,bob@example.net,cyd@example.net' }));
await send('reply without address', mail('Alicloud no reply address', { replyToAddress: true }));
await send('clicks', mail('Alicloud clicks', { htmlBody: '<a href="https://example.org/">go</a>', tagName: 'clicks', clickTrace: '1' }));
await send('unsubscribe', mail('Alicloud unsubscribe', { unSubscribeLinkType: 'default', unSubscribeFilterLevel: 'mailfrom' }));
await send('unsubscribe many', mail('Alicloud unsubscribe many', {
  toAddress: 'ann@example.net,bob@example.net', unSubscribeLinkType: 'zh-cn', unSubscribeFilterLevel: 'disabled',
}));
await send('template', mail(undefined, { textBody: undefined, template: template('welcome') }));
await send('template with subject', mail('Not this', { textBody: undefined, template: template('welcome', { name: 'Bob' }) }));
await send('older signature', mail('Alicloud older (1+1) *~\'ä', { tagName: 'older' }), older);

// What is refused.
await send('no sender', mail('s', { accountName: undefined }));
await send('no recipient', mail('s', { toAddress: undefined }));
await send('no address type', mail('s', { addressType: undefined }));
await send('no body', mail('s', { textBody: undefined }));
await send('other sender', mail('s', { accountName: 'shop@elsewhere.example' }));
await send('bad recipient', mail('s', { toAddress: 'ann@example.net,nobody' }));
await send('too many', mail('s', { toAddress: Array.from({ length: 101 }, (_, i) => `a${i}@example.net`).join(',') }));
await send('bad headers', mail('s', { headers: 'X-User-Order: 7' }));
await send('bad address type', mail('s', { addressType: 2 }));
await send('bad click trace', mail('s', { clickTrace: 'yes' }));
await send('bcc', mail('s', { bccAddress: 'dan@example.net' }));
await send('account level', mail('s', { unSubscribeLinkType: 'default', unSubscribeFilterLevel: 'edm_id' }));
await send('domain auth', mail('s', { domainAuth: true }));
await send('attachment', mail('s', {
  attachments: [new dm.SingleSendMailRequestAttachments({ attachmentName: 'a.txt', attachmentUrl: 'https://example.org/a.txt' })],
}));
await send('no template', mail('s', { textBody: undefined, template: template('nobody') }));
await send('no pool', mail('s', { ipPoolId: 'nobody' }));
await send('wrong key', mail('s'), reach('nobody', process.env.MAILWRIGHT_KEY));
await send('wrong secret', mail('s'), reach(process.env.MAILWRIGHT_KEY_ID, 'wrong'));
await send('older wrong secret', mail('s'), reach(process.env.MAILWRIGHT_KEY_ID, 'wrong', { signatureAlgorithm: 'v2' }));
await send('reader', mail('s'), reach(process.env.MAILWRIGHT_READER_ID, process.env.MAILWRIGHT_READER));
await say('batch', () => client.batchSendMail(new dm.BatchSendMailRequest({
  accountName: 'shop@example.org', addressType: 1, templateName: 'welcome', receiversName: 'all',
})));
await say('addresses', () => client.queryMailAddressByParam(new dm.QueryMailAddressByParamRequest({ pageNo: 1 })));

// Status, of mail that was there before.
const minute = (hours) => new Date(Date.now() + hours * 3600e3).toISOString().slice(0, 16).replace('T', ' ');
const ask = (call, more, by = client) => say(call, () => by.senderStatisticsDetailByParam(
  new dm.SenderStatisticsDetailByParamRequest({ startTime: minute(-24), endTime: minute(24), ...more }),
));
const page = await ask('page', { toAddress: 'early@example.net', length: 2 });
await ask('page on', { toAddress: 'early@example.net', length: 2, nextStart: page?.nextStart });
await ask('status by reader', { toAddress: 'early@example.net' }, reach(process.env.MAILWRIGHT_READER_ID, process.env.MAILWRIGHT_READER));
await ask('delivered', { accountName: 'early@example.org', status: 0, length: 100 });
await ask('not delivered', { toAddress: 'gone@example.net' });
await ask('failed', { toAddress: 'early@example.net', status: 4 });
await ask('before', { toAddress: 'early@example.net', startTime: minute(-48), endTime: minute(-24) });
await ask('no start', { startTime: undefined });
await ask('bad time', { startTime: 'yesterday' });
await ask('bad length', { length: 101 });

// Suppressions.
const { suppressionId } = await say('suppress', () => client.createUserSuppression(new dm.CreateUserSuppressionRequest({ address: 'stop@example.net' })));
await say('suppressions', () => client.listUserSuppression(new dm.ListUserSuppressionRequest({ address: 'stop@example.net' })));
await say('suppress badly', () => client.createUserSuppression(new dm.CreateUserSuppressionRequest({ address: 'nobody' })));
await say('suppressions by bounce', () => client.listUserSuppression(new dm.ListUserSuppressionRequest({ startBounceTime: 1 })));
await say('unsuppress', () => client.removeUserSuppression(new dm.RemoveUserSuppressionRequest({ suppressionIds: suppressionId })));
await say('suppressions left', () => client.listUserSuppression(new dm.ListUserSuppressionRequest({ address: 'stop@example.net' })));
