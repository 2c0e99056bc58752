// Mail in Mailwright's test inbox. Needs Node 18.2 or newer, and no package.
const { MAILWRIGHT_URL: url, MAILWRIGHT_KEY: key } = process.env;

async function call(method, path, body) {
  const response = await fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

// Waits for the newest mail to an address, and gives it with its text, html, codes and links. `more` narrows it: subject, since, q.
async function waitForMail(to, more = {}) {
  const query = new URLSearchParams({ to, wait: "10s", limit: "1", ...more });
  const { data } = await call("GET", `/v1/sandbox/messages?${query}`);
  if (data.length === 0) throw new Error(`no mail to ${to} within 10 seconds`);
  return call("GET", `/v1/sandbox/messages/${data[0].id}`);
}

module.exports = { call, waitForMail };
