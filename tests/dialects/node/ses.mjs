// AWS's own SDK for Node (SES v2), against a service that speaks its language. Prints a line of JSON for each call: what the SDK gave.
//
// MAILWRIGHT_BASE says where; MAILWRIGHT_KEY_ID and MAILWRIGHT_KEY are the access key; the first argument is the directory that holds
// node_modules.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'package.json'));
const ses = require('@aws-sdk/client-sesv2');

const { MAILWRIGHT_BASE, MAILWRIGHT_KEY_ID, MAILWRIGHT_KEY, MAILWRIGHT_READER_ID, MAILWRIGHT_READER } = process.env;
const client = (accessKeyId, secretAccessKey, region = 'eu-central-1') =>
  new ses.SESv2Client({ endpoint: MAILWRIGHT_BASE, region, credentials: { accessKeyId, secretAccessKey }, maxAttempts: 1 });
const all = client(MAILWRIGHT_KEY_ID, MAILWRIGHT_KEY);

async function say(call, command, input, by = all) {
  let [data, error] = [null, null];
  try {
    const { $metadata, ...output } = await by.send(new ses[`${command}Command`](input));
    data = { ...output, status: $metadata.httpStatusCode, request: $metadata.requestId };
  } catch (thrown) {
    error = {
      class: thrown.constructor.name,
      code: thrown.name,
      status: thrown.$metadata?.httpStatusCode,
      fault: thrown.$fault,
      request: thrown.$metadata?.requestId,
      message: thrown.message,
    };
  }
  console.log(JSON.stringify({ call, data, error }));
  return data;
}

const bytes = (text) => new TextEncoder().encode(text);
const simple = (Subject, more = {}) => ({ Subject: { Data: Subject }, Body: { Text: { Data: 'Hello' } }, ...more });
const plain = (subject, more = {}) => ({
  FromEmailAddress: 'shop@example.org',
  Destination: { ToAddresses: ['ann@example.net'] },
  Content: { Simple: simple(subject) },
  ...more,
});
const file = (more) => ({ FileName: 'a.txt', RawContent: bytes('hello'), ...more });

const whole = {
  FromEmailAddress: 'Shop <shop@example.org>',
  Destination: {
    ToAddresses: ['Ann <ann@example.net>', 'bob@example.net'],
    CcAddresses: ['cyd@example.net'],
    BccAddresses: ['dan@example.net'],
  },
  ReplyToAddresses: ['help@example.org', 'desk@example.org'],
  Content: {
    Simple: {
      Subject: { Data: 'SES whole', Charset: 'UTF-8' },
      Body: {
        Text: { Data: 'Hello, Grüße', Charset: 'utf-8' },
        Html: { Data: '<p>Hello <img src="cid:logo"></p>', Charset: 'US-ASCII' },
      },
      Headers: [{ Name: 'X-Entity-Ref-ID', Value: '7' }],
      Attachments: [
        {
          FileName: 'Grüße.txt',
          RawContent: bytes('hello'),
          ContentType: 'text/plain',
          ContentDisposition: 'ATTACHMENT',
          ContentTransferEncoding: 'BASE64',
        },
        {
          FileName: 'logo.png',
          RawContent: Buffer.from('iVBORw0KGgo=', 'base64'),
          ContentType: 'image/png',
          ContentDisposition: 'INLINE',
          ContentId: 'logo',
          ContentTransferEncoding: 'SEVEN_BIT',
        },
      ],
    },
  },
  EmailTags: [{ Name: 'kind', Value: 'receipt' }, { Name: 'order', Value: '7' }],
  ConfigurationSetName: 'shop',
};

const sent = await say('send', 'SendEmail', whole);
await say('send again', 'SendEmail', plain('SES again'), client(MAILWRIGHT_KEY_ID, MAILWRIGHT_KEY, 'us-east-1'));
await say('list', 'SendEmail', plain('SES list', { ListManagementOptions: { ContactListName: 'news' } }));
await say('topic', 'SendEmail', plain('SES topic', { ListManagementOptions: { ContactListName: 'news', TopicName: 'sales' } }));

// Raw: the recipients are those of the destination, or else those of the message.
const raw = (subject, more = '') => bytes([
  'From: Shop <shop@example.org>', 'To: ann@example.net', 'Cc: cyd@example.net', more, `Subject: ${subject}`, 'X-Raw: yes',
  'MIME-Version: 1.0', 'Content-Type: text/plain; charset=utf-8', '', 'Raw hello', '',
].filter((line, at) => line !== '' || at > 3).join('\r\n'));
await say('raw', 'SendEmail', {
  FromEmailAddress: 'shop@example.org',
  Destination: { ToAddresses: ['bob@example.net'] },
  Content: { Raw: { Data: raw('SES raw') } },
  EmailTags: [{ Name: 'kind', Value: 'raw' }],
});
await say('raw alone', 'SendEmail', { Content: { Raw: { Data: raw('SES raw alone', 'Bcc: dan@example.net') } } });

const template = (more = {}) => ({ Template: { TemplateName: 'welcome', TemplateData: '{"name":"Ann"}', ...more } });
await say('template', 'SendEmail', plain('', {
  Content: template({ Headers: [{ Name: 'X-Entity-Ref-ID', Value: '8' }], Attachments: [file()] }),
}));

