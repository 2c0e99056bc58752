// Postmark's own SDK for Node, and what it reads of what happened to mail. Prints a line of JSON for each call: what the SDK gave, or
// raised.
//
// MAILWRIGHT_BASE says where; MAILWRIGHT_KEY is the key; MAILWRIGHT_MESSAGE is a message that was opened and clicked; the first argument
// is the directory that holds node_modules.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'package.json'));
const { Models, ServerClient } = require('postmark');

const options = { requestHost: process.env.MAILWRIGHT_BASE.replace('http://', ''), useHttps: false };
const postmark = new ServerClient(process.env.MAILWRIGHT_KEY, options);
const say = async (call, work) => {
  const line = { call, data: null, error: null };
  try {
    line.data = await work;
  } catch (error) {
    line.error = { class: error.name, status: error.statusCode, code: error.code, message: error.message };
  }
  console.log(JSON.stringify(line));
  return line.data;
};

const { Bounces: bounces } = await say('bounces', postmark.getBounces());
const of = (type) => bounces.find((bounce) => bounce.Type === type);
for (const offset of [0, 1, 2, 3, 4]) {
  await say(`page ${offset}`, postmark.getBounces({ count: 1, offset }));
}
await say('by type', postmark.getBounces({ type: Models.BounceType.HardBounce }));
await say('by another type', postmark.getBounces({ type: Models.BounceType.VirusNotification }));
await say('by address', postmark.getBounces({ emailFilter: 'LATE@' }));
await say('by tag', postmark.getBounces({ tag: 'receipt', messageStream: 'outbound' }));
await say('by another tag', postmark.getBounces({ tag: 'rec' }));
await say('by message', postmark.getBounces({ messageID: of('HardBounce').MessageID }));
await say('before', postmark.getBounces({ toDate: '2000-01-01' }));
await say('after', postmark.getBounces({ fromDate: '2100-01-01T00:00:00' }));
await say('around', postmark.getBounces({ fromDate: '2000-01-01', toDate: '2100-01-01' }));
await say('to the end of time', postmark.getBounces({ fromDate: '0001-01-01', toDate: '9999-12-31T23:59:59' }));
await say('inactive', postmark.getBounces({ inactive: true }));
await say('active', postmark.getBounces({ inactive: false }));
await say('no type', postmark.getBounces({ type: 'Hard' }));
await say('no message', postmark.getBounces({ messageID: 'none' }));
await say('bounce', postmark.getBounce(of('HardBounce').ID));
await say('dump', postmark.getBounceDump(of('HardBounce').ID));
await say('activate', postmark.activateBounce(of('HardBounce').ID));
await say('activated', postmark.getBounce(of('HardBounce').ID));
await say('suppressions', postmark.getSuppressions('outbound', { suppressionReason: Models.SuppressionReason.HardBounce }));
await say('activate a complaint', postmark.activateBounce(of('SpamComplaint').ID));
await say('no bounce', postmark.getBounce(of('HardBounce').ID ^ 1));
await say('no number', postmark.getBounce('none'));
await say('activate nobody', postmark.activateBounce(1));
await say('the last bounce', postmark.getBounce('1031473004539904000'));
await say('the greatest number', postmark.getBounce('18446744073709551615'));

await say('opens', postmark.getMessageOpens());
await say('opens of a message', postmark.getMessageOpensForSingleMessage(process.env.MAILWRIGHT_MESSAGE));
await say('opens of another', postmark.getMessageOpensForSingleMessage(of('HardBounce').MessageID));
await say('opens by address', postmark.getMessageOpens({ recipient: 'nobody@shop.test' }));
await say('opens by platform', postmark.getMessageOpens({ platform: 'Desktop' }));
await say('clicks', postmark.getMessageClicks());
await say('clicks of a message', postmark.getMessageClicksForSingleMessage(process.env.MAILWRIGHT_MESSAGE));
await say('clicks by tag', postmark.getMessageClicks({ tag: 'receipt', count: 1 }));
await say('too many', postmark.getMessageClicks({ count: 501 }));
