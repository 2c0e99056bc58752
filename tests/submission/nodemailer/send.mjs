// Sends mail with Nodemailer. Prints a line of JSON for each case. The first argument is the directory that holds
// node_modules.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const nodemailer = createRequire(`${process.argv[2]}/`)('nodemailer')

const { SMTP_HOST: host, SMTP_USER: user, SMTP_KEY: key, SMTP_TOKEN: token } = process.env
const ca = readFileSync(process.env.SMTP_CA)
const debug = 'SMTP_DEBUG' in process.env

const plain = { port: Number(process.env.SMTP_PLAIN_PORT) }
const starttls = { port: Number(process.env.SMTP_STARTTLS_PORT), requireTLS: true, tls: { ca } }
const tls = { port: Number(process.env.SMTP_TLS_PORT), secure: true, tls: { ca } }

async function send(transport, message) {
  const transporter = nodemailer.createTransport({
    host,
    auth: { user, pass: key },
    logger: debug && { ...console, trace: console.error, debug: console.error, info: console.error },
    debug,
    ...transport,
  })
  const { rejected } = await transporter.sendMail({
    from: { name: 'Jürgen Müller', address: 'shop@example.org' },
    to: 'ann@example.net',
    text: 'Hello\n',
    ...message,
    subject: `nodemailer ${message.subject}`,
  })
  return rejected.length > 0 ? { refused: rejected } : {}
}

const cases = {
  starttls: () => send(starttls, { subject: 'starttls' }),
  tls: () => send(tls, { subject: 'tls' }),
  attachment: () =>
    send(starttls, {
      subject: 'attachment',
      text: 'Your order is attached.\n',
      html: '<p>Your order is <b>attached</b>.</p>\n',
      attachments: [{ filename: 'Grüße.bin', content: Buffer.from(Array.from({ length: 200_000 }, (_, i) => i * 7)) }],
    }),
  many: () => send(starttls, { subject: 'many', to: Array.from({ length: 50 }, (_, i) => `r${i}@example.net`) }),
  unicode: () => send(starttls, { subject: 'Grüße 你好', text: 'Grüße 你好, 😀\n' }),
  eai: () => send(starttls, { subject: 'eai', to: 'jürgen@example.net' }),
  partial: () => send(starttls, { subject: 'partial', to: ['good@example.net', 'nobody@localhost'] }),
  'wrong-password': () => send({ ...starttls, auth: { user, pass: 'mw_live_wrong' } }, { subject: 'wrong-password' }),
  'no-tls': () => send({ port: starttls.port, ignoreTLS: true }, { subject: 'no-tls' }),
  dots: () => send(plain, { subject: 'dots', text: `.\n..\n.leading\n${'A long paragraph. '.repeat(300)}\n` }),
  oauth: () =>
    token
      ? send({ ...starttls, auth: { type: 'OAuth2', user, accessToken: token } }, { subject: 'oauth' })
      : { outcome: 'unsupported', why: 'SMTP_TOKEN is empty' },
}

for (const [name, run] of Object.entries(cases)) {
  console.error(`nodemailer: ${name}`)
  let result
  try {
    result = { outcome: 'accepted', ...(await run()) }
  } catch (error) {
    const text = error.response?.replace(/^\d+ /, '') ?? error.message
    result = { outcome: 'refused', code: error.responseCode ?? 0, text }
  }
  console.log(JSON.stringify({ case: name, ...result }))
}