const bulk = (BulkEmailEntries, more = {}) => ({
  FromEmailAddress: 'shop@example.org',
  DefaultContent: { Template: { TemplateName: 'welcome', TemplateData: '{"name":"you"}' } },
  BulkEmailEntries,
  ...more,
});
const entry = (to, name, more = {}) => ({
  Destination: { ToAddresses: [to] },
  ...(name && { ReplacementEmailContent: { ReplacementTemplate: { ReplacementTemplateData: JSON.stringify({ name }) } } }),
  ...more,
});
await say('bulk', 'SendBulkEmail', bulk([
  entry('bea@example.net', 'Bea', {
    ReplacementTags: [{ Name: 'kind', Value: 'own' }],
    ReplacementHeaders: [{ Name: 'X-Entity-Ref-ID', Value: '9' }],
  }),
  entry('cleo@example.net'),
  entry('gil@example.net', undefined, { ReplacementEmailContent: { ReplacementTemplate: { ReplacementTemplateData: '{}' } } }),
], {
  ReplyToAddresses: ['help@example.org'],
  DefaultEmailTags: [{ Name: 'kind', Value: 'default' }, { Name: 'wave', Value: '1' }],
  ConfigurationSetName: 'shop',
}));
await say('bulk partly', 'SendBulkEmail', bulk([entry('nobody', 'Dot'), entry('eve@example.net', 'Eve')]));
await say('bulk without template', 'SendBulkEmail', bulk([entry('fay@example.net')], {
  DefaultContent: { Template: { TemplateName: 'nowhere', TemplateData: '{}' } },
}));
await say('bulk long', 'SendBulkEmail', bulk(Array.from({ length: 51 }, (_, at) => entry(`a${at}@example.net`))));

await say('insights', 'GetMessageInsights', { MessageId: sent?.MessageId ?? 'none' });
await say('account', 'GetAccount', {});

// What is refused, by the class and the name that the SDK has for it.
const refused = (call, more) => say(call, 'SendEmail', plain('s', more));
await refused('no from', { FromEmailAddress: undefined });
await refused('no to', { Destination: {} });
await refused('bad to', { Destination: { ToAddresses: ['nobody'] } });
await refused('bad cc', { Destination: { ToAddresses: ['ann@example.net'], CcAddresses: ['bob@example.net', 'nobody'] } });
await refused('no content', { Content: {} });
await refused('two contents', { Content: { Simple: simple('s'), Raw: { Data: raw('s') } } });
await refused('charset', { Content: { Simple: simple('s', { Subject: { Data: 's', Charset: 'ISO-8859-1' } }) } });
await refused('own header', { Content: { Simple: simple('s', { Headers: [{ Name: 'Subject', Value: 'other' }] }) } });
await refused('description', { Content: { Simple: simple('s', { Attachments: [file({ ContentDescription: 'd' })] }) } });
await refused('template arn', { Content: template({ TemplateName: undefined, TemplateArn: 'arn:aws:ses:eu-central-1:1:template/a' }) });
await refused('template content', { Content: template({ TemplateName: undefined, TemplateContent: { Subject: 's', Text: 't' } }) });
await refused('template data', { Content: template({ TemplateData: '{' }) });
await refused('no template', { Content: template({ TemplateName: 'nowhere' }) });
await refused('feedback', { FeedbackForwardingEmailAddress: 'back@example.org' });
await refused('identity', { FromEmailAddressIdentityArn: 'arn:aws:ses:eu-central-1:1:identity/example.org' });
await refused('tenant', { TenantName: 'tenant' });
await say('insights nobody', 'GetMessageInsights', { MessageId: '00000000-0000-7000-8000-000000000000' });
await say('wrong key', 'SendEmail', plain('s'), client(MAILWRIGHT_KEY_ID, 'mw_live_wrong'));
await say('unknown key', 'SendEmail', plain('s'), client('AKIAIOSFODNN7EXAMPLE', MAILWRIGHT_KEY));
await say('reader', 'SendEmail', plain('s'), client(MAILWRIGHT_READER_ID, MAILWRIGHT_READER));
await say('not here', 'ListEmailIdentities', {});

const gone = 'gone+1@example.net';
await say('suppress', 'PutSuppressedDestination', { EmailAddress: gone, Reason: 'COMPLAINT' });
await say('suppress bounce', 'PutSuppressedDestination', { EmailAddress: 'a@example.net', Reason: 'BOUNCE' });
await say('suppress badly', 'PutSuppressedDestination', { EmailAddress: 'b@example.net', Reason: 'MANUAL' });
await say('suppressed', 'GetSuppressedDestination', { EmailAddress: gone });
await say('to suppressed', 'SendEmail', plain('SES suppressed', { Destination: { ToAddresses: [gone] } }));
const page = await say('suppressions', 'ListSuppressedDestinations', { PageSize: 1 });
await say('suppressions on', 'ListSuppressedDestinations', { PageSize: 1, NextToken: page?.NextToken });
await say('suppressions by reason', 'ListSuppressedDestinations', {
  Reasons: ['COMPLAINT', 'BOUNCE'],
  StartDate: new Date(Date.now() - 3600e3),
  EndDate: new Date(Date.now() + 3600e3),
});
await say('suppressions of old', 'ListSuppressedDestinations', { EndDate: new Date('2020-01-01') });
await say('complaints', 'ListSuppressedDestinations', { Reasons: ['COMPLAINT'] });
await say('unsuppress', 'DeleteSuppressedDestination', { EmailAddress: gone });
await say('unsuppress again', 'DeleteSuppressedDestination', { EmailAddress: gone });
await say('suppressed no more', 'GetSuppressedDestination', { EmailAddress: gone });
