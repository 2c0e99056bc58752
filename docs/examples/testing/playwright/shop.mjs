// Stands for your application: a page where one signs up with a code that comes by mail. Needs Node 18 or newer, and no package.
import { randomInt } from "node:crypto";
import http from "node:http";

const { MAILWRIGHT_URL: url, MAILWRIGHT_KEY: key, SHOP_PORT: port = "3000" } = process.env;
const codes = new Map();

const escape = (text) => text.replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`);
const page = (heading, form = "") => `<!doctype html><title>Example Shop</title><h1>${escape(heading)}</h1>${form}`;
const codeForm = (email) => `<form action="/confirm"><input type="hidden" name="email" value="${escape(email)}">
  <label>Code <input name="code"></label><button>Confirm</button></form>`;

async function sendCode(email) {
  const code = String(randomInt(100_000, 1_000_000));
  codes.set(email, code);
  const link = `http://127.0.0.1:${port}/confirm?${new URLSearchParams({ email, code })}`;
  const response = await fetch(`${url}/v1/send`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({
      from: "Example Shop <shop@example.com>",
      to: [email],
      subject: "Your code",
      text: `Your code is ${code}.\n\nOr follow ${link}\n`,
      html: `<p>Your code is <b>${code}</b>.</p><p><a href="${escape(link)}">Confirm your address</a></p>`,
    }),
  });
  if (response.status !== 202) throw new Error(`not sent: ${await response.text()}`);
}

async function answer(request) {
  const { pathname, searchParams } = new URL(request.url, "http://shop");
  if (request.method === "POST") {
    let body = "";
    for await (const chunk of request) body += chunk;
    const email = new URLSearchParams(body).get("email");
    await sendCode(email);
    return page("We have sent you a code", codeForm(email));
  }
  if (pathname === "/confirm") {
    const email = searchParams.get("email");
    if (codes.get(email) === searchParams.get("code")) return page(`Welcome, ${email}`);
    return page("That is not the code", codeForm(email));
  }
  return page("Sign up", `<form method="post"><label>Email <input name="email"></label><button>Sign up</button></form>`);
}

http.createServer(async (request, response) => {
  try {
    response.setHeader("content-type", "text/html; charset=utf-8").end(await answer(request));
  } catch (error) {
    console.error(error);
    response.writeHead(500).end();
  }
}).listen(Number(port), "127.0.0.1");
