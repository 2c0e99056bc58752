// Reads the messages of a file (each after its length in a line) with postal-mime and with mailparser; prints a JSON line for
// each: what a person would see.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(process.argv[2] + '/')
const { default: PostalMime, decodeWords } = require('postal-mime')
const { simpleParser } = require('mailparser')
const libmime = require('libmime')

const mailbox = (a) => [a.name ?? '', a.address ?? '']
const base64 = (content) => Buffer.from(content).toString('base64')

async function postalMime(raw) {
  const mail = await PostalMime.parse(raw)
  const list = (field) => (mail[field] ?? []).filter((a) => a.address).map(mailbox)
  return {
    subject: mail.subject ?? '',
    from: mail.from ? [mailbox(mail.from)] : [],
    to: list('to'),
    cc: list('cc'),
    reply_to: list('replyTo'),
    message_id: mail.messageId ?? '',
    custom: mail.headers.filter((h) => h.key === 'x-custom').map((h) => decodeWords(h.value)),
    text: mail.text ?? null,
    html: mail.html ?? null,
    files: mail.attachments.map((f) => [
      f.filename ?? '', f.mimeType, f.contentId ?? '', f.disposition ?? '',
      // It writes the lines of a message in a message anew.
      f.mimeType.startsWith('message/') ? base64(Buffer.from(f.content).toString().trimEnd().replace(/\r?\n/g, '\r\n') + '\r\n') : base64(f.content),
    ]),
  }
}

async function mailparser(raw) {
  const mail = await simpleParser(raw, { skipImageLinks: true, skipHtmlToText: true, skipTextToHtml: true, skipTextLinks: true })
  const list = (field) => (mail[field]?.value ?? []).filter((a) => a.address).map(mailbox)
  const custom = mail.headers.get('x-custom')
  return {
    subject: mail.subject ?? '',
    from: list('from'),
    to: list('to'),
    cc: list('cc'),
    reply_to: list('replyTo'),
    message_id: mail.messageId ?? '',
    custom: custom === undefined ? [] : [libmime.decodeWords(custom)],
    text: mail.text ?? null,
    html: mail.html || null,
    files: mail.attachments.map((f) => [
      f.filename ?? '', f.contentType, f.contentId ?? '', f.contentDisposition ?? '', base64(f.content),
    ]),
  }
}

const file = readFileSync(process.argv[3])
for (let at = 0; at < file.length;) {
  const end = file.indexOf(10, at)
  const length = Number(file.subarray(at, end))
  const raw = file.subarray(end + 1, end + 1 + length)
  at = end + 1 + length
  console.log(JSON.stringify({ 'postal-mime': await postalMime(raw), mailparser: await mailparser(raw) }))
}
